"""The mission: plan what makes Walmart agree (pure), then apply it."""
