"""The commands and their options; each command imports what it runs when it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from openai_sessions.cli._conversation_commands import clear, fork, show, turns, usage
from openai_sessions.cli._directory_commands import list_names, sweep
from openai_sessions.cli._errors import one_line_errors
from openai_sessions.cli._moving_commands import copy, export, import_file

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
