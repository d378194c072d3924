"""A simulated Walmart, a real Kafka for development and tests, sample traffic. Never used by production code."""
