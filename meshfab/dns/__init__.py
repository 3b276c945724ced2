"""Names of services in the mesh's DNS: written in one of several ways, and proved by asking."""
