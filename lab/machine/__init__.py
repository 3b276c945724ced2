"""Hosts as systemd-nspawn containers: their image, processes, namespaces, control groups and snapshots."""
