"""Every shape that crosses a wire: events in, results and dead letters out, Walmart payloads. Imports nothing of ours."""
