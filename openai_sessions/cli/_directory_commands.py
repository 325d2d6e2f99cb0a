"""The commands on the directory of names, with their options; each imports what it runs when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from openai_sessions.cli._settings import AsJSON, BaseURL, DirectoryURL, Quiet, Settings, Tenant, Yes


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
    from openai_sessions.cli._names import NameListing  # noqa: PLC0415 - help needs no directory
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
    from openai_sessions.cli._running import run  # noqa: PLC0415 - help needs no directory
    from openai_sessions.cli._sweep import Sweeping  # noqa: PLC0415 - the same

    sweeping = Sweeping(purge=purge, yes=yes)
    run(sweeping, Settings(base_url=base_url, directory=directory, tenant=tenant, quiet=quiet))
