"""What was asked for, checked: settings, services, the password's file."""
