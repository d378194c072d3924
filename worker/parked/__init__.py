"""Unfinished events in the dead-letter topic: record format, table, tail, writer."""
