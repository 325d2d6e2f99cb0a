"""Moving histories: copies from any session to any other, and JSON Lines files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openai_sessions._lazy_names import importing

if TYPE_CHECKING:
    from openai_sessions.transfer._copying import copy_session
    from openai_sessions.transfer._exporting import export_session
    from openai_sessions.transfer._importing import import_session, read_header
    from openai_sessions.transfer._report import TransferReport

__all__ = ["TransferReport", "copy_session", "export_session", "import_session", "read_header"]

_MODULES = {
    "TransferReport": "_report",
    "copy_session": "_copying",
    "export_session": "_exporting",
    "import_session": "_importing",
    "read_header": "_importing",
}
"""Where each name comes from."""

if not TYPE_CHECKING:  # type checkers know the names above, and none besides
    __getattr__ = importing(__name__, _MODULES)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
