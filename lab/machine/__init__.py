"""The hosts as systemd-nspawn containers: their image, namespaces, control groups, processes and snapshots."""
