"""What Azure's Foundry does beyond OpenAI's API: the list of conversations, and a header for the user."""

import openai
import pytest
from openai.pagination import AsyncConversationCursorPage
from openai.types.conversations import Conversation

from openai_sessions.emulator import EmulatedRequest, Emulator

from .wire import KEY, Wire

USER = "x-ms-user-identity"


@pytest.fixture
def emulator():
    with Emulator(foundry=True) as emulator:
        yield emulator


async def created(wire, number, **options):
    answers = [await wire.send("POST", "/conversations", **options) for _ in range(number)]
    return [answer["id"] for _, answer in answers]


async def listed(wire, **params):
    status, page = await wire.get("/conversations", **params)
    assert status == 200, page
    return [each["id"] for each in page["data"]], page["has_more"]


async def test_openai_lists_no_conversations():
    with Emulator() as emulator:
        status, answer = await Wire(emulator).get("/conversations")
    assert (405, "method_not_supported") == (status, answer["error"]["code"])


async def test_list_has_the_conversations_as_they_are_retrieved(wire):
    ids = [await wire.new_conversation() for _ in range(2)]
    await wire.post(f"/conversations/{ids[0]}", {"metadata": {"topic": "test"}})
    status, page = await wire.get("/conversations")
    assert (200, ["object", "data", "first_id", "has_more", "last_id"]) == (status, list(page))
    assert ("list", ids[1], ids[0], False) == (
        page["object"],
        page["first_id"],
        page["last_id"],
        page["has_more"],
    )
    assert page["data"] == [(await wire.get(f"/conversations/{each}"))[1] for each in reversed(ids)]


async def test_list_without_conversations_is_empty(wire):
    expected = {"object": "list", "data": [], "first_id": None, "has_more": False, "last_id": None}
    assert (200, expected) == await wire.get("/conversations")


async def test_pages_go_both_ways_in_both_orders(wire):
    ids = await created(wire, 5)
    newest_first = ids[::-1]
    assert (newest_first[:2], True) == await listed(wire, limit=2)
    assert (newest_first[2:4], True) == await listed(wire, limit=2, after=newest_first[1])
    assert (newest_first[4:], False) == await listed(wire, limit=2, after=newest_first[3])
    assert (newest_first[1:3], True) == await listed(wire, limit=2, before=newest_first[3])
    assert (newest_first[:2], False) == await listed(wire, limit=2, before=newest_first[2])
    assert (ids[2:4], True) == await listed(wire, limit=2, order="asc", after=ids[1])
    assert (ids[:1], False) == await listed(wire, limit=2, order="asc", before=ids[1])
    assert (ids[2:3], False) == await listed(wire, order="asc", after=ids[1], before=ids[3])


async def test_pages_have_20_conversations_unless_told(wire):
    ids = await created(wire, 21)
    assert (ids[:0:-1], True) == await listed(wire)


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"limit": 0}, "integer_below_min_value", "limit"),
        ({"limit": 101}, "integer_above_max_value", "limit"),
        ({"order": "name"}, "invalid_value", "order"),
    ],
)
async def test_wrong_parameter_is_a_400(wire, params, code, param):
    status, answer = await wire.get("/conversations", **params)
    assert (400, code, param) == (status, answer["error"]["code"], answer["error"]["param"])


@pytest.mark.parametrize("cursor", ["after", "before"])
async def test_deleted_conversation_is_not_listed_and_is_no_cursor(wire, cursor):
    deleted, kept = await created(wire, 2)
    await wire.delete(f"/conversations/{deleted}")
    assert ([kept], False) == await listed(wire)
    status, answer = await wire.get("/conversations", **{cursor: deleted})
    assert (404, f"Conversation with id '{deleted}' not found.") == (status, answer["error"]["message"])


async def test_users_of_one_key_are_kept_apart(emulator, wire):
    emulator.seed([{"id": "conv_seeded", "created_at": 1, "items": []}])
    alice, bob = {"headers": {USER: "alice"}}, {"headers": {USER: "bob"}}
    (of_nobody,), (of_alice,), (of_bob,) = [await created(wire, 1, **options) for options in ({}, alice, bob)]
    for options, expected in (({}, of_nobody), (alice, of_alice), (bob, of_bob)):
        _, page = await wire.send("GET", "/conversations", **options)
        assert [expected, "conv_seeded"] == [each["id"] for each in page["data"]]
    for options, status in ((alice, 200), (bob, 404), ({}, 404)):
        assert status == (await wire.send("GET", f"/conversations/{of_alice}", **options))[0]


async def test_openai_ignores_the_header_of_a_user():
    with Emulator() as emulator:
        wire = Wire(emulator)
        (conversation_id,) = await created(wire, 1, headers={USER: "alice"})
        assert 200 == (await wire.get(f"/conversations/{conversation_id}"))[0]


async def test_keys_with_the_same_user_are_kept_apart(emulator, wire):
    alice = {"headers": {USER: "alice"}}
    await created(wire, 1, **alice)
    _, page = await Wire(emulator, key="sk-other").send("GET", "/conversations", **alice)
    assert [] == page["data"]


async def test_client_of_openai_lists_page_by_page(served, emulator):
    ids = [(await served.conversations.create()).id for _ in range(3)]
    emulator.forget_requests()
    pages = served.get_api_list(
        "/conversations",
        page=AsyncConversationCursorPage[Conversation],
        model=Conversation,
        options={"params": {"limit": 2, "order": "asc"}},
    )
    assert ids == [conversation.id async for conversation in pages]
    query = {"limit": ["2"], "order": ["asc"]}
    assert emulator.requests == tuple(
        EmulatedRequest("GET", "/v1/conversations", each, None, 200, "list_conversations")
        for each in (query, {**query, "after": [ids[1]]})
    )


async def test_client_of_azure_is_served_with_its_key_in_a_header(base_url, emulator):
    async with openai.AsyncAzureOpenAI(api_key=KEY, base_url=base_url, api_version="v1") as client:
        created = await client.conversations.create()
    (request,) = emulator.requests
    assert ("/v1/conversations", {"api-version": ["v1"]}) == (request.path, request.query)
    assert [created.id] == [each.id for each in emulator.conversations(api_key=KEY)]


async def test_key_in_azures_header_is_no_key_of_openai():
    with Emulator() as emulator:
        status, _ = await Wire(emulator, key=None).send("POST", "/conversations", headers={"api-key": KEY})
    assert 401 == status


async def test_wrong_key_in_azures_header_is_a_401():
    with Emulator(foundry=True, api_keys=[KEY]) as emulator:
        wire = Wire(emulator, key=None)
        answers = [
            await wire.send("POST", "/conversations", headers={"api-key": key}) for key in ("sk-wrong", KEY)
        ]
    assert [401, 200] == [status for status, _ in answers]
