"""The tasks `inv lab.*`: bring a lab up, show its state, take it down."""
