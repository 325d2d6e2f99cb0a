"""What the Agents SDK needs, without importing it.

Whoever uses the Agents SDK has imported it; nobody else pays for it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass
class SessionSettings:
    """Stand in for `agents.SessionSettings` while the Agents SDK is not imported.

    Attributes:
        limit: The newest items that a read returns; None for all.
    """

    limit: int | None = None


def session_settings(value: object) -> Any:
    """Return settings as the Runner expects them: `agents.SessionSettings` once that is imported.

    Args:
        value: Settings of either kind, a mapping of their fields, or None for the defaults.

    Raises:
        TypeError: It is none of these, or has a field that settings do not have.
    """
    wanted = getattr(sys.modules.get("agents"), "SessionSettings", None) or SessionSettings
    if isinstance(value, wanted):
        return value
    if isinstance(value, SessionSettings):
        return wanted(limit=value.limit)
    if value is None:
        return wanted()
    if not isinstance(value, Mapping):
        raise TypeError(f"session_settings is a SessionSettings, a dict or None, not {value!r}")
    unknown = value.keys() - {field.name for field in fields(wanted)}
    if unknown:
        raise TypeError(f"session_settings has no field {', '.join(map(repr, sorted(unknown)))}: {value!r}")
    return wanted(**value)


def limit_of(settings: object) -> object:
    """Return the limit that settings of either kind hold."""
    return getattr(settings, "limit", None)


def default_client() -> Any:
    """Return the client given to `agents.set_default_openai_client`, or None."""
    shared = sys.modules.get("agents.models._openai_shared")
    return shared.get_default_openai_client() if shared else None


def register_session(session_class: type) -> None:
    """Make instances pass `isinstance(…, agents.Session)` where that would read an unset session_id.

    On Python 3.11 and earlier the check reads the attributes of the instance.
    """
    protocol = getattr(sys.modules.get("agents"), "Session", None)
    if protocol is not None:
        protocol.register(session_class)
