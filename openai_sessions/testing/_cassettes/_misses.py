"""What to tell of a request that is not in a cassette."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vcr.matchers import get_matchers_results  # type: ignore[import-untyped]

from openai_sessions.testing._cassettes._matching import described, differences, distance

_REMEDY = (
    'To record it anew, delete the file or use record_mode="all"; record_mode="new_episodes" adds to it. '
    "Where the variable CI is set, nothing is recorded unless record_mode says so."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A cassette as a message sees it.

    Attributes:
        path: Its file.
        exists: Whether there is such a file.
        requests: Its requests, in order.
        is_played: Whether each of them was played.
        matchers: What they are matched on: vcrpy's functions.
    """

    path: str
    exists: bool
    requests: Sequence[Any]
    is_played: Sequence[bool]
    matchers: Sequence[Callable[[Any, Any], Any]]


def miss_message(sent: Any, recording: Recording) -> str:
    """Return what is missing, which recorded request comes closest, and how it differs.

    Args:
        sent: The request, without secrets.
        recording: The cassette.
    """
    return f"{_finding(sent, recording)}\n{_REMEDY}"


def _finding(sent: Any, recording: Recording) -> str:
    if not recording.exists:
        return (
            f"There is no cassette {recording.path} to answer {described(sent)}, and it may not be recorded."
        )
    headline = f"{recording.path} has no answer to {described(sent)}."
    if not recording.requests:
        return f"{headline} It holds no exchange at all."
    same = [index for index, one in enumerate(recording.requests) if not _failed(sent, one, recording)]
    if same:
        numbers = ", ".join(str(index + 1) for index in same)
        plural = "s" if len(same) > 1 else ""
        return (
            f"{headline} It was recorded {len(same)} time{plural} (exchange{plural} {numbers} of "
            f"{len(recording.requests)}), and that was played already: the code makes it more often. "
            "allow_playback_repeats=True would play it again."
        )
    return f"{headline} {_closest(sent, recording)}"


def _closest(sent: Any, recording: Recording) -> str:
    index = min(
        range(len(recording.requests)),
        key=lambda at: (*distance(sent, recording.requests[at]), recording.is_played[at], at),
    )
    recorded = recording.requests[index]
    lines = differences(sent, recorded, _failed(sent, recorded, recording))
    played = ", played already" if recording.is_played[index] else ""
    listed = "".join(f"\n  {line}" for line in lines)
    return (
        f"Closest is exchange {index + 1} of {len(recording.requests)} ({described(recorded)}{played}), "
        f"which differs in{listed}"
    )


def _failed(sent: Any, recorded: Any, recording: Recording) -> list[tuple[str, str | None]]:
    failed: list[tuple[str, str | None]] = get_matchers_results(sent, recorded, recording.matchers)[1]
    return failed
