"""Reading and deleting items: pages, cursors, stale pages, and `include`."""

import pytest

from openai_sessions.emulator import Emulator, Fault
from openai_sessions.emulator._schema import INCLUDE

from .wire import KEY, Wire, user, users

LOGPROB = {"token": "x", "logprob": 0, "bytes": [120], "top_logprobs": []}
IMAGE_URL = "data:image/png;base64,AAAA"


@pytest.fixture
async def numbered(wire):
    """A conversation with 25 messages, "0" to "24"."""
    conversation_id = await wire.new_conversation()
    await wire.add(conversation_id, *users(20))
    await wire.add(conversation_id, *users(5, first=20))
    return conversation_id


async def test_list_returns_the_20_newest_first(wire, numbered):
    _, page = await wire.list(numbered)
    assert [item["content"][0]["text"] for item in page["data"]] == [str(n) for n in range(24, 4, -1)]
    assert page["has_more"] is True


async def test_ascending_list_returns_the_oldest_first(wire, numbered):
    assert await wire.texts(numbered, order="asc", limit=3) == ["0", "1", "2"]


@pytest.mark.parametrize(("limit", "has_more"), [(24, True), (25, False), (100, False)])
async def test_has_more_is_true_if_more_follow(wire, numbered, limit, has_more):
    _, page = await wire.list(numbered, limit=limit)
    assert page["has_more"] is has_more


async def test_page_names_its_first_and_last_id(wire, numbered):
    _, page = await wire.list(numbered, limit=2)
    assert list(page) == ["object", "data", "first_id", "has_more", "last_id"]
    assert [page["first_id"], page["last_id"]] == [item["id"] for item in page["data"]]


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_after_continues_after_the_item(wire, numbered, order):
    _, first = await wire.list(numbered, limit=10, order=order)
    _, second = await wire.list(numbered, limit=10, order=order, after=first["last_id"])
    _, both = await wire.list(numbered, limit=20, order=order)
    assert first["data"] + second["data"] == both["data"]


async def test_after_the_last_item_is_an_empty_page(wire, numbered):
    _, page = await wire.list(numbered, limit=100)
    expected = {"object": "list", "data": [], "first_id": None, "has_more": False, "last_id": None}
    assert await wire.list(numbered, after=page["last_id"]) == (200, expected)


async def test_after_an_unknown_item_is_a_404(wire, numbered):
    status, answer = await wire.list(numbered, after="msg_unknown")
    assert (status, answer["error"]["code"]) == (404, None)


async def test_after_a_deleted_item_is_a_404(wire, numbered):
    _, page = await wire.list(numbered, limit=1)
    await wire.delete(f"/conversations/{numbered}/items/{page['last_id']}")
    status, _ = await wire.list(numbered, after=page["last_id"])
    assert status == 404


async def test_after_an_item_of_another_conversation_is_a_404(wire, numbered, conversation):
    _, page = await wire.list(numbered, limit=1)
    status, _ = await wire.list(conversation, after=page["last_id"])
    assert status == 404


INVALID_QUERIES = (
    ({"limit": 101}, "integer_above_max_value", "limit"),
    ({"limit": 2147483647}, "integer_above_max_value", "limit"),
    ({"limit": 0}, "integer_below_min_value", "limit"),
    ({"limit": -1}, "integer_below_min_value", "limit"),
    ({"limit": "ten"}, "invalid_type", "limit"),
    ({"limit": "1.5"}, "invalid_type", "limit"),
    ({"limit": ""}, "invalid_type", "limit"),
    ({"order": "newest"}, "invalid_value", "order"),
    ({"order": ""}, "invalid_value", "order"),
    ({"include[]": "everything"}, "invalid_value", "include[0]"),
    ({"include": "everything"}, "invalid_value", "include[0]"),
)


async def test_invalid_query_is_refused(wire, conversation):
    for query, code, param in INVALID_QUERIES:
        status, answer = await wire.list(conversation, **query)
        assert (400, code, param) == (status, answer["error"]["code"], answer["error"]["param"])


async def test_client_pages_through_everything(client, wire, numbered):
    items = [item async for item in client.conversations.items.list(numbered, limit=7, order="asc")]
    assert [item.content[0].text for item in items] == [str(n) for n in range(25)]


async def test_retrieve_returns_the_item(wire, conversation):
    stored = await wire.add_one(conversation, user("Hello"))
    assert await wire.get(f"/conversations/{conversation}/items/{stored['id']}") == (200, stored)


async def test_delete_of_an_item_returns_the_conversation(wire, conversation):
    stored = await wire.add_one(conversation, user("Hello"))
    _, expected = await wire.get(f"/conversations/{conversation}")
    path = f"/conversations/{conversation}/items/{stored['id']}"
    assert await wire.delete(path) == (200, expected)
    assert await wire.texts(conversation) == []


async def test_deleted_item_is_a_404(wire, conversation):
    stored = await wire.add_one(conversation, user("Hello"))
    path = f"/conversations/{conversation}/items/{stored['id']}"
    await wire.delete(path)
    for status, answer in (await wire.get(path), await wire.delete(path)):
        assert status == 404
        assert answer["error"]["message"] == f"Item with id '{stored['id']}' not found in conversation."


INCLUDED = {
    "message.input_image.image_url": (
        {
            "role": "user",
            "content": [
                {"type": "input_image", "image_url": IMAGE_URL, "file_id": None, "detail": "auto"},
                {"type": "input_text", "text": "x"},
            ],
        },
        lambda item: item["content"][0].get("image_url", "absent"),
        "absent",
        IMAGE_URL,
    ),
    "message.output_text.logprobs": (
        {
            "role": "assistant",
            "content": [{"type": "output_text", "text": "x", "annotations": [], "logprobs": [LOGPROB]}],
        },
        lambda item: item["content"][0]["logprobs"],
        [],
        [LOGPROB],
    ),
    "computer_call_output.output.image_url": (
        {
            "type": "computer_call_output",
            "call_id": "call_1",
            "output": {"type": "computer_screenshot", "image_url": IMAGE_URL},
        },
        lambda item: item["output"].get("image_url", "absent"),
        "absent",
        IMAGE_URL,
    ),
    "code_interpreter_call.outputs": (
        {
            "type": "code_interpreter_call",
            "id": "ci_1",
            "status": "completed",
            "container_id": "c",
            "code": "1",
            "outputs": [{"type": "logs", "logs": "1"}],
        },
        lambda item: item["outputs"],
        None,
        [{"type": "logs", "logs": "1"}],
    ),
    "file_search_call.results": (
        {"type": "file_search_call", "id": "fs_1", "status": "completed", "queries": [], "results": [{}]},
        lambda item: item.get("results", "absent"),
        "absent",
        [{}],
    ),
    "web_search_call.action.sources": (
        {
            "type": "web_search_call",
            "id": "ws_1",
            "status": "completed",
            "action": {"type": "search", "query": "x", "sources": [{"type": "url", "url": "u"}]},
        },
        lambda item: item["action"].get("sources", "absent"),
        "absent",
        [{"type": "url", "url": "u"}],
    ),
    "reasoning.encrypted_content": (
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
        lambda item: item.get("encrypted_content", "absent"),
        "absent",
        "gAAA",
    ),
}


@pytest.mark.parametrize("spelling", ["include[]", "include"])
@pytest.mark.parametrize("include", INCLUDED)
async def test_include_opens_a_field_in_create_list_and_retrieve(wire, conversation, include, spelling):
    """Without it the field is missing, or empty if the schema requires it."""
    item, read, hidden, shown = INCLUDED[include]
    asked = {spelling: include}
    created_bare = await wire.add_one(conversation, item)
    path = f"/conversations/{conversation}/items"
    bare = [created_bare, (await wire.list(conversation))[1]["data"][0]]
    bare.append((await wire.get(f"{path}/{created_bare['id']}"))[1])
    opened = [(await wire.list(conversation, **asked))[1]["data"][0]]
    opened.append((await wire.get(f"{path}/{created_bare['id']}", **asked))[1])
    await wire.delete(f"{path}/{created_bare['id']}")
    opened.append(await wire.add_one(conversation, item, **asked))
    assert [read(each) for each in bare] == [hidden] * 3
    assert [read(each) for each in opened] == [shown] * 3


async def test_every_value_of_include_is_accepted_everywhere_and_others_nowhere(wire, conversation):
    item = await wire.add_one(conversation, {"role": "user", "content": "Hello"})
    _, response = await wire.post("/responses", {"model": "m", "input": "Hello"})
    paths = [f"/conversations/{conversation}/items", f"/responses/{response['id']}"]
    paths += [f"{paths[0]}/{item['id']}", f"{paths[1]}/input_items"]
    for values, expected in (INCLUDE, 200), (["web_search_call.results", "everything"], 400):
        body = {"model": "m", "input": "Hello", "include": list(values)}
        answers = [await wire.get(path, **{"include[]": list(values)}) for path in paths]
        answers.append(await wire.add(conversation, **{"include[]": list(values)}))
        answers.append(await wire.post("/responses", body))
        assert [expected] * 6 == [status for status, _ in answers]
        named = {(answer.get("error") or {}).get("param") for _, answer in answers}
        assert ({None} if expected == 200 else {"include[1]"}) == named


async def test_include_accepts_several_values(wire, conversation):
    await wire.add_one(conversation, {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"})
    asked = {"include[]": ["file_search_call.results", "reasoning.encrypted_content"]}
    _, page = await wire.list(conversation, **asked)
    assert page["data"][0]["encrypted_content"] == "gAAA"


async def test_image_in_a_function_output_needs_no_include(wire, conversation):
    """The `include` for images is for messages only."""
    part = {"type": "input_image", "image_url": IMAGE_URL, "detail": "low"}
    stored = await wire.add_one(
        conversation, {"type": "function_call_output", "call_id": "call_1", "output": [part]}
    )
    assert stored["output"] == [part]


@pytest.fixture
def stale(emulator, wire):
    """List a stale page; return its texts, or the status of an error."""

    async def texts(conversation_id, **params):
        emulator.inject(Fault("stale_page"))
        status, page = await wire.list(conversation_id, **params)
        return [item["content"][0]["text"] for item in page["data"]] if status == 200 else status

    return texts


async def test_stale_page_lacks_items_just_added(wire, conversation, stale):
    await wire.add(conversation, *users(2))
    await wire.add(conversation, *users(2, first=2))
    assert ["1", "0"] == await stale(conversation)
    assert ["0", "1"] == await stale(conversation, order="asc")


async def test_stale_page_has_an_item_just_deleted_in_its_place(wire, conversation, stale):
    _, page = await wire.add(conversation, *users(3))
    await wire.delete(f"/conversations/{conversation}/items/{page['data'][1]['id']}")
    assert ["2", "1", "0"] == await stale(conversation)
    assert ["0", "1", "2"] == await stale(conversation, order="asc")
    assert ["0", "2"] == await wire.texts(conversation, order="asc")


async def test_stale_page_of_a_conversation_just_created_is_empty(wire, stale):
    assert [] == await stale(await wire.new_conversation(user("0")))


async def test_stale_page_of_a_conversation_just_deleted_is_served(wire, conversation, stale):
    await wire.add_one(conversation, user("0"))
    await wire.delete(f"/conversations/{conversation}")
    assert ["0"] == await stale(conversation)
    assert 404 == (await wire.list(conversation))[0]


async def test_stale_page_counts_metadata_as_a_write(wire, conversation, stale):
    await wire.add_one(conversation, user("0"))
    await wire.post(f"/conversations/{conversation}", {"metadata": {"topic": "test"}})
    assert ["0"] == await stale(conversation)


async def test_stale_page_does_not_count_a_refused_write(wire, conversation, stale):
    item = await wire.add_one(conversation, user("0"))
    duplicate = {"type": "message", "id": item["id"], **user("again")}
    assert 400 == (await wire.add(conversation, user("1"), duplicate))[0]
    assert [] == await stale(conversation)


async def test_stale_page_does_not_count_writes_to_other_conversations(wire, conversation, stale):
    await wire.add_one(conversation, user("0"))
    await wire.new_conversation(user("other"))
    assert [] == await stale(conversation)


@pytest.mark.parametrize(
    ("params", "expected", "has_more"),
    [
        ({"limit": 2}, ["3", "2"], True),
        ({"limit": 4}, ["3", "2", "1", "0"], False),
        ({"limit": 1, "order": "asc"}, ["0"], True),
    ],
)
async def test_stale_page_keeps_to_its_limit(emulator, wire, params, expected, has_more):
    conversation_id = await wire.new_conversation(*users(4))
    await wire.add(conversation_id, user("4"))
    emulator.inject(Fault("stale_page"))
    _, page = await wire.list(conversation_id, **params)
    assert expected == [item["content"][0]["text"] for item in page["data"]]
    assert has_more is page["has_more"]
    assert (page["data"][0]["id"], page["data"][-1]["id"]) == (page["first_id"], page["last_id"])


async def test_stale_page_starts_after_its_cursor(wire, conversation, stale):
    _, page = await wire.add(conversation, *users(4))
    third = page["data"][2]["id"]
    await wire.delete(f"/conversations/{conversation}/items/{third}")
    assert ["1", "0"] == await stale(conversation, after=third)
    assert ["3"] == await stale(conversation, after=third, order="asc")


async def test_stale_page_after_an_item_just_added_is_a_404(wire, conversation, stale):
    newest = await wire.add_one(conversation, user("0"))
    assert 404 == await stale(conversation, after=newest["id"])


async def test_stale_page_of_an_unknown_conversation_is_a_404(stale):
    assert 404 == await stale("conv_unknown")


async def test_stale_page_of_another_key_is_a_404(emulator, conversation):
    emulator.inject(Fault("stale_page"))
    assert 404 == (await Wire(emulator, key=f"{KEY}-other").list(conversation))[0]


async def test_stale_page_of_a_file_that_was_just_opened_is_up_to_date(tmp_path):
    """Writes of another process, or of an earlier one, are always visible."""
    file = tmp_path / "conversations.db"
    with Emulator(file) as first:
        conversation_id = await Wire(first).new_conversation(user("0"))
    with Emulator(file) as emulator:
        emulator.inject(Fault("stale_page"))
        assert ["0"] == await Wire(emulator).texts(conversation_id)
