"""The commands that move histories, with their options; each imports what it runs when it runs."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from openai_sessions.cli._completion import Conversation, complete_conversation
from openai_sessions.cli._errors import interruptible, one_line_errors
from openai_sessions.cli._settings import (
    BaseURL,
    DirectoryURL,
    Quiet,
    Settings,
    Tenant,
)

_STANDARD = "-"

Append = Annotated[bool, typer.Option("--append", help="Add to what the target holds.")]
KeepPartial = Annotated[
    bool,
    typer.Option(
        "--keep-partial", help="When it fails, leave what was written: the same command goes on there."
    ),
]


def export(  # noqa: PLR0913 - one for each option
    conversation: Conversation,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file, or - for standard output.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Replace a file that is there.")] = False,
    base_url: BaseURL = None,
    directory: DirectoryURL = None,
    tenant: Tenant = "",
    quiet: Quiet = False,
) -> None:
    """Write a conversation to a file of JSON Lines."""
    from openai_sessions.cli._moving import Export  # noqa: PLC0415 - help needs no openai
    from openai_sessions.cli._running import run  # noqa: PLC0415 - the same

    exporting = Export(conversation=conversation, file=file, yes=yes)
    run(exporting, Settings(base_url=base_url, directory=directory, tenant=tenant, quiet=quiet))


def import_file(  # noqa: PLR0913 - one for each option
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file of export, or - for standard input.")],
    *,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="A new name of the directory for it.")
    ] = None,
    into: Annotated[
        str | None,
        typer.Option(
            metavar="CONV",
            help="An id or a name that is there; else a new one is made.",
            autocompletion=complete_conversation,
        ),
    ] = None,
    append: Append = False,
    keep_partial: KeepPartial = False,
    base_url: BaseURL = None,
    directory: DirectoryURL = None,
    tenant: Tenant = "",
    quiet: Quiet = False,
) -> None:
    """Read a conversation from a file of JSON Lines, and print its id."""
    from openai_sessions.cli._moving import Import  # noqa: PLC0415 - help needs no openai
    from openai_sessions.cli._running import run  # noqa: PLC0415 - the same

    settings = Settings(base_url=base_url, directory=directory, tenant=tenant, quiet=quiet)
    with _as_path(file) as path:
        run(Import(file=path, into=into, name=name, append=append, keep_partial=keep_partial), settings)


def copy(  # noqa: PLR0913 - one for each option
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="An id, a name, or a store by its URL.",
            autocompletion=complete_conversation,
        ),
    ],
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="TARGET",
            help="The same; without one, a new conversation.",
            autocompletion=complete_conversation,
        ),
    ] = None,
    *,
    append: Append = False,
    keep_partial: KeepPartial = False,
    base_url: BaseURL = None,
    directory: DirectoryURL = None,
    tenant: Tenant = "",
    quiet: Quiet = False,
) -> None:
    """Copy a conversation, read it back, and print the id of the copy.

    A store is a session of the Agents SDK: sqlite:///FILE#ID, sqlite+aiosqlite:///FILE#ID,
    postgresql+asyncpg://USER@HOST/DATABASE#ID or redis://HOST#ID.
    """
    from openai_sessions.cli._moving import Copy  # noqa: PLC0415 - help needs no openai
    from openai_sessions.cli._running import run  # noqa: PLC0415 - the same

    copying = Copy(source=source, target=target, append=append, keep_partial=keep_partial)
    run(copying, Settings(base_url=base_url, directory=directory, tenant=tenant, quiet=quiet))


@contextmanager
def _as_path(file: str) -> Iterator[str]:
    """Give the path of a file; that of a copy for standard input, which Ctrl-C can then interrupt."""
    if file != _STANDARD:
        yield file
        return
    with tempfile.NamedTemporaryFile() as copied:
        with one_line_errors(), interruptible():
            shutil.copyfileobj(sys.stdin.buffer, copied)
        copied.flush()
        yield copied.name
