"""Check that a session keeps a conversation as the Agents SDK expects.

Example:
    ```python
    report = await check_session(lambda: MySession())
    print(report)
    ```
"""

from openai_sessions.testing._checks import CHECKS
from openai_sessions.testing._conformance import (
    CheckResult,
    ConformanceError,
    ConformanceReport,
    check_session,
    run_check,
)

__all__ = [
    "CHECKS",
    "CheckResult",
    "ConformanceError",
    "ConformanceReport",
    "check_session",
    "run_check",
]
