"""The commands on one conversation, with their options; each imports what it runs when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from openai_sessions.cli._completion import Conversation
from openai_sessions.cli._settings import (
    AsJSON,
    BaseURL,
    DirectoryURL,
    Quiet,
    Settings,
    Tenant,
    Yes,
)


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
    from openai_sessions.cli._running import run  # noqa: PLC0415 - help needs no openai
    from openai_sessions.cli._show import Showing  # noqa: PLC0415 - the same

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
    from openai_sessions.cli._running import run  # noqa: PLC0415 - help needs no openai
    from openai_sessions.cli._turns import Listing  # noqa: PLC0415 - the same

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
    from openai_sessions.cli._running import run  # noqa: PLC0415 - help needs no openai
    from openai_sessions.cli._usage import Counting  # noqa: PLC0415 - the same

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
    from openai_sessions.cli._fork import Forking  # noqa: PLC0415 - help needs no openai
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
    from openai_sessions.cli._clear import Clearing  # noqa: PLC0415 - help needs no openai
    from openai_sessions.cli._running import run  # noqa: PLC0415 - the same

    clearing = Clearing(conversation=conversation, purge=purge, yes=yes)
    run(clearing, Settings(base_url=base_url, directory=directory, tenant=tenant, quiet=quiet))
