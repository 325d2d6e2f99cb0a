"""The parts of the pytest plugin; none is loaded before a test needs it."""
