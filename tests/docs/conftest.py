"""One stand-in for the documents."""

from tests.examples.conftest import server

__all__ = ["server"]
