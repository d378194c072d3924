"""From Kafka to deliveries, and back to committed offsets: all that is tied to the consumer."""
