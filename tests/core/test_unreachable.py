"""A server that cannot be reached, and a client that was closed: what the log and the errors say."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from openai_sessions import OpenAIConversationsSession
from openai_sessions.errors import ClosedClientError, SessionError
from tests.wire import FAST, HTTP_FAMILY, Wire, arguments, page

USER = {"role": "user", "content": "Hi"}

OPERATIONS = {
    "get_items": lambda session: session.get_items(),
    "add_items": lambda session: session.add_items([USER]),
    "pop_item": lambda session: session.pop_item(),
    "clear_session": lambda session: session.clear_session(),
    "metadata": lambda session: session.get_metadata(),
}

every_operation = pytest.mark.parametrize("name", OPERATIONS)
every_transport = pytest.mark.parametrize(
    "make", [openai.DefaultAsyncHttpxClient, openai.DefaultAioHttpClient], ids=["httpx", "aiohttp"]
)


@pytest.fixture
def nobody() -> Iterator[str]:
    """Return a base URL where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


def session_on(client: Any, **options: Any) -> OpenAIConversationsSession:
    given = {"conversation_id": "conv_1", "retry_policy": FAST, **options}
    return OpenAIConversationsSession(openai_client=client, **arguments(**given))


@every_transport
@every_operation
async def test_the_first_failed_connection_is_logged_and_the_error_names_address_and_attempts(
    nobody, make, name, caplog
):
    caplog.set_level(logging.INFO, "openai_sessions")
    retries = []
    async with openai.AsyncOpenAI(
        base_url=nobody,
        api_key="sk-secret",
        http_client=make(verify=False),
        default_query={"token": "secret"},
    ) as client:
        session = session_on(client, on_retry=lambda event: retries.append(len(caplog.records)))
        with pytest.raises(openai.APIConnectionError) as caught:
            await OPERATIONS[name](session)
    assert nobody in str(caught.value)
    assert "6 attempts" in str(caught.value)
    assert "Connection refused" in str(caught.value)
    assert str(caught.value) == caught.value.message
    (record,) = caplog.records
    assert (record.levelname, retries[0]) == ("WARNING", 1)
    assert nobody in record.message
    assert "secret" not in f"{caught.value}{caught.value!r}{caplog.text}"


async def test_no_password_of_the_address_is_shown(nobody, caplog):
    with_password = nobody.replace("http://", "http://someone:secret@")
    async with openai.AsyncOpenAI(base_url=with_password, api_key="sk-x") as client:
        with pytest.raises(openai.APIConnectionError, match=nobody) as caught:
            await session_on(client).get_items()
    assert "secret" not in f"{caught.value!r}{caplog.text}"


async def test_a_timeout_stays_one(caplog):
    def answer(call: Any) -> Any:
        raise HTTP_FAMILY.ReadTimeout("slow")

    wire = Wire(answer)
    with pytest.raises(openai.APITimeoutError, match=r"^Request timed out.*6 attempts") as caught:
        await session_on(wire.client).get_items()
    assert isinstance(caught.value, openai.APIConnectionError)
    assert f"{wire.client.base_url}conversations/conv_1/items" in str(caught.value)
    assert caplog.records == []


async def test_a_request_that_is_not_repeated_names_one_attempt():
    def answer(call: Any) -> Any:
        raise HTTP_FAMILY.ReadError("cut")

    with pytest.raises(openai.APIConnectionError, match="1 attempt "):
        await session_on(Wire(answer).client, retry_policy=type(FAST)(attempts=1)).get_items()


class StrangeError(openai.APIConnectionError):
    """An error of another transport, which is made in a way of its own."""

    def __init__(self) -> None:
        super().__init__(
            message="Strange.",
            request=HTTP_FAMILY.Request("GET", "http://someone:secret@strange.test/v1?secret"),
        )


async def test_an_error_of_another_transport_stays_as_it_is_but_for_its_message():
    strange, below = StrangeError(), OSError("below")
    strange.__cause__, below.__cause__ = below, strange

    def answer(call: Any) -> Any:
        raise strange

    with pytest.raises(StrangeError) as caught:
        await session_on(Wire(answer).client).get_items()
    assert str(caught.value) == "Strange. GET http://strange.test/v1 got no response in 6 attempts (OSError)."


async def test_each_outage_is_logged_once(caplog):
    answers = iter([False, False, True, False, True, True])

    def answer(call: Any) -> Any:
        if next(answers):
            return page()
        raise HTTP_FAMILY.ConnectError("refused")

    session = session_on(Wire(answer).client)
    for logged in (1, 2, 2):
        await session.get_items()
        assert logged == len(caplog.records)


@every_transport
@every_operation
async def test_a_client_that_was_closed_is_an_error_that_says_so(make, name):
    client = openai.AsyncOpenAI(
        base_url="http://127.0.0.1:9/v1", api_key="sk-x", http_client=make(verify=False)
    )
    await client.close()
    retries, orphans = [], []
    for conversation_id in ("conv_1", None):
        session = session_on(
            client, conversation_id=conversation_id, on_retry=retries.append, on_orphan=orphans.append
        )
        if conversation_id is None and name != "add_items":
            continue
        with pytest.raises(ClosedClientError, match="was closed") as caught:
            await OPERATIONS[name](session)
        assert isinstance(caught.value, SessionError)
        assert isinstance(caught.value, RuntimeError)
        assert session.unsettled == ()
        await session.aclose()
    assert (retries, orphans) == ([], [])


async def test_a_client_that_is_closed_between_two_writes(emulator):
    async with emulator.client() as client:
        session = session_on(client, conversation_id=None)
        await session.add_items([USER])
    with pytest.raises(ClosedClientError):
        await session.add_items([USER])
    assert session.unsettled == ()
    async with emulator.client() as client:
        assert await session_on(client, conversation_id=session.session_id).get_items() == [USER]
