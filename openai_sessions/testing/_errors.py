"""The errors of this package: of cassettes and of conformance checks."""

from __future__ import annotations

from typing import Any

import openai


class CassetteError(Exception):
    """Base class of the errors of cassettes."""


class CassetteDamagedError(CassetteError, ValueError):
    """A file cannot be read as a cassette. It is left unchanged, in every record mode."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"Cannot read the cassette {path}: {reason}. Nothing was sent, and the file is unchanged. "
            "Restore it from version control, or delete it and record it again."
        )
        self.path, self.reason = path, reason


class CassetteNotSavedError(CassetteError, ValueError):
    """A recording could not be written. An existing file is unchanged."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"Cannot write the cassette {path}: {reason}.")
        self.path, self.reason = path, reason


class CassetteMissError(CassetteError, openai.OpenAIError):
    """A request is not in the cassette, and was not sent. `request` is vcrpy's, without secrets.

    openai wraps and retries other errors of a transport, but raises its own unchanged
    (`openai/_base_client.py`, 2.45 to 3.57). Sessions do not retry it either.
    """

    def __init__(self, message: str, *, request: Any) -> None:
        super().__init__(message)
        self.request = request


class UnusedExchangesError(CassetteError, AssertionError):
    """Exchanges of a cassette were not used; `unused` has the number, method and path of each."""

    def __init__(self, path: str, unused: list[str], *, total: int) -> None:
        super().__init__(
            "\n  ".join([f"{len(unused)} of {total} exchanges of {path} were not used:", *unused])
            + "\nThe code no longer sends these requests. Record the cassette again (delete the file, or use "
            'record_mode="all"), or set allow_unused=True.'
        )
        self.path, self.unused = path, tuple(unused)


class ConformanceError(AssertionError):
    """A session failed conformance checks; the message is the report."""


class CheckFailedError(AssertionError):
    """A session returned something else than the requirement says."""


class CheckSkippedError(Exception):
    """The requirement could not be checked."""


_LONGEST = 600  # characters of an error in a message


class CallFailedError(Exception):
    """A method of a session raised `error`."""

    def __init__(self, call: str, error: Exception) -> None:
        text = str(error)
        cut = f"{text[:_LONGEST]}…" if len(text) > _LONGEST else text
        super().__init__(f"{call} raised {type(error).__name__}: {cut}")
        self.error = error
