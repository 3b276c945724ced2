"""The `inv lab.*` tasks: bring a lab up, show it, take it down."""
