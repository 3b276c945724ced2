"""Faults that tests cause on purpose, how to undo them, and how to simulate hundreds of hosts."""
