"""A gateway that redirects: no write turns into a read, and no key leaves the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest

from openai_sessions.errors import InvalidResponseError, RedirectError, SessionError
from tests.wire import HTTP_FAMILY

from .world import users

OLD = users(50, name="old")
NEW = users(25, name="new")


class Gateway(HTTP_FAMILY.AsyncBaseTransport):
    """Answers the requests that `to` has another address for with a redirect; the emulator serves the others.

    Attributes:
        status: The status of the redirects.
        to: Returns the `location` for a request, or None.
        seen: The method and the URL of each request.
    """

    def __init__(self, emulator: Any) -> None:
        self._inner = HTTP_FAMILY.ASGITransport(app=emulator)
        self.status = 301
        self.to: Callable[[Any], str | None] = lambda request: None
        self.seen: list[tuple[str, str]] = []
        self.client = openai.AsyncOpenAI(
            api_key="sk-emulator",
            base_url="http://emulator/v1",
            http_client=openai.DefaultAsyncHttpxClient(transport=self),
        )

    async def handle_async_request(self, request: Any) -> Any:
        self.seen.append((request.method, str(request.url)))
        location = self.to(request)
        if location is None:
            return await self._inner.handle_async_request(request)
        return HTTP_FAMILY.Response(self.status, headers={"location": location})


def once(query: str = "hop=1") -> Callable[[Any], str | None]:
    """Return a rule that redirects each request to the same path with a query, as often as its hops say."""

    def to(request: Any) -> str | None:
        if request.url.query.decode().endswith(query):
            return None
        joint = "&" if request.url.query else "?"
        return f"{request.url.raw_path.decode()}{joint}{query}"

    return to


def of(method: str) -> Callable[[Any], str | None]:
    """Return a rule that redirects the requests of a method to where a GET of openai would be answered."""
    return lambda request: str(request.url) if request.method == method else None


@pytest.fixture
def gateway(emulator):
    return Gateway(emulator)


@pytest.fixture
async def session(world, gateway):
    return await world.session_with(*OLD, openai_client=gateway.client)


OPERATIONS = {
    "add_items": ("POST", lambda session: session.add_items(NEW)),
    "pop_item": ("DELETE", lambda session: session.pop_item()),
    "purge": ("DELETE", lambda session: session.clear_session(purge_items=True)),
    "keep": ("DELETE", lambda session: session.clear_session(keep_conversation=True)),
    "clear_session": ("DELETE", lambda session: session.clear_session()),
    "update_metadata": ("POST", lambda session: session.update_metadata({"plan": "pro"})),
}


@pytest.mark.parametrize("status", [301, 302, 303])
@pytest.mark.parametrize("name", OPERATIONS)
async def test_a_write_that_is_redirected_to_a_read_fails_and_changes_nothing(
    world, gateway, session, name, status
):
    method, run = OPERATIONS[name]
    gateway.status, gateway.to = status, of(method)
    with pytest.raises(RedirectError) as caught:
        await run(session)
    assert status == caught.value.status
    assert f"address 'http://emulator/v1/conversations/{session.session_id}" in str(caught.value)
    assert len(OLD) == len(world.stored(session.session_id))


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_creation_that_is_redirected_is_not_repeated(world, gateway, status):
    gateway.status, gateway.to = status, of("POST")
    orphans = []
    session = world.session(openai_client=gateway.client, on_orphan=orphans.append)
    with pytest.raises(RedirectError):
        await session.add_items(NEW)
    assert (gateway.seen, len(orphans)) == ([("POST", "http://emulator/v1/conversations")], 1)
    assert (world.conversations(), session.conversation_id) == ([], None)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304])
async def test_a_read_that_is_redirected_by_these_is_asked_for_once(gateway, session, status):
    gateway.status, gateway.to, gateway.seen = status, of("GET"), []
    with pytest.raises(RedirectError):
        await session.get_items(limit=1)
    assert len(gateway.seen) == 1


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("name", OPERATIONS)
async def test_every_request_follows_a_redirect_on_its_host_with_its_method_and_body(
    world, gateway, session, name, status
):
    gateway.status, gateway.to, gateway.seen = status, once(), []
    conversation_id, (_, run) = session.session_id, OPERATIONS[name]
    await run(session)
    if name == "add_items":
        assert [*OLD, *NEW] == await session.get_items()
    elif name == "pop_item":
        assert OLD[:-1] == await session.get_items()
    elif name == "update_metadata":
        assert await session.get_metadata() == {"plan": "pro"}
    else:
        expected = len(OLD) if name == "clear_session" else 0
        assert expected == len(world.stored(conversation_id))
    assert [method for method, _ in gateway.seen[::2]] == [method for method, _ in gateway.seen[1::2]]


async def test_a_client_with_a_query_of_its_own_follows_with_all_of_it(world, gateway, session):
    azure = openai.AsyncAzureOpenAI(
        azure_ad_token="sk-emulator",  # noqa: S106
        base_url="http://emulator/v1",
        api_version="2026-01-01",
        http_client=gateway.client._client,
    )
    gateway.status, gateway.to, gateway.seen = 307, once(), []
    other = world.session(session.session_id, openai_client=azure)
    assert OLD == await other.get_items()
    (_, first), (_, second) = gateway.seen[:2]
    queries = [sorted(HTTP_FAMILY.URL(url).params.multi_items()) for url in (first, second)]
    assert sorted([*queries[0], ("hop", "1")]) == queries[1]
    assert ("api-version", "2026-01-01") in queries[0]


@pytest.mark.parametrize(
    "origin", ["https://emulator", "http://elsewhere", "http://emulator:8080", "http://emulator.elsewhere"]
)
@pytest.mark.parametrize("name", ["add_items", "pop_item"])
async def test_nothing_is_sent_to_another_origin(world, gateway, session, name, origin):
    gateway.status, gateway.seen = 307, []
    gateway.to = lambda request: (
        f"{origin}{request.url.raw_path.decode()}" if request.url.host == "emulator" else None
    )
    with pytest.raises(SessionError) as caught:
        await OPERATIONS[name][1](session)
    assert {HTTP_FAMILY.URL(url).copy_with(raw_path=b"/") for _, url in gateway.seen} == {
        HTTP_FAMILY.URL("http://emulator/")
    }
    error = caught.value if isinstance(caught.value, RedirectError) else caught.value.__cause__
    assert f"base_url='{origin}/v1'" in str(error)
    assert len(OLD) == len(world.stored(session.session_id))


async def test_redirects_without_end_are_an_error(gateway, session):
    gateway.status, gateway.to, gateway.seen = 308, lambda request: str(request.url), []
    with pytest.raises(RedirectError, match="the redirect after 5 others"):
        await session.get_items(limit=1)
    assert len(gateway.seen) == 6


@pytest.mark.parametrize("status", [301, 307])
async def test_no_message_shows_a_password_or_a_query(gateway, session, status):
    gateway.status = status
    gateway.to = lambda request: "http://someone:secret@elsewhere/v2/conversations?token=secret#secret"
    with pytest.raises(RedirectError) as caught:
        await session.get_items(limit=1)
    assert caught.value.address == "http://elsewhere/v2/conversations"
    assert "secret" not in f"{caught.value}{caught.value!r}{vars(caught.value)}"


@pytest.mark.parametrize("location", ["http://[bad", "", "//", "http://emulator:no/v1", "mailto:a@b"])
async def test_a_redirect_without_a_proper_address_is_an_error(gateway, session, location):
    gateway.status, gateway.to = 307, lambda request: location
    with pytest.raises((RedirectError, InvalidResponseError, openai.APIConnectionError)):
        await session.get_items(limit=1)
