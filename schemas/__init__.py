"""Every shape that crosses a wire: events in, results and dead letters out, Walmart's own. Imports nothing of ours."""
