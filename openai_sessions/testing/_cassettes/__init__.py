"""The parts of cassettes."""
