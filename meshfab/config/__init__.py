"""What the operator requests, validated: settings, services, the password file."""
