"""What only a clone of the repository has."""

import pytest

from tests.examples.stand_in import ROOT


@pytest.fixture
def clone():
    if not (ROOT / ".git").exists():
        pytest.skip("this is not a clone of the repository")
    return ROOT
