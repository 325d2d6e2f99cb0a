"""What the plugin needs only when it is used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def testing_extra() -> Iterator[None]:
    """Fail the test with the remedy when an import inside the block finds no module."""
    try:
        yield
    except ImportError as error:
        missing = f"{error.name} not found" if error.name else str(error)
        pytest.fail(f'{missing}: install "openai-sessions[testing]"', pytrace=False)
