"""Read nginx's live configuration, and change it in one transaction."""
