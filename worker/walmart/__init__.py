"""Walmart's API: one client, one token per account, and every error envelope read into one typed value."""
