"""The operations on responses, and the model that a test scripts."""
