"""Clients and event loops, over real keep-alive sockets."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import warnings

import openai
import pytest

from openai_sessions import OpenAIConversationsSession, RequestSettings, start_openai_conversations_session
from openai_sessions.emulator import Emulator
from openai_sessions.errors import ClientLoopError

HELLO = {"role": "user", "content": "Hello"}


@pytest.fixture
def served(monkeypatch):
    """Serve the emulator on a socket, and point openai's environment there."""
    with Emulator() as emulator, emulator.serve() as base_url:
        monkeypatch.setenv("OPENAI_BASE_URL", base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-socket")
        yield emulator


@pytest.fixture
def no_default_client(monkeypatch):
    """Let the Agents SDK have no default client, whatever other tests did."""
    shared = sys.modules.get("agents.models._openai_shared")
    if shared is not None:
        monkeypatch.setattr(shared, "_default_openai_client", None)


@pytest.fixture
def no_leftovers():
    """Collect what a test leaves behind while its own warning filters hold.

    A client that is used in two loops leaves the connections of the first one open.
    """
    gc.freeze()
    yield
    gc.collect()


pytestmark = [
    pytest.mark.usefixtures("no_leftovers", "served", "no_default_client"),
    pytest.mark.filterwarnings("ignore:unclosed (transport )?<:ResourceWarning"),
]


async def write(session: OpenAIConversationsSession, count: int = 1) -> None:
    await asyncio.gather(*(session.add_items([HELLO]) for _ in range(count)))


async def count_and_close(session: OpenAIConversationsSession) -> int:
    async with session:
        return len(await session.get_items())


def test_a_session_with_its_own_client_survives_several_loops_one_after_another(served):
    session = OpenAIConversationsSession()
    for _ in range(3):
        asyncio.run(write(session, count=5))
    assert asyncio.run(count_and_close(session)) == 15
    assert [request.path for request in served.requests].count("/v1/conversations") == 1


def test_the_sdks_own_class_fails_or_writes_twice_in_a_second_loop(served):
    """The server serves the request and the client does not hear of it: what ours is measured against."""
    agents = pytest.importorskip("agents")
    session = agents.OpenAIConversationsSession()
    asyncio.run(session.add_items([HELLO]))
    served.forget_requests()
    failed = False
    try:
        asyncio.run(session.add_items([HELLO]))
    except (RuntimeError, openai.APIConnectionError):
        failed = True
    assert failed or len(served.requests) > 1


def test_a_session_with_its_own_client_serves_loops_in_several_threads():
    session = OpenAIConversationsSession()
    failures = []

    def work() -> None:
        try:
            asyncio.run(write(session, count=5))
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert asyncio.run(count_and_close(session)) == 20


def test_aclose_closes_the_client_of_another_thread_in_its_own_loop():
    session = OpenAIConversationsSession()
    ready, finish = threading.Event(), threading.Event()
    closed = []

    async def stay() -> None:
        await session.add_items([HELLO])
        client = (await session._clients.client())._client
        ready.set()
        await asyncio.to_thread(finish.wait)
        closed.append(client.is_closed())

    thread = threading.Thread(target=asyncio.run, args=(stay(),))
    thread.start()
    ready.wait()
    asyncio.run(session.aclose())
    finish.set()
    thread.join()
    assert closed == [True]


def test_the_own_client_of_a_loop_is_closed_as_the_loop_shuts_down():
    session = OpenAIConversationsSession()
    clients = []

    async def use() -> None:
        await session.add_items([HELLO])
        clients.append((await session._clients.client())._client)

    asyncio.run(use())
    assert [client.is_closed() for client in clients] == [True]
    asyncio.run(session.aclose())


async def test_aclose_closes_the_own_client_and_the_session_may_be_used_again():
    session = OpenAIConversationsSession()
    await session.add_items([HELLO])
    client = (await session._clients.client())._client
    await session.aclose()
    await session.aclose()
    assert client.is_closed()
    assert await session.get_items() == [HELLO]
    await session.aclose()


async def test_async_with_closes_the_own_client():
    async with OpenAIConversationsSession() as session:
        await session.add_items([HELLO])
        client = (await session._clients.client())._client
    assert client.is_closed()


async def test_a_client_that_was_given_stays_open():
    async with openai.AsyncOpenAI() as client:
        async with OpenAIConversationsSession(openai_client=client) as session:
            await session.add_items([HELLO])
        assert not client.is_closed()
        assert await session.get_items() == [HELLO]


def test_start_openai_conversations_session_closes_its_own_client():
    ids = []
    assert collected(lambda: ids.append(asyncio.run(start_openai_conversations_session()))) == []
    assert ids[0].startswith("conv_")


def collected(session_of) -> list[str]:
    """Return the warnings as a session is forgotten."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        session_of()
        gc.collect()
    return [str(warning.message) for warning in caught if warning.category is ResourceWarning]


def test_a_forgotten_session_with_its_own_client_gives_a_resource_warning():
    def forget() -> None:
        asyncio.run(OpenAIConversationsSession(on_conversation_created=ids.append).add_items([HELLO]))

    ids: list[str] = []
    assert collected(forget) == [
        f"<OpenAIConversationsSession conversation_id='{ids[0]}'> was not closed: "
        "call `await session.aclose()`, or use `async with`"
        for _ in ids
    ]


def test_a_session_that_opened_nothing_gives_no_warning():
    assert collected(OpenAIConversationsSession) == []
    assert collected(lambda: OpenAIConversationsSession(openai_client=openai.AsyncOpenAI())) == []


def test_a_closed_session_gives_no_warning():
    async def use() -> None:
        async with OpenAIConversationsSession() as session:
            await session.add_items([HELLO])

    assert collected(lambda: asyncio.run(use())) == []


def test_a_session_that_could_not_be_made_gives_no_warning():
    def fail() -> None:
        with pytest.raises(ValueError, match="timeout"):
            OpenAIConversationsSession(requests=RequestSettings(timeout=0))

    assert collected(fail) == []


def test_a_client_that_was_given_is_refused_in_another_loop_before_any_request(served):
    session = OpenAIConversationsSession(openai_client=openai.AsyncOpenAI())
    asyncio.run(session.add_items([HELLO]))
    served.forget_requests()
    with pytest.raises(ClientLoopError, match="Leave openai_client out"):
        asyncio.run(session.add_items([HELLO]))
    assert served.requests == ()


def test_a_client_used_by_another_session_in_another_loop_is_refused():
    client = openai.AsyncOpenAI()
    asyncio.run(OpenAIConversationsSession(openai_client=client).add_items([HELLO]))
    with pytest.raises(ClientLoopError):
        asyncio.run(
            OpenAIConversationsSession(openai_client=client.with_options(timeout=5)).add_items([HELLO])
        )


def test_a_client_used_by_the_caller_in_the_same_loop_is_fine():
    async def use() -> list:
        async with openai.AsyncOpenAI() as client:
            await client.conversations.create()
            session = OpenAIConversationsSession(openai_client=client)
            await session.add_items([HELLO])
            return await session.get_items()

    assert asyncio.run(use()) == [HELLO]


def test_a_client_that_calls_an_app_in_process_may_be_used_in_any_loop():
    with Emulator() as emulator:
        session = OpenAIConversationsSession(openai_client=emulator.client())
        for _ in range(3):
            asyncio.run(session.add_items([HELLO]))
        assert len(asyncio.run(session.get_items())) == 3


def test_without_credentials_the_first_request_says_so(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    session = OpenAIConversationsSession()
    assert asyncio.run(session.get_items()) == []
    with pytest.raises(openai.OpenAIError, match="OPENAI_API_KEY"):
        asyncio.run(session.add_items([HELLO]))
