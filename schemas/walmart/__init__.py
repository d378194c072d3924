"""Walmart's shapes: the order as read, the payloads as sent, carrier names."""
