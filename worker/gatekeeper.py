"""Names of the gates."""
