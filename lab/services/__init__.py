"""What runs on the mesh: the network, the DNS, the CA, the hosts with their certificates, and the operator's home."""
