"""Random operations on a server with random faults: every write must be stored once or not at all."""
