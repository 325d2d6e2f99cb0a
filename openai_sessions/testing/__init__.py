"""Test code that uses conversations: conformance checks of a session class, and a respx router.

Example:
    ```python
    report = await check_session(lambda: MySession())
    print(report)
    ```
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openai_sessions.testing._checks import CHECKS
    from openai_sessions.testing._conformance import (
        CheckResult,
        ConformanceReport,
        check_session,
        run_check,
    )
    from openai_sessions.testing._errors import ConformanceError
    from openai_sessions.testing._respx import respx_router

__all__ = [
    "CHECKS",
    "CheckResult",
    "ConformanceError",
    "ConformanceReport",
    "check_session",
    "respx_router",
    "run_check",
]

_MODULES = {
    "CHECKS": "_checks",
    "CheckResult": "_conformance",
    "ConformanceError": "_errors",
    "ConformanceReport": "_conformance",
    "check_session": "_conformance",
    "respx_router": "_respx",
    "run_check": "_conformance",
}
"""The module of each name."""

if not TYPE_CHECKING:  # type checkers use the imports above

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
        return globals()[name]


def __dir__() -> list[str]:
    return [*globals(), *__all__]
