"""Try one check: run it with the sessions it asks for, and put them away, all within a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from openai_sessions.testing._expectations import CheckFailedError, CheckSkippedError
from openai_sessions.testing._observed import CallFailedError
from openai_sessions.testing._report import Outcome
from openai_sessions.testing._sessions import Make, Reopen, Sessions

_GRACE = 1.0  # seconds that cancelled work has to end in


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found; the fields are those of `CheckResult`."""

    outcome: Outcome
    detail: str = ""
    error: Exception | None = None


async def try_check(
    check: Callable[[Sessions], Coroutine[Any, Any, None]],
    make: Make,
    *,
    reopen: Reopen | None,
    timeout: float,
) -> Finding:
    """Run the check, and return what it found, or that it did not end in time.

    The check and the putting away of its sessions are one task, for a context manager to be left where it
    was entered. A task that swallows its cancellation is left alone after a second or two.
    """
    found: asyncio.Future[Finding] = asyncio.get_running_loop().create_future()
    sessions = Sessions(make=make, reopen_with=reopen)
    task = asyncio.create_task(_run(check, sessions, found))
    try:
        first: set[asyncio.Future[Any]] = {found, task}
        ended, _ = await asyncio.wait(first, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if not ended:
            return _no_answer(sessions, timeout)
        if not found.done():
            task.result()  # raises what is no finding, such as a skip of pytest, which is no Exception
        await asyncio.wait({task}, timeout=timeout)
        return found.result()
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=_GRACE)
        task.cancel()  # putting away hangs too


async def _run(
    check: Callable[[Sessions], Coroutine[Any, Any, None]],
    sessions: Sessions,
    found: asyncio.Future[Finding],
) -> None:
    async with sessions.stack:
        try:
            finding = await _judge(check(sessions))
        except asyncio.CancelledError:  # when it was `try_check` that cancelled, it listens no more
            finding = Finding("failed", "raised CancelledError, though nobody had cancelled it")
        found.set_result(finding)


async def _judge(checking: Coroutine[Any, Any, None]) -> Finding:
    try:
        await checking
    except CheckSkippedError as skipped:
        return Finding("skipped", str(skipped))
    except CheckFailedError as failed:
        return Finding("failed", str(failed))
    except CallFailedError as failed:
        return Finding("failed", str(failed), failed.error)
    except Exception as error:  # noqa: BLE001 - whatever a session raises is a finding
        return Finding("failed", f"raised {type(error).__name__}: {error}", error)
    return Finding("passed")


def _no_answer(sessions: Sessions, timeout: float) -> Finding:
    waiting = ", ".join(dict.fromkeys(sessions.pending)) or "the check"
    detail = f"{waiting} did not end within {timeout:g} seconds of the beginning of the check"
    return Finding("failed", detail, TimeoutError(detail))
