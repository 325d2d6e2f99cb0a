"""The fixtures of the pytest plugin."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import pytest

from openai_sessions.testing._faults import ConversationFaults, inject_marked, testing_extra
from openai_sessions.testing._isolation import (
    RunningTest,
    fresh_agents_sdk,
    is_live,
    isolated,
    record_mode,
    running,
    stand_in_credentials,
)

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from vcr.cassette import Cassette

    from openai_sessions.emulator import Emulator
    from openai_sessions.session import OpenAIConversationsSession

FIXTURES = frozenset(
    {
        "conversation_cassette",
        "conversation_faults",
        "conversation_session",
        "conversations",
        "openai_client",
        "openai_environment",
    }
)
"""The fixtures that tests request."""

_DEFAULT_BASE_URL = "https://api.openai.com/v1"


@pytest.fixture
def _isolated_test(request: pytest.FixtureRequest) -> Iterator[None]:
    """Isolate a test that requests a fixture with `getfixturevalue`, and delete what it creates live."""
    with isolated(request.node), ExitStack() as stack:
        if is_live(request.node):
            from openai_sessions.testing._clients import CreatedConversations  # noqa: PLC0415 -- loads openai

            created = CreatedConversations()
            stack.callback(created.delete)
            stack.enter_context(created.noted())
        yield


@pytest.fixture
def conversations(request: pytest.FixtureRequest, _isolated_test: None) -> Iterator[Emulator]:
    """An emulator of the Conversations API: a new `openai_sessions.emulator.Emulator` for each test.

    Its `requests` are the requests received; the report of a failed test lists them. It is closed after the
    test. Skipped with --conversations-live.
    """
    if is_live(request.node):
        pytest.skip("--conversations-live: this test needs the emulator")
    _check_one_of_two(request)
    with testing_extra():
        from openai_sessions.emulator import Emulator  # noqa: PLC0415 -- needs the extra

    with Emulator() as emulator:
        yield _noted(request, emulator)


@pytest.fixture
def conversation_faults(request: pytest.FixtureRequest, conversations: Emulator) -> ConversationFaults:
    """Faults on demand: `inject`, `at_random`, `locked` and `clear` of a `ConversationFaults`.

    `conversation_faults.inject("cut_after_commit", operation="create_items")` stores items and loses the
    response. The marker of this name takes the same arguments. A test that passes without any request meeting
    an injected fault fails. Faults are removed before fixtures are torn down.
    """
    faults = ConversationFaults(_noted(request, conversations))
    running(request.node).faults = faults
    inject_marked(faults, request.node)
    return faults


@pytest.fixture
def openai_client(request: pytest.FixtureRequest, _isolated_test: None) -> Iterator[AsyncOpenAI]:
    """An `openai.AsyncOpenAI` on the emulator in process, without sockets, for any event loop.

    With conversation_cassette its requests are recorded or replayed; with --conversations-live it is
    configured from the environment. It is closed after the test.
    """
    from openai_sessions.testing._clients import connections_of  # noqa: PLC0415 -- loads openai

    if _plays(request):
        request.getfixturevalue("conversation_cassette")
    if _plays(request) or is_live(request.node):
        from openai import AsyncOpenAI  # noqa: PLC0415 -- slow to load

        client = AsyncOpenAI()
    else:
        client = _noted(request, request.getfixturevalue("conversations")).client()
    connections = running(request.node).connections = connections_of(client)
    yield client
    connections.close()


@pytest.fixture
def conversation_session(
    request: pytest.FixtureRequest, openai_client: AsyncOpenAI
) -> Iterator[OpenAIConversationsSession]:
    """A new `openai_sessions.OpenAIConversationsSession` on openai_client, closed after the test."""
    from openai_sessions.session import OpenAIConversationsSession  # noqa: PLC0415 -- loads openai
    from openai_sessions.testing._clients import run_in  # noqa: PLC0415

    session = OpenAIConversationsSession(openai_client=openai_client)
    yield session
    connections = running(request.node).connections
    if connections is None:  # the project defines openai_client itself
        run_in(None, session.aclose)
    else:
        connections.run(session.aclose)


@pytest.fixture
def openai_environment(request: pytest.FixtureRequest, _isolated_test: None) -> Iterator[str]:
    """The base URL of the emulator on a loopback socket, for programs that make their own clients.

    OPENAI_BASE_URL and OPENAI_API_KEY are set for the test, and the Agents SDK has no default client.
    A client made before the test, for example on import of a module, keeps its base URL: make it in a
    function. With --conversations-live the environment is unchanged.
    """
    with ExitStack() as stack:
        if is_live(request.node) or _plays(request):
            if _plays(request):
                request.getfixturevalue("conversation_cassette")
            base_url = os.environ.get("OPENAI_BASE_URL") or _DEFAULT_BASE_URL
        else:
            emulator = _noted(request, request.getfixturevalue("conversations"))
            base_url = stack.enter_context(emulator.serve())
            stack.enter_context(stand_in_credentials(base_url))
        stack.enter_context(fresh_agents_sdk(forget_defaults=not is_live(request.node)))
        yield base_url


@pytest.fixture
def conversation_cassette(request: pytest.FixtureRequest, _isolated_test: None) -> Iterator[Cassette]:
    """The cassette of the test: fixtures/cassettes/<test file>/<test name>.yaml.

    It replays the requests of every client, including those that the program makes, and records only with
    --conversations-record-mode. A request that is not in the cassette fails the test, and so does an unused
    exchange. Skipped with --conversations-live.
    """
    if is_live(request.node):
        pytest.skip("--conversations-live: this test replays a cassette")
    _check_one_of_two(request)
    path, mode = cassette_path(request.node), record_mode(request.node)
    if mode == "none" and not path.is_file():
        pytest.fail(
            f"{path} does not exist. Record it with OPENAI_API_KEY and --conversations-record-mode=once.",
            pytrace=False,
        )
    with ExitStack() as stack:
        if mode == "none":
            stack.enter_context(stand_in_credentials(None))
        stack.enter_context(fresh_agents_sdk(forget_defaults=False))
        yield stack.enter_context(playing(path, record_mode=mode, test=running(request.node)))


def _noted(request: pytest.FixtureRequest, emulator: Emulator) -> Emulator:
    """Note the emulator of a test; a project may define the fixture itself."""
    running(request.node).emulator = emulator
    return emulator


def _check_one_of_two(request: pytest.FixtureRequest) -> None:
    if _plays(request) and "conversations" in request.fixturenames:
        pytest.fail(
            "A test uses the emulator or a cassette, not both: remove conversation_cassette, or "
            "conversations and conversation_faults.",
            pytrace=False,
        )


def _plays(request: pytest.FixtureRequest) -> bool:
    return "conversation_cassette" in request.fixturenames


_LONGEST_NAME = 100
"""Longer names are shortened: file systems allow 255 bytes."""


def cassette_path(item: pytest.Item) -> Path:
    """Return the path of a test's cassette, in the configured folder under the rootdir.

    `tests/test_a.py::TestB::test_c[d]` has `tests/test_a/TestB.test_c[d].yaml`.
    """
    folder = item.config.rootpath / str(item.config.getini("conversations_cassette_dir"))
    file, *names = item.nodeid.split("::")
    parts = [part for part in PurePath(file).with_suffix("").parts if part not in ("..", "/")]
    return folder.joinpath(*map(_safe, parts), f"{_safe('.'.join(names))}.yaml")


def _safe(name: str) -> str:
    """Return a valid file name; a name that is changed gets a digest, so that it stays unique."""
    safe = re.sub(r"[^\w.\-\[\]]+", "-", name, flags=re.ASCII)
    if safe == name and len(name) <= _LONGEST_NAME:
        return name
    return f"{safe[:_LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


@contextmanager
def playing(path: Path, *, record_mode: str, test: RunningTest) -> Iterator[Cassette]:
    """Replay or record a cassette inside the block.

    If the test failed, nothing is written, and unused exchanges are accepted.
    """
    with testing_extra():
        from openai_sessions.testing.cassettes import use_cassette  # noqa: PLC0415 -- needs the extra

    context = use_cassette(path, record_mode=record_mode)
    yield context.__enter__()
    if test.error is None:
        context.__exit__(None, None, None)
    else:
        context.__exit__(type(test.error), test.error, test.error.__traceback__)
