"""`openai-sessions usage`: what the runs of a conversation have used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from openai_sessions._usage import Usage
from openai_sessions.cli._output import TableWriter, write_json
from openai_sessions.cli._workspace import Workspace

_NAMES = [field.name for field in fields(Usage)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """Whose usage to print.

    Attributes:
        conversation: An id, or a name of the directory.
        by_turn: Whether to print each turn, which the directory keeps with a name.
        as_json: Whether to print JSON.
    """

    conversation: str
    by_turn: bool = False
    as_json: bool = False

    async def __call__(self, workspace: Workspace) -> None:
        """Print what `store_run_usage` has kept."""
        if self.by_turn:
            session = await workspace.named_session(self.conversation)
            self._print_turns(await session.get_turn_usage(), workspace)
        else:
            source = await workspace.source(self.conversation)
            self._print_total(await source.get_session_usage(), workspace)

    def _print_total(self, usage: Usage | None, workspace: Workspace) -> None:
        if usage is None:
            _tell_of_none(workspace)
        if self.as_json:
            write_json(None if usage is None else asdict(usage))
        elif usage is not None:
            TableWriter("", ">Total").write(
                (name.replace("_", " "), f"{number:,}") for name, number in asdict(usage).items()
            )

    def _print_turns(self, used: Mapping[int, Usage], workspace: Workspace) -> None:
        if not used:
            _tell_of_none(workspace)
        if self.as_json:
            for turn, usage in used.items():
                write_json({"turn": turn, **asdict(usage)})
        else:
            headings = (f">{name.removesuffix('_tokens').capitalize()}" for name in _NAMES)
            rows = ((turn, *asdict(usage).values()) for turn, usage in used.items())
            TableWriter(">Turn", *headings).write([f"{number:,}" for number in row] for row in rows)


def _tell_of_none(workspace: Workspace) -> None:
    workspace.note("No usage was stored: `await session.store_run_usage(result)` stores it.")
