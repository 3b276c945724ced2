"""The facts of a host: its files, units, certificates, and what it serves."""
