"""order-sync: the worker that makes Walmart agree with commerce."""
