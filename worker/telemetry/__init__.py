"""Metrics, health, logs and the HTTP endpoints."""
