"""The lab: real hosts, a real CA and split-horizon DNS in one network namespace."""
