"""What every test may use."""

import signal

pytest_plugins = ["tests.kafka_fixture", "tests.leaks"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts the tests in the background lets them ignore Ctrl-C, and so would every command they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
