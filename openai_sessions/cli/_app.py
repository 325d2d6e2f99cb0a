"""The commands and their options; each command imports what it runs when it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from openai_sessions.cli._errors import CommandError

app = typer.Typer(
    help="OpenAI's hosted conversations as an agent's memory.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its listing of local variables would show keys
)


@app.command()
def demo(
    *,
    live: Annotated[
        bool, typer.Option("--live", help="Talk to OpenAI, with the key in OPENAI_API_KEY.")
    ] = False,
    model: Annotated[str, typer.Option(help="The model to ask with --live.")] = "gpt-4.1-mini",
) -> None:
    """Watch an agent keep its memory in a conversation, offline or on OpenAI."""
    from openai_sessions.cli._demo import run_live, run_offline  # noqa: PLC0415 - serve needs no agents

    with _one_line_errors():
        if live:
            run_live(model)
        else:
            run_offline()


@app.command()
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

    with _one_line_errors():
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


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except CommandError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code) from None
