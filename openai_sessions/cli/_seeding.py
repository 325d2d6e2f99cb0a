"""A file of conversations to begin with: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from openai_sessions.cli._errors import CommandError
from openai_sessions.emulator import Emulator, InvalidSeedError, Seeded

_FORM = 'it must be a JSON object, as {"id": "conv_1", "metadata": {}, "items": []}, in one line'
_EXCERPT = 30


def seed_from(file: Path, emulator: Emulator) -> Seeded:
    """Let the emulator hold the conversations of a file, all of them or none.

    The file is read line by line, and empty lines are passed over. What a line may have, and what becomes of
    a conversation that the database knows already, is told by `Emulator.seed`.

    Raises:
        CommandError: The file cannot be read, or a line is wrong: names the line, the value and the remedy.
    """
    lines = _Lines(file)
    try:
        return emulator.seed(lines)
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.", exit_code=2) from error
    except InvalidSeedError as error:
        raise CommandError(f"{lines.place}: {error.reason}", exit_code=2) from error


class _Lines:
    """The conversations of a file, one by one; `place` is the line that was read last."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._number = 0

    @property
    def place(self) -> str:
        return f"{self._file}, line {self._number}"

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with self._file.open("rb") as lines:
            for self._number, line in enumerate(lines, start=1):
                if line.strip():
                    yield self._parsed(line)

    def _parsed(self, line: bytes) -> dict[str, Any]:
        try:
            text = line.decode("utf-8-sig" if self._number == 1 else "utf-8")
            conversation = json.loads(text, parse_constant=self._refuse_constant)
        except UnicodeDecodeError as error:
            self._refuse(f"byte {error.start + 1} is not UTF-8: save the file as UTF-8.", error)
        except json.JSONDecodeError as error:
            near = error.doc[error.pos :][:_EXCERPT].strip()
            where = f"{near!r} in column {error.colno}" if near else "the end of the line"
            self._refuse(f"not JSON ({error.msg}) at {where}; {_FORM}.", error)
        except (RecursionError, ValueError) as error:
            self._refuse("it is nested too deeply, or has a number that is too long.", error)
        if not isinstance(conversation, dict):
            self._refuse(f"{line.decode()[:_EXCERPT].strip()} is no object; {_FORM}.")
        return conversation

    def _refuse_constant(self, name: str) -> NoReturn:
        self._refuse(f"{name} is no JSON: give a finite number or a string.")

    def _refuse(self, reason: str, cause: Exception | None = None) -> NoReturn:
        raise CommandError(f"{self.place}: {reason}", exit_code=2) from cause
