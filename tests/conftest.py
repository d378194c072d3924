"""What every test may use."""

pytest_plugins = ["tests.kafka_fixture", "tests.leaks"]
