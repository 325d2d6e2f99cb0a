"""The options that the commands on conversations share."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from openai_sessions.cli._errors import interruptible, one_line_errors

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


_MOST = 50


def complete_conversation(context: typer.Context, incomplete: str) -> list[str]:
    """Return names that begin with what was typed; none, and no word, where the directory cannot be read."""
    settings = Settings(directory=context.params.get("directory"), tenant=context.params.get("tenant") or "")
    if not settings.directory:
        return []
    try:
        return asyncio.run(_names(settings, incomplete))
    except Exception:  # noqa: BLE001 - a shell that completes is no place for errors
        return []


async def _names(settings: Settings, prefix: str) -> list[str]:
    from openai_sessions.cli._running import Workspace  # noqa: PLC0415 - completing commands needs no openai

    async with Workspace(settings) as workspace:
        page = await workspace.directory.list(prefix, limit=_MOST)
    return [entry.name for entry in page.entries]


Conversation = Annotated[
    str,
    typer.Argument(
        metavar="CONV",
        help="An id (conv_...), or a name of the directory.",
        autocompletion=complete_conversation,
    ),
]
"""The conversation that a command is about."""


def show(  # noqa: PLR0913 - one for each option
    conversation: Conversation,
    *,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the newest N items.")] = None,
    last_turns: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only the newest N turns.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Cut no item after 5,000 characters.")] = False,
    as_json: AsJSON = False,
    base_url: BaseURL = None,
    directory: DirectoryURL = None,
    tenant: Tenant = "",
    quiet: Quiet = False,
) -> None:
    """Show what was said, oldest first."""
    from openai_sessions.cli._conversations import Showing  # noqa: PLC0415 - the same
    from openai_sessions.cli._running import run  # noqa: PLC0415 - help needs no openai

    showing = Showing(
        conversation=conversation, limit=limit, last_turns=last_turns, full=full, as_json=as_json
    )
    run(showing, Settings(base_url=base_url, directory=directory, tenant=tenant, quiet=quiet))


def turns(  # noqa: PLR0913 - one for each option
    conversation: Conversation,
    *,
    find: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only turns in which this is said, in any case.")
    ] = None,
    last: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the newest N of them.")] = None,
    as_json: AsJSON = False,
    base_url: BaseURL = None,
    directory: DirectoryURL = None,
    tenant: Tenant = "",
    quiet: Quiet = False,
) -> None:
    """List the turns: what the user said, and how many items came of it."""
    from openai_sessions.cli._conversations import Listing  # noqa: PLC0415 - the same
    from openai_sessions.cli._running import run  # noqa: PLC0415 - help needs no openai

    listing = Listing(conversation=conversation, find=find, last=last, as_json=as_json)
    run(listing, Settings(base_url=base_url, directory=directory, tenant=tenant, quiet=quiet))


def usage(  # noqa: PLR0913 - one for each option
    conversation: Conversation,
    *,
    by_turn: Annotated[
        bool, typer.Option("--by-turn", help="Of each turn, which the directory keeps with a name.")
    ] = False,
    as_json: AsJSON = False,
    base_url: BaseURL = None,
    directory: DirectoryURL = None,
    tenant: Tenant = "",
    quiet: Quiet = False,
) -> None:
    """Print the requests and tokens that were used."""
    from openai_sessions.cli._conversations import Counting  # noqa: PLC0415 - the same
    from openai_sessions.cli._running import run  # noqa: PLC0415 - help needs no openai

    counting = Counting(conversation=conversation, by_turn=by_turn, as_json=as_json)
    run(counting, Settings(base_url=base_url, directory=directory, tenant=tenant, quiet=quiet))


def fork(  # noqa: PLR0913 - one for each option
    conversation: Conversation,
    *,
    before_turn: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Leave out turn N, and all that follows.")
    ] = None,
    after_item: Annotated[
        str | None, typer.Option(metavar="ID", help="Leave out all that follows this item.")
    ] = None,
    branch: Annotated[
        str | None, typer.Option(metavar="NAME", help="Make it a branch of the name that CONV is.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="A new name of the directory for it.")
    ] = None,
    base_url: BaseURL = None,
    directory: DirectoryURL = None,
    tenant: Tenant = "",
    quiet: Quiet = False,
) -> None:
    """Copy a conversation, or its beginning, to a new one, and print the new id."""
    from openai_sessions.cli._conversations import Forking  # noqa: PLC0415 - help needs no openai
    from openai_sessions.cli._running import run  # noqa: PLC0415 - the same

    forking = Forking(
        conversation=conversation, before_turn=before_turn, after_item=after_item, branch=branch, name=name
    )
    run(forking, Settings(base_url=base_url, directory=directory, tenant=tenant, quiet=quiet))


def clear(  # noqa: PLR0913 - one for each option
    conversation: Conversation,
    *,
    purge: Annotated[
        bool, typer.Option("--purge", help="Delete each item first: OpenAI keeps those of a deleted one.")
    ] = False,
    yes: Yes = False,
    base_url: BaseURL = None,
    directory: DirectoryURL = None,
    tenant: Tenant = "",
    quiet: Quiet = False,
) -> None:
    """Delete a conversation."""
    from openai_sessions.cli._conversations import Clearing  # noqa: PLC0415 - help needs no openai
    from openai_sessions.cli._running import run  # noqa: PLC0415 - the same

    clearing = Clearing(conversation=conversation, purge=purge, yes=yes)
    run(clearing, Settings(base_url=base_url, directory=directory, tenant=tenant, quiet=quiet))


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


def list_names(  # noqa: PLR0913 - one for each option
    *,
    prefix: Annotated[str, typer.Option(metavar="TEXT", help="Only names that begin with it.")] = "",
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="At most N names.")] = None,
    after: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only names behind this one, as the page before says.")
    ] = None,
    as_json: AsJSON = False,
    base_url: BaseURL = None,
    directory: DirectoryURL = None,
    tenant: Tenant = "",
    quiet: Quiet = False,
) -> None:
    """List the names of the directory. Needs no key."""
    from openai_sessions.cli._directory import NameListing  # noqa: PLC0415 - help needs no directory
    from openai_sessions.cli._running import run  # noqa: PLC0415 - the same

    listing = NameListing(prefix=prefix, limit=limit, after=after, as_json=as_json)
    run(listing, Settings(base_url=base_url, directory=directory, tenant=tenant, quiet=quiet))


def sweep(  # noqa: PLR0913 - one for each option
    *,
    purge: Annotated[
        bool, typer.Option("--purge", help="Delete the items of each conversation first.")
    ] = False,
    yes: Yes = False,
    base_url: BaseURL = None,
    directory: DirectoryURL = None,
    tenant: Tenant = "",
    quiet: Quiet = False,
) -> None:
    """Delete what has expired in the directory, and what was left behind."""
    from openai_sessions.cli._directory import Sweeping  # noqa: PLC0415 - the same
    from openai_sessions.cli._running import run  # noqa: PLC0415 - help needs no directory

    sweeping = Sweeping(purge=purge, yes=yes)
    run(sweeping, Settings(base_url=base_url, directory=directory, tenant=tenant, quiet=quiet))


app = typer.Typer(
    help="OpenAI's hosted conversations as an agent's memory.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 failed halfway, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its listing of local variables would show keys
    context_settings={"help_option_names": ["-h", "--help"]},
)

_PANELS: dict[str, dict[str, Callable[..., None]]] = {
    "Conversations": {"show": show, "turns": turns, "usage": usage, "fork": fork, "clear": clear},
    "Moving": {"export": export, "import": import_file, "copy": copy},
    "Directory": {"list": list_names, "sweep": sweep},
}

for panel, commands in _PANELS.items():
    for name, command in commands.items():
        app.command(name, rich_help_panel=panel)(command)


@app.command(rich_help_panel="Trying it")
def demo(
    *,
    live: Annotated[
        bool, typer.Option("--live", help="Talk to OpenAI, with the key in OPENAI_API_KEY.")
    ] = False,
    model: Annotated[str, typer.Option(help="The model to ask with --live.")] = "gpt-4.1-mini",
) -> None:
    """Watch an agent keep its memory in a conversation, offline or on OpenAI."""
    from openai_sessions.cli._demo import run_live, run_offline  # noqa: PLC0415 - serve needs no agents

    with one_line_errors():
        if live:
            run_live(model)
        else:
            run_offline()


@app.command(rich_help_panel="Trying it")
def serve(  # noqa: PLR0913 - one for each option
    *,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 8080,
    db: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep conversations in a file, not in memory.")
    ] = None,
    api_key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            envvar="OPENAI_SESSIONS_API_KEYS",
            help="Accept only the keys given; each sees its own conversations. May be repeated; "
            "the variable takes keys with spaces between.",
        ),
    ] = None,
    delay_ms: Annotated[
        int, typer.Option(min=0, metavar="N", help="Let each answer wait so many milliseconds.")
    ] = 0,
    faults: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Fail as this JSON file says: see docs/serve.md.")
    ] = None,
    seed_from: Annotated[
        Path | None,
        typer.Option(metavar="FILE.jsonl", help="Begin with these conversations, one JSON object a line."),
    ] = None,
) -> None:
    """Serve the emulator of the Conversations API, and a page that shows what it holds, until Ctrl-C."""
    from openai_sessions.cli._serve import Serving, serve_emulator  # noqa: PLC0415 - demo needs no uvicorn

    with one_line_errors():
        serve_emulator(
            Serving(
                host=host,
                port=port,
                database=db,
                api_keys=api_key or (),
                delay_ms=delay_ms,
                faults=faults,
                seed_from=seed_from,
            )
        )
