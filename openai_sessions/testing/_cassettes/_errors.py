"""The errors of cassettes.

CassetteError
├── CassetteDamagedError   (ValueError)
├── CassetteMissError      (openai.OpenAIError, vcr's CannotOverwriteExistingCassetteException)
├── CassetteNotSavedError  (ValueError)
└── UnusedExchangesError   (AssertionError)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import openai
from vcr.errors import CannotOverwriteExistingCassetteException  # type: ignore[import-untyped]


class CassetteError(Exception):
    """Stand at the root of all errors of cassettes."""


class CassetteDamagedError(CassetteError, ValueError):
    """Tell that a file is no cassette that can be read. It is left as it is, in every record mode.

    Attributes:
        path: The file.
        reason: What is wrong with it, in words.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"{path} is no cassette that can be read: {reason}. Nothing was sent, and the file is as it was. "
            "Restore it from version control, or delete it and record it anew."
        )
        self.path = path
        self.reason = reason


class CassetteNotSavedError(CassetteError, ValueError):
    """Tell that what was recorded cannot be written. A file that was there is as it was.

    Attributes:
        path: The file.
        reason: What is wrong, in words.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"What was recorded cannot be written to {path}: {reason}.")
        self.path = path
        self.reason = reason


class CassetteMissError(CassetteError, openai.OpenAIError, CannotOverwriteExistingCassetteException):  # type: ignore[misc]
    """Tell that a request is not in the cassette. It was not sent.

    It is an `openai.OpenAIError` because openai repeats and wraps every other error of a transport, and
    raises its own as they are (`openai/_base_client.py`, 2.45 to 3.54); sessions do not repeat it
    either. It is vcrpy's error too, with all that vcrpy says in it.

    Attributes:
        cassette: The cassette.
        failed_request: The request, as vcrpy holds it, without secrets.
    """

    def __init__(self, message: str, *, cassette: Any, failed_request: Any) -> None:
        # vcrpy writes its own message, and sets what its users read; the message is ours.
        CannotOverwriteExistingCassetteException.__init__(
            self, cassette=cassette, failed_request=failed_request
        )
        self.args = (message,)


class UnusedExchangesError(CassetteError, AssertionError):
    """Tell that exchanges of a cassette were not used by the code that it was played to.

    Attributes:
        path: The file.
        unused: The requests of these exchanges, each as its number, method and path.
    """

    def __init__(self, path: str, unused: Sequence[str], *, total: int) -> None:
        listed = "".join(f"\n  {each}" for each in unused)
        super().__init__(
            f"{len(unused)} of the {total} exchanges of {path} were not used:{listed}\n"
            "The code no longer makes these requests: record the cassette anew (delete the file, or "
            'record_mode="all"), or give allow_unused=True.'
        )
        self.path = path
        self.unused = tuple(unused)
