"""Make Walmart agree: plan (pure), then apply."""
