"""A mesh in a box: real hosts, a real CA and split-horizon DNS in one network namespace."""
