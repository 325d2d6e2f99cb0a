"""The `doctor` command: what a bug report needs, and what is wrong with a setup, one line for each check."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import openai
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from openai_sessions._api.retries import RetryPolicy
from openai_sessions._secrets import spellings, without
from openai_sessions.cli._errors import CommandError, ExitCode
from openai_sessions.cli._examination import LEFT_BEHIND, Examination
from openai_sessions.cli._output import counted, escaped_line, standard_output, write_json, write_line
from openai_sessions.cli._running import POLICY, Workspace
from openai_sessions.cli._setup import Access, CheckResult, find_access, is_private, settings, versions

_REPLAY_POLICY = RetryPolicy(initial_wait=0.001, max_wait=0.001, settle_after=0.001)
"""A replay waits for nobody."""

_ONE_CONNECTION: Any = type(openai.DEFAULT_CONNECTION_LIMITS)(max_connections=1)
"""Concurrent requests are then sent, and recorded, in one order."""

_REPLAY_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorOptions:
    """The options of the command.

    Attributes:
        offline: Check only what needs no request.
        timeout: Seconds for each request.
        model: The model to ask; None for none.
        record: Record the requests in this new file; None for none.
        replay: Take the responses from this recording instead of a server; None for a server.
        as_json: Print JSON, one check per line.
    """

    offline: bool = False
    timeout: float = 30.0
    model: str | None = None
    record: Path | None = None
    replay: Path | None = None
    as_json: bool = False

    def __post_init__(self) -> None:
        if self.replay and (self.offline or self.record or self.model):
            raise CommandError(
                "--replay sends no requests: give it without --offline, --record and --model.",
                exit_code=ExitCode.USAGE,
            )
        if self.offline and self.record:
            raise CommandError("--offline has nothing to --record.", exit_code=ExitCode.USAGE)


async def doctor(workspace: Workspace, options: DoctorOptions) -> None:
    """Print the result of each check.

    Args:
        workspace: The workspace.
        options: The options of the command.

    Raises:
        CommandError: A check failed (exit code 1), a conversation was left behind (4), or a file cannot be
            recorded or replayed.
        ImportError: To record or replay, the extra `testing` is needed.
    """
    report = Report(Printer(as_json=options.as_json).write)
    if options.replay is not None:
        await _replay(options.replay, report)
    else:
        await _check(workspace, options, report)
    if not options.as_json:
        write_line(report.summary())
    if report.failed:
        left = any(result.check == LEFT_BEHIND for result in report.failed)
        raise CommandError("", exit_code=ExitCode.UNFINISHED if left else ExitCode.FAILED)


async def _check(workspace: Workspace, options: DoctorOptions, report: Report) -> None:
    if options.record is not None:
        from openai_sessions.cli._recordings import require_new  # noqa: PLC0415 - needs an extra

        require_new(options.record)
    access = find_access(workspace.settings.base_url, os.environ)
    for result in (*versions(), *settings(access, os.environ)):
        report.add(result)
    if options.offline or not access.is_usable:
        return
    if options.record is None:
        await _examine(access, report, timeout=options.timeout, model=options.model)
    elif await _record(options.record, access, report, options):
        workspace.note(f"Recorded to {options.record}.")
    else:
        workspace.note(f"{options.record} was not written: no request got a response.")


async def _examine(
    access: Access,
    report: Report,
    *,
    timeout: float,
    model: str | None,
    policy: RetryPolicy = POLICY,
    **options: Any,
) -> None:
    """Check a server; the options are those of the HTTP client."""
    hooks = {"request": [_without_authorization]} if access.sends_api_key_header else {}
    client = AsyncOpenAI(
        base_url=access.base_url,
        api_key=access.key,
        default_headers={"api-key": access.key} if access.sends_api_key_header else None,
        http_client=DefaultAsyncHttpxClient(event_hooks=hooks, **options),
    )
    async with client:
        await Examination(
            client, access, policy=policy, timeout=timeout, report=report.add, model=model
        ).run()


async def _without_authorization(request: Any) -> None:
    """Remove the header that openai's client cannot leave out: Azure gets its key as `api-key`."""
    request.headers.pop("Authorization", None)


async def _record(file: Path, access: Access, report: Report, options: DoctorOptions) -> bool:
    """Check a server and record that; return whether there was anything to record.

    Raises:
        CommandError: The recording contains a secret, or does not replay. There is no file.
    """
    from openai_sessions.cli._recordings import draft_of, publish, recorded  # noqa: PLC0415 - needs an extra

    local = len(report.results)
    with draft_of(file) as draft:
        with recorded(draft, access):
            await _examine(
                access, report, timeout=options.timeout, model=options.model, limits=_ONE_CONNECTION
            )
        if not draft.exists():
            return False
        again = Report(lambda _: None)
        try:
            await _replay(draft, again)
        except CommandError:
            again.results.clear()
        if again.outcomes() != report.outcomes()[local:]:
            raise CommandError(
                f"--record {file}: nothing was written, because the recording does not replay. A reply that "
                "was lost cannot be recorded: run the command again.",
                exit_code=ExitCode.FAILED,
            )
        publish(draft, file, os.environ)
    return True


async def _replay(file: Path, report: Report) -> None:
    from openai_sessions.cli._recordings import replayed  # noqa: PLC0415 - needs an extra

    with replayed(file) as (access, model):
        untimed = Report(lambda result: report.add(replace(result, ms=None)))
        await _examine(
            access,
            untimed,
            timeout=_REPLAY_TIMEOUT,
            model=model,
            policy=_REPLAY_POLICY,
            limits=_ONE_CONNECTION,
            trust_env=False,
            verify=False,  # loads no certificates
        )


class Report:
    """The results of the checks, without secrets.

    Args:
        write: Called with each result.

    Attributes:
        results: The results so far.
    """

    def __init__(self, write: Callable[[CheckResult], None]) -> None:
        self._write = write
        self.results: list[CheckResult] = []

    @property
    def failed(self) -> list[CheckResult]:
        """The checks that failed."""
        return [result for result in self.results if result.status == "failed"]

    def add(self, result: CheckResult) -> None:
        """Add a result, and write it without secrets and the path of the user's home."""
        remedy = None if result.remedy is None else _public(result.remedy)
        public = replace(result, detail=_public(result.detail), remedy=remedy)
        self.results.append(public)
        self._write(public)

    def outcomes(self) -> list[tuple[str, str]]:
        """Return each check with its status."""
        return [(result.check, result.status) for result in self.results]

    def summary(self) -> str:
        """Return a line on all checks."""
        if not self.failed:
            return f"All is well: {counted(len(self.results), 'check')}."
        return f"{len(self.failed)} of {counted(len(self.results), 'check')} failed."


def _public(text: str) -> str:
    secrets = {
        spelled
        for name, value in os.environ.items()
        if is_private(name)
        for spelled in spellings(value.strip())
    }
    home = str(Path.home())
    line = " ".join(without(text, secrets).split())
    return escaped_line(line.replace(home, "~") if len(home) > 1 else line)


class Printer:
    """Writes results to standard output, as text or as JSON.

    Args:
        as_json: Whether to write JSON.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        console = standard_output()
        self._width = console.width if console.is_terminal else None

    def write(self, result: CheckResult) -> None:
        """Write a result: in one line, unless a terminal is too narrow, and the remedy in another."""
        if self._as_json:
            write_json(asdict(result))
        else:
            self._write_text(
                f"{result.status:<6} {result.check:<8} {_duration(result.ms):>7}  ", result.detail
            )
            if result.remedy:
                self._write_text(" " * _INDENT, result.remedy)
        sys.stdout.flush()

    def _write_text(self, label: str, text: str) -> None:
        if self._width is None:
            write_line(f"{label}{text}")
            return
        width = max(self._width, 2 * _INDENT)
        for line in textwrap.wrap(
            text, width, initial_indent=label, subsequent_indent=" " * _INDENT, break_on_hyphens=False
        ):
            write_line(line)


def _duration(ms: float | None) -> str:
    if ms is None:
        return ""
    return f"{ms:.0f} ms" if ms < 10_000 else f"{ms / 1000:.0f} s"


_INDENT = 25
"""The column at which details start."""
