"""A simulated Walmart Marketplace: a separate process, as strict as the real one, that remembers every effect.

It shares no code with the worker it is used to test. `README.md` says what it simulates and how certain each rule is.
"""
