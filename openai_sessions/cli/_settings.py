"""The options that the commands on conversations share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

_CONNECTION = "Where"

BaseURL = Annotated[
    str | None,
    typer.Option(
        "--base-url",
        metavar="URL",
        envvar="OPENAI_BASE_URL",
        help="Where the API is; by default OpenAI. The key is in OPENAI_API_KEY.",
        rich_help_panel=_CONNECTION,
    ),
]
DirectoryURL = Annotated[
    str | None,
    typer.Option(
        "--directory",
        metavar="URL",
        envvar="OPENAI_SESSIONS_DIRECTORY",
        help="The directory of names, such as sqlite+aiosqlite:///names.db.",
        rich_help_panel=_CONNECTION,
    ),
]
Tenant = Annotated[
    str,
    typer.Option(
        "--tenant",
        metavar="KEY",
        envvar="OPENAI_SESSIONS_TENANT",
        help="Whose names of the directory.",
        rich_help_panel=_CONNECTION,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress and no notes.")]
AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON, an object a line.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before anything is deleted.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a command was told of where to work.

    Attributes:
        base_url: Where the API is; None for OpenAI.
        directory: The URL of the directory of names; None for none.
        tenant: Whose names.
        quiet: Whether to show no progress and no notes.
    """

    base_url: str | None = None
    directory: str | None = None
    tenant: str = ""
    quiet: bool = False
