"""What is wrong with a certificate or a host, and the command that heals it. Pure, but for the endpoint probe."""
