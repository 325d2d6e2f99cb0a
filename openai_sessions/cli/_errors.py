"""How a command ends early."""

from __future__ import annotations


class CommandError(Exception):
    """End the command with one line for the person who ran it.

    Attributes:
        exit_code: 1 for a failure, 2 for a command that cannot be run as given.
    """

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
