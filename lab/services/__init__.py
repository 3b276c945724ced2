"""What runs on the mesh and who uses it: the network, the DNS, the CA, the hosts and the operator's home."""
