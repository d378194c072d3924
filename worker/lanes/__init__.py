"""Whose turn it is: one queue per order, pure, with the time passed in; one thin engine drives it."""
