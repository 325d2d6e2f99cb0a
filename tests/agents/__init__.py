"""The Agents SDK around a session: what its Runner shows the model, and what it leaves behind."""

import pytest

pytest.register_assert_rewrite(f"{__name__}.staging", f"{__name__}.elsewhere")
