"""One stand-in for the examples of a module."""

import pytest

from tests.examples.stand_in import stand_in


@pytest.fixture(scope="module")
def server():
    """The base URL of the stand-in, and its emulator."""
    with stand_in() as served:
        yield served
