"""A verified Fabric connection, and one root shell on it."""
