"""Record a flow into a cassette, and replay it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import openai

from openai_sessions import SessionError
from openai_sessions.testing._reducing import with_few_headers, without_noise
from openai_sessions.testing.cassettes import CassetteError, use_cassette
from tests.wire import FAST
from tools.recording.flows import Flow, Observed, Stage, observe
from tools.recording.servers import RecordingError, Server, Target, local_client
from tools.recording.stable import finish

FOLDER = Path(__file__).parents[2] / "fixtures" / "cassettes"

_MOST_SHOWN = 200
"""Characters of a value in an error."""


def record_all(
    flows: Iterable[Flow], target: Target, folder: Path, *, say: Callable[[str], object] = print
) -> None:
    """Record flows into a folder: all of them, or none.

    Each is replayed before the first file is replaced.

    Raises:
        RecordingError: A flow failed, or did not observe what it declares. The folder is unchanged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".recording-") as temporary:
        recorded = [_recorded(flow, target, Path(temporary), say) for flow in flows]
        for path in recorded:
            path.replace(folder / path.name)


def _recorded(flow: Flow, target: Target, folder: Path, say: Callable[[str], object]) -> Path:
    path = folder / f"{flow.name}.yaml"
    with target(flow) as server:
        done = f"Recorded from {server.name}"
        try:
            asyncio.run(record(flow, server, path))
            done = "Replayed"
            _check(flow, asyncio.run(replay(flow, path)), done)
        except (openai.OpenAIError, SessionError, CassetteError) as error:
            failure = f"{type(error).__name__} {getattr(error, 'status_code', '')}".strip()
            raise RecordingError(f"{done}, {flow.name} failed: {failure}.") from error
    say(f"{flow.name}: {server.name} {server.version}")
    return path


async def record(flow: Flow, server: Server, path: Path) -> None:
    """Record one flow from a running server.

    Raises:
        RecordingError: It did not observe what it declares. Nothing was written.
    """
    async with server.client() as client:
        with use_cassette(
            path,
            record_mode="all",
            before_record_request=without_noise,
            before_record_response=with_few_headers,
        ):
            _check(flow, await observe(flow, Stage(client, FAST)), f"Recorded from {server.name}")
        finish(path, {"server": server.name, "server_version": server.version})


async def replay(flow: Flow, path: Path) -> Observed:
    """Run a flow on its cassette, without a server, and return what it observes.

    Raises:
        CassetteError: The flow sends other requests than the recorded ones.
    """
    async with local_client("http://replay.invalid/v1") as client:
        with use_cassette(path, record_mode="none"):
            return await observe(flow, Stage(client, FAST))


def _check(flow: Flow, observed: Observed, done: str) -> None:
    wrong = [name for name in flow.expected if observed.get(name) != flow.expected[name]]
    if wrong:
        differences = "; ".join(
            f"{name}: {_shown(observed.get(name))} instead of {_shown(flow.expected[name])}" for name in wrong
        )
        raise RecordingError(f"{done}, {flow.name} observed {differences}.")


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _MOST_SHOWN else f"{shown[:_MOST_SHOWN]}..."
