"""The `openai-sessions` command: conversations in a shell, a demonstration, and the emulator as a server."""

from __future__ import annotations

import importlib.util
import sys

__all__ = ["main"]

_EXTRA = ("agents", "aiosqlite", "alembic", "rich", "sqlalchemy", "starlette", "typer", "uvicorn")
"""The packages that `pip install "openai-sessions[cli]"` installs."""


def main() -> None:
    """Run the command named in `sys.argv`.

    Raises:
        SystemExit: Always; `docs/commands.md` lists the exit codes.
    """
    missing = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        sys.stderr.write(f'{", ".join(missing)} not found: install "openai-sessions[cli]"\n')
        sys.exit(2)
    from openai_sessions.cli._app import app  # noqa: PLC0415 - not importable without the extra

    app(prog_name="openai-sessions")
