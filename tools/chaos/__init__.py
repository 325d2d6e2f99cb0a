"""Prove by force that a write is all or nothing, once: random operations on a server that fails."""
