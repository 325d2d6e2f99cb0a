"""The commands and their options. What they do is imported when they run, so that `--help` stays fast."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from openai_sessions.cli._running import Settings, Work

app = typer.Typer(
    help="Show, move and delete conversations hosted by OpenAI.",
    epilog="Exit codes: 0 success, 1 failure, 2 usage error, 3 not found, 4 partly done, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # it prints local variables, and so keys
    context_settings={"help_option_names": ["-h", "--help"]},
)

_CONNECTION = "Connection"

BaseURL = Annotated[
    str | None,
    typer.Option(
        "--base-url",
        metavar="URL",
        envvar="OPENAI_BASE_URL",
        help="Base URL of the API; OpenAI's by default. The key is read from OPENAI_API_KEY.",
        rich_help_panel=_CONNECTION,
    ),
]

DirectoryURL = Annotated[
    str | None,
    typer.Option(
        "--directory",
        metavar="URL",
        envvar="OPENAI_SESSIONS_DIRECTORY",
        help="Database of the session directory, such as sqlite+aiosqlite:///names.db.",
        rich_help_panel=_CONNECTION,
    ),
]

Tenant = Annotated[
    str,
    typer.Option(
        "--tenant",
        metavar="KEY",
        envvar="OPENAI_SESSIONS_TENANT",
        help="Tenant whose names are used.",
        rich_help_panel=_CONNECTION,
    ),
]

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Hide progress and messages.")]

AsJSON = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")]

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done; change nothing.")]

KeepItems = Annotated[
    bool,
    typer.Option("--keep-items", help="Leave the items of deleted conversations at OpenAI, out of reach."),
]


def complete_conversation(context: typer.Context, incomplete: str) -> list[str]:
    """Return up to 50 names that start with what was typed; an empty list if the directory cannot be read.

    Names with characters that control a terminal are left out: a shell prints names as they are.
    """
    url, tenant = context.params.get("directory"), context.params.get("tenant")
    if not url:
        return []
    from openai_sessions.cli._running import Settings  # noqa: PLC0415 - completing commands needs no openai

    try:
        return asyncio.run(_names(Settings(directory=url, tenant=tenant or ""), incomplete))
    except Exception:  # noqa: BLE001 - an error would appear in the line that is being typed
        return []


async def _names(settings: Settings, prefix: str) -> list[str]:
    from openai_sessions.cli._output import escaped_line  # noqa: PLC0415 - as above
    from openai_sessions.cli._running import Workspace  # noqa: PLC0415

    async with Workspace(settings) as workspace:
        page = await workspace.directory.conversations(prefix=prefix, order="name", limit=50)
    return [entry.name for entry in page.entries if entry.name == escaped_line(entry.name)]


Conversation = Annotated[
    str,
    typer.Argument(
        metavar="CONV",
        help="Conversation id (conv_...), or a name from the directory.",
        autocompletion=complete_conversation,
    ),
]


def show(  # noqa: PLR0913 - one for each option
    conversation: Conversation,
    *,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the newest N items.")] = None,
    last_turns: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only the newest N turns.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Print long items in full, not their first 5,000 characters.")
    ] = False,
    ids: Annotated[bool, typer.Option("--ids", help="Print the id of each item.")] = False,
    as_json: AsJSON = False,
    base_url: BaseURL = None,
    directory: DirectoryURL = None,
    tenant: Tenant = "",
    quiet: Quiet = False,
) -> None:
    """Print the items of a conversation, oldest first."""
    from openai_sessions.cli import _conversations as commands  # noqa: PLC0415 - help needs no openai

    _run(
        lambda workspace: commands.show(
            workspace, conversation, limit=limit, last_turns=last_turns, full=full, ids=ids, as_json=as_json
        ),
        base_url=base_url,
        directory=directory,
        tenant=tenant,
        quiet=quiet,
    )


def turns(  # noqa: PLR0913 - one for each option
    conversation: Conversation,
    *,
    find: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only turns that contain TEXT, ignoring case.")
    ] = None,
    last: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only the newest N of these turns.")
    ] = None,
    as_json: AsJSON = False,
    base_url: BaseURL = None,
    directory: DirectoryURL = None,
    tenant: Tenant = "",
    quiet: Quiet = False,
) -> None:
    """List the turns, with the number of items and the user message of each."""
    from openai_sessions.cli import _conversations as commands  # noqa: PLC0415 - help needs no openai

    _run(
        lambda workspace: commands.turns(workspace, conversation, find=find, last=last, as_json=as_json),
        base_url=base_url,
        directory=directory,
        tenant=tenant,
        quiet=quiet,
    )


def usage(  # noqa: PLR0913 - one for each option
    conversation: Conversation,
    *,
    by_turn: Annotated[
        bool, typer.Option("--by-turn", help="Print the usage of each turn; CONV must be a name.")
    ] = False,
    as_json: AsJSON = False,
    base_url: BaseURL = None,
    directory: DirectoryURL = None,
    tenant: Tenant = "",
    quiet: Quiet = False,
) -> None:
    """Print the requests and tokens used by the runs of an agent, and their cost (needs genai-prices)."""
    from openai_sessions.cli import _conversations as commands  # noqa: PLC0415 - help needs no openai

    _run(
        lambda workspace: commands.usage(workspace, conversation, by_turn=by_turn, as_json=as_json),
        base_url=base_url,
        directory=directory,
        tenant=tenant,
        quiet=quiet,
    )


def view(  # noqa: PLR0913 - one for each option
    conversations: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CONV",
            help="Conversation ids, or names from the directory; all its names by default.",
            autocompletion=complete_conversation,
        ),
    ] = None,
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", help="Port to listen on; 0 picks a free one.")
    ] = 0,
    base_url: BaseURL = None,
    directory: DirectoryURL = None,
    tenant: Tenant = "",
    quiet: Quiet = False,
) -> None:
    """Serve a web page that shows conversations, and changes nothing."""
    from openai_sessions.cli import _view as commands  # noqa: PLC0415 - help needs no openai
    from openai_sessions.cli._running import Settings, run  # noqa: PLC0415 - as above

    options = commands.ViewOptions(host=host, port=port, conversations=conversations or ())
    settings = Settings(base_url=base_url, directory=directory, tenant=tenant, quiet=quiet)
    run(lambda workspace: commands.view(workspace, options), settings, shows_log=False)


NewName = Annotated[
    str | None, typer.Option(metavar="NAME", help="Register the new conversation under NAME.")
]


def fork(  # noqa: PLR0913 - one for each option
    conversation: Conversation,
    *,
    before_turn: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Copy only what precedes turn N.")
    ] = None,
    after_item: Annotated[
        str | None, typer.Option(metavar="ID", help="Copy up to and including this item.")
    ] = None,
    branch: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Register the copy as a branch of CONV, which must be a name."),
    ] = None,
    name: NewName = None,
    base_url: BaseURL = None,
    directory: DirectoryURL = None,
    tenant: Tenant = "",
    quiet: Quiet = False,
) -> None:
    """Copy a conversation, or its beginning, to a new one and print the new id."""
    from openai_sessions.cli import _conversations as commands  # noqa: PLC0415 - help needs no openai

    _run(
        lambda workspace: commands.fork(
            workspace, conversation, before_turn=before_turn, after_item=after_item, branch=branch, name=name
        ),
        base_url=base_url,
        directory=directory,
        tenant=tenant,
        quiet=quiet,
    )


def compact(  # noqa: PLR0913 - one for each option
    conversation: Conversation,
    *,
    model: Annotated[str, typer.Option(metavar="MODEL", help="Model that compacts.")],
    keep_turns: Annotated[
        int, typer.Option(min=0, metavar="N", help="Number of the newest turns that stay as they are.")
    ] = 2,
    max_turns: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Compact only if there are more turns.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Compact only if there are more tokens.")
    ] = None,
    instructions: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Instructions for the model.")
    ] = None,
    delete_replaced: Annotated[
        bool, typer.Option("--delete-replaced", help="Delete the turns that are compacted.")
    ] = False,
    yes: Yes = False,
    as_json: AsJSON = False,
    base_url: BaseURL = None,
    directory: DirectoryURL = None,
    tenant: Tenant = "",
    quiet: Quiet = False,
) -> None:
    """Have a model sum up the older turns of a conversation, and print the id of the compaction item."""
    from openai_sessions.cli import _conversations as commands  # noqa: PLC0415 - help needs no openai
    from openai_sessions.session import Compaction  # noqa: PLC0415 - as above

    _run(
        lambda workspace: commands.compact(
            workspace,
            conversation,
            Compaction(
                model=model,
                max_turns=max_turns,
                max_tokens=max_tokens,
                keep_turns=keep_turns,
                instructions=instructions,
                delete_replaced=delete_replaced,
            ),
            yes=yes,
            as_json=as_json,
        ),
        base_url=base_url,
        directory=directory,
        tenant=tenant,
        quiet=quiet,
    )


def clear(  # noqa: PLR0913 - one for each option
    conversation: Conversation,
    *,
    purge: Annotated[
        bool,
        typer.Option(
            "--purge",
            help="Delete each item first, as for names: OpenAI keeps the items of a deleted conversation.",
        ),
    ] = False,
    yes: Yes = False,
    base_url: BaseURL = None,
    directory: DirectoryURL = None,
    tenant: Tenant = "",
    quiet: Quiet = False,
) -> None:
    """Delete a conversation."""
    from openai_sessions.cli import _conversations as commands  # noqa: PLC0415 - help needs no openai

    _run(
        lambda workspace: commands.clear(workspace, conversation, purge=purge, yes=yes),
        base_url=base_url,
        directory=directory,
        tenant=tenant,
        quiet=quiet,
    )


def check(  # noqa: PLR0913 - one for each option
    conversation: Conversation,
    *,
    as_json: AsJSON = False,
    base_url: BaseURL = None,
    directory: DirectoryURL = None,
    tenant: Tenant = "",
    quiet: Quiet = False,
) -> None:
    """Print what makes the API refuse the next response, such as calls without outputs."""
    from openai_sessions.cli import _repairs as commands  # noqa: PLC0415 - help needs no openai

    _run(
        lambda workspace: commands.check(workspace, conversation, as_json=as_json),
        base_url=base_url,
        directory=directory,
        tenant=tenant,
        quiet=quiet,
    )


def repair(  # noqa: PLR0913 - one for each option
    conversation: Conversation,
    *,
    as_json: AsJSON = False,
    base_url: BaseURL = None,
    directory: DirectoryURL = None,
    tenant: Tenant = "",
    quiet: Quiet = False,
) -> None:
    """Close or remove what check prints, and print what was done."""
    from openai_sessions.cli import _repairs as commands  # noqa: PLC0415 - help needs no openai

    _run(
        lambda workspace: commands.repair(workspace, conversation, as_json=as_json),
        base_url=base_url,
        directory=directory,
        tenant=tenant,
        quiet=quiet,
    )


def rewind(  # noqa: PLR0913 - one for each option
    conversation: Conversation,
    *,
    before_turn: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Delete turn N and all that follows it.")
    ] = None,
    after_item: Annotated[
        str | None, typer.Option(metavar="ID", help="Delete all that follows this item.")
    ] = None,
    yes: Yes = False,
    as_json: AsJSON = False,
    base_url: BaseURL = None,
    directory: DirectoryURL = None,
    tenant: Tenant = "",
    quiet: Quiet = False,
) -> None:
    """Delete the end of a conversation, and print the deleted items."""
    from openai_sessions.cli import _repairs as commands  # noqa: PLC0415 - help needs no openai

    _run(
        lambda workspace: commands.rewind(
            workspace,
            conversation,
            before_turn=before_turn,
            after_item=after_item,
            yes=yes,
            as_json=as_json,
        ),
        base_url=base_url,
        directory=directory,
        tenant=tenant,
        quiet=quiet,
    )


def delete_items(  # noqa: PLR0913 - one for each option
    conversation: Conversation,
    items: Annotated[list[str], typer.Argument(metavar="ITEM...", help="Ids of items, as in show --ids.")],
    *,
    yes: Yes = False,
    as_json: AsJSON = False,
    base_url: BaseURL = None,
    directory: DirectoryURL = None,
    tenant: Tenant = "",
    quiet: Quiet = False,
) -> None:
    """Delete items of a conversation, and print them."""
    from openai_sessions.cli import _repairs as commands  # noqa: PLC0415 - help needs no openai

    _run(
        lambda workspace: commands.delete_items(workspace, conversation, items, yes=yes, as_json=as_json),
        base_url=base_url,
        directory=directory,
        tenant=tenant,
        quiet=quiet,
    )


def replace_item(  # noqa: PLR0913 - one for each option
    conversation: Conversation,
    item: Annotated[str, typer.Argument(metavar="ITEM", help="Id of an item, as in show --ids.")],
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="File with the new item as JSON, or - for standard input.")
    ],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Replace without asking.")] = False,
    as_json: AsJSON = False,
    base_url: BaseURL = None,
    directory: DirectoryURL = None,
    tenant: Tenant = "",
    quiet: Quiet = False,
) -> None:
    """Replace an item, and print the new ids: it and all that follow it get others."""
    from openai_sessions.cli import _repairs as commands  # noqa: PLC0415 - help needs no openai

    _run(
        lambda workspace: commands.replace_item(
            workspace, conversation, item, file, yes=yes, as_json=as_json
        ),
        base_url=base_url,
        directory=directory,
        tenant=tenant,
        quiet=quiet,
    )


Append = Annotated[
    bool, typer.Option("--append", help="Add the items to a target that already contains others.")
]

KeepPartial = Annotated[
    bool,
    typer.Option("--keep-partial", help="On failure, keep what was written, to resume into the same target."),
]


def export(  # noqa: PLR0913 - one for each option
    conversation: Conversation,
    file: Annotated[str, typer.Argument(metavar="FILE", help="File, or - for standard output.")],
    *,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Replace an existing file without asking.")
    ] = False,
    base_url: BaseURL = None,
    directory: DirectoryURL = None,
    tenant: Tenant = "",
    quiet: Quiet = False,
) -> None:
    """Write a conversation to a JSON Lines file."""
    from openai_sessions.cli import _moving as commands  # noqa: PLC0415 - help needs no openai

    _run(
        lambda workspace: commands.export(workspace, conversation, file, yes=yes),
        base_url=base_url,
        directory=directory,
        tenant=tenant,
        quiet=quiet,
    )


def import_file(  # noqa: PLR0913 - one for each option
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="File written by export, or - for standard input.")
    ],
    *,
    name: NewName = None,
    into: Annotated[
        str | None,
        typer.Option(
            metavar="CONV",
            help="Import into this conversation id or name, instead of a new conversation.",
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
    """Read a conversation from a JSON Lines file and print its id."""
    from openai_sessions.cli import _moving as commands  # noqa: PLC0415 - help needs no openai

    with commands.input_file(file) as path:
        _run(
            lambda workspace: commands.import_file(
                workspace, path, name=name, into=into, append=append, keep_partial=keep_partial
            ),
            base_url=base_url,
            directory=directory,
            tenant=tenant,
            quiet=quiet,
        )


def copy(  # noqa: PLR0913 - one for each option
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Conversation id, name, or URL of an SDK session.",
            autocompletion=complete_conversation,
        ),
    ],
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="TARGET",
            help="The same; a new conversation by default.",
            autocompletion=complete_conversation,
        ),
    ] = None,
    *,
    all_sessions: Annotated[
        bool,
        typer.Option(
            "--all", help="Copy all sessions of SOURCE, which is the URL of a database without #ID."
        ),
    ] = False,
    append: Append = False,
    keep_partial: KeepPartial = False,
    base_url: BaseURL = None,
    directory: DirectoryURL = None,
    tenant: Tenant = "",
    quiet: Quiet = False,
) -> None:
    """Copy a conversation, verify the copy and print its id.

    URLs of Agents SDK sessions: sqlite:///FILE#ID, sqlite+aiosqlite:///FILE#ID,
    postgresql+asyncpg://USER@HOST/DATABASE#ID, redis://HOST#ID

    With --all, each session is copied to a name of the directory, or without one to a new conversation.
    """
    from openai_sessions.cli import _moving as commands  # noqa: PLC0415 - help needs no openai

    work = commands.copy_all if all_sessions else commands.copy
    options = commands.CopyOptions(append=append, keep_partial=keep_partial)
    _run(
        lambda workspace: work(workspace, source, target, options),
        base_url=base_url,
        directory=directory,
        tenant=tenant,
        quiet=quiet,
    )


def list_names(  # noqa: PLR0913 - one for each option
    *,
    prefix: Annotated[str, typer.Option(metavar="TEXT", help="Only names that start with TEXT.")] = "",
    user: Annotated[str | None, typer.Option(metavar="USER", help="Only names of USER.")] = None,
    search: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only names whose title contains TEXT.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="At most N names.")] = None,
    after: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only names after NAME, to continue a listing."),
    ] = None,
    as_json: AsJSON = False,
    base_url: BaseURL = None,
    directory: DirectoryURL = None,
    tenant: Tenant = "",
    quiet: Quiet = False,
) -> None:
    """List the names in the directory. Needs no API key."""
    from openai_sessions.cli import _directory as commands  # noqa: PLC0415 - help needs no sqlalchemy

    _run(
        lambda workspace: commands.list_names(
            workspace,
            commands.Wanted(prefix=prefix, user=user, search=search),
            after=after,
            limit=limit,
            as_json=as_json,
        ),
        base_url=base_url,
        directory=directory,
        tenant=tenant,
        quiet=quiet,
    )


def sweep(  # noqa: PLR0913 - one for each option
    *,
    keep_items: KeepItems = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    base_url: BaseURL = None,
    directory: DirectoryURL = None,
    tenant: Tenant = "",
    quiet: Quiet = False,
) -> None:
    """Delete expired names with their conversations, and orphaned conversations."""
    from openai_sessions.cli import _directory as commands  # noqa: PLC0415 - help needs no sqlalchemy

    _run(
        lambda workspace: commands.sweep(workspace, keep_items=keep_items, dry_run=dry_run, yes=yes),
        base_url=base_url,
        directory=directory,
        tenant=tenant,
        quiet=quiet,
    )


def erase(  # noqa: PLR0913 - one for each option
    *,
    user: Annotated[
        str, typer.Option("--user", metavar="USER", help="The user to erase.", show_default=False)
    ],
    keep_items: KeepItems = False,
    keep_responses: Annotated[
        bool, typer.Option("--keep-responses", help="Leave the stored responses of the user's runs.")
    ] = False,
    files: Annotated[
        bool,
        typer.Option("--files", help="Delete the files that items name; other users may use them too."),
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJSON = False,
    yes: Yes = False,
    base_url: BaseURL = None,
    directory: DirectoryURL = None,
    tenant: Tenant = "",
    quiet: Quiet = False,
) -> None:
    """Delete the names, conversations, items, responses and key of a user."""
    from openai_sessions.cli import _directory as commands  # noqa: PLC0415 - help needs no sqlalchemy

    wanted = commands.Erasing(user=user, keep_items=keep_items, keep_responses=keep_responses, files=files)
    _run(
        lambda workspace: commands.erase(workspace, wanted, dry_run=dry_run, as_json=as_json, yes=yes),
        base_url=base_url,
        directory=directory,
        tenant=tenant,
        quiet=quiet,
    )


def upgrade_directory(
    *,
    dry_run: DryRun = False,
    base_url: BaseURL = None,
    directory: DirectoryURL = None,
    tenant: Tenant = "",
    quiet: Quiet = False,
) -> None:
    """Create the tables and a missing SQLite file, or upgrade tables. Needs no API key."""
    from openai_sessions.cli import _directory as commands  # noqa: PLC0415 - help needs no sqlalchemy

    _run(
        lambda workspace: commands.upgrade(workspace, dry_run=dry_run),
        base_url=base_url,
        directory=directory,
        tenant=tenant,
        quiet=quiet,
    )


def doctor(  # noqa: PLR0913 - one for each option
    *,
    offline: Annotated[bool, typer.Option("--offline", help="Check versions and settings only.")] = False,
    timeout: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="Limit of each request.")] = 30.0,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Ask this model in the conversation too; costs a few tokens."),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(metavar="FILE.yaml", help="Record the requests, without keys; needs the extra testing."),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(metavar="FILE.yaml", help="Check what was recorded, without a server or a key."),
    ] = None,
    as_json: AsJSON = False,
    base_url: BaseURL = None,
) -> None:
    """Check versions, settings and the server, for a bug report.

    A conversation is created, written, read and deleted. Nothing else on the server is touched.
    """
    from openai_sessions.cli import _doctor  # noqa: PLC0415 - help needs no openai
    from openai_sessions.cli._errors import one_line_errors  # noqa: PLC0415 - as above
    from openai_sessions.cli._running import Settings, run  # noqa: PLC0415 - as above

    with one_line_errors():
        options = _doctor.DoctorOptions(
            offline=offline, timeout=timeout, model=model, record=record, replay=replay, as_json=as_json
        )
    settings = Settings(base_url=base_url)
    run(lambda workspace: _doctor.doctor(workspace, options), settings, shows_log=False)


def demo(
    *,
    live: Annotated[bool, typer.Option("--live", help="Use OpenAI, with the key in OPENAI_API_KEY.")] = False,
    model: Annotated[str, typer.Option(help="Model to use with --live.")] = "gpt-4.1-mini",
) -> None:
    """Show an agent that remembers, and a lost reply that is stored once. Needs no key."""
    from openai_sessions.cli import _demo  # noqa: PLC0415 - help needs no agents
    from openai_sessions.cli._errors import one_line_errors  # noqa: PLC0415 - nor openai

    with one_line_errors():
        if live:
            _demo.run_live(model)
        else:
            _demo.run_offline()


def serve(  # noqa: PLR0913 - one for each option
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", help="Port to listen on; 0 picks a free one.")
    ] = 8080,
    db: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Store conversations in this file, not in memory.")
    ] = None,
    api_key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            envvar="OPENAI_SESSIONS_API_KEYS",
            help="Accept only this key; may be repeated. Each key sees its own conversations. The variable "
            "takes several keys, separated by spaces.",
        ),
    ] = None,
    delay_ms: Annotated[int, typer.Option(min=0, metavar="N", help="Delay each response by N ms.")] = 0,
    faults: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Inject the faults in this JSON file; see docs/serve.md."),
    ] = None,
    replies: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Answer model requests with the replies in this JSON file; see docs/serve.md.",
        ),
    ] = None,
    foundry: Annotated[
        bool,
        typer.Option("--foundry", help="List conversations and tell users apart, as Azure's Foundry does."),
    ] = False,
    seed_from: Annotated[
        Path | None,
        typer.Option(metavar="FILE.jsonl", help="Load these conversations first, one JSON object per line."),
    ] = None,
) -> None:
    """Serve the emulated Conversations API, and a web page that shows its conversations."""
    from openai_sessions.cli._errors import one_line_errors  # noqa: PLC0415 - help needs no openai
    from openai_sessions.cli._serve import ServeOptions, serve_emulator  # noqa: PLC0415 - nor uvicorn

    with one_line_errors():
        serve_emulator(
            ServeOptions(
                host=host,
                port=port,
                database=db,
                api_keys=api_key or (),
                delay_ms=delay_ms,
                faults=faults,
                replies=replies,
                foundry=foundry,
                seed_from=seed_from,
            )
        )


def _run(work: Work, *, base_url: str | None, directory: str | None, tenant: str, quiet: bool) -> None:
    from openai_sessions.cli._running import Settings, run  # noqa: PLC0415 - help needs no openai

    run(work, Settings(base_url=base_url, directory=directory, tenant=tenant, quiet=quiet))


_PANELS: dict[str, dict[str, Callable[..., None]]] = {
    "Conversations": {
        "show": show,
        "turns": turns,
        "usage": usage,
        "view": view,
        "fork": fork,
        "compact": compact,
        "clear": clear,
    },
    "Repair": {
        "check": check,
        "repair": repair,
        "rewind": rewind,
        "delete-items": delete_items,
        "replace-item": replace_item,
    },
    "Import and export": {"export": export, "import": import_file, "copy": copy},
    "Diagnosis": {"doctor": doctor},
    "Demonstration and emulator": {"demo": demo, "serve": serve},
}

for panel, commands_of_panel in _PANELS.items():
    for name_of_command, command in commands_of_panel.items():
        app.command(name_of_command, rich_help_panel=panel)(command)

directory_app = typer.Typer(help="List, sweep, erase and upgrade a directory of names.", no_args_is_help=True)
directory_app.command("upgrade")(upgrade_directory)
directory_app.command("list")(list_names)
directory_app.command("sweep")(sweep)
directory_app.command("erase")(erase)
app.add_typer(directory_app, name="directory", rich_help_panel="Directory")
