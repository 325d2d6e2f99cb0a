"""The page as it was before the last write."""

import pytest

from openai_sessions.emulator import Emulator, Fault

from .wire import KEY, Wire, user, users


@pytest.fixture
def stale(emulator, wire):
    """List once with a stale page; return the texts, or the status of a refusal."""

    async def texts(conversation_id, **params):
        emulator.inject(Fault("stale_page"))
        status, page = await wire.list(conversation_id, **params)
        return [item["content"][0]["text"] for item in page["data"]] if status == 200 else status

    return texts


async def test_items_just_added_are_missing(wire, conversation, stale):
    await wire.add(conversation, *users(2))
    await wire.add(conversation, *users(2, first=2))
    assert ["1", "0"] == await stale(conversation)
    assert ["0", "1"] == await stale(conversation, order="asc")


async def test_item_just_deleted_is_still_there_in_its_place(wire, conversation, stale):
    _, page = await wire.add(conversation, *users(3))
    await wire.delete(f"/conversations/{conversation}/items/{page['data'][1]['id']}")
    assert ["2", "1", "0"] == await stale(conversation)
    assert ["0", "1", "2"] == await stale(conversation, order="asc")
    assert ["0", "2"] == await wire.texts(conversation, order="asc")


async def test_conversation_just_created_with_items_is_empty(wire, stale):
    assert [] == await stale(await wire.new_conversation(user("0")))


async def test_conversation_just_deleted_is_still_there(wire, conversation, stale):
    await wire.add_one(conversation, user("0"))
    await wire.delete(f"/conversations/{conversation}")
    assert ["0"] == await stale(conversation)
    assert 404 == (await wire.list(conversation))[0]


async def test_write_of_metadata_is_a_write_too(wire, conversation, stale):
    await wire.add_one(conversation, user("0"))
    await wire.post(f"/conversations/{conversation}", {"metadata": {"topic": "test"}})
    assert ["0"] == await stale(conversation)


async def test_refused_write_is_none(wire, conversation, stale):
    item = await wire.add_one(conversation, user("0"))
    duplicate = {"type": "message", "id": item["id"], **user("again")}
    assert 400 == (await wire.add(conversation, user("1"), duplicate))[0]
    assert [] == await stale(conversation)


async def test_write_to_another_conversation_is_none(wire, conversation, stale):
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


async def test_stale_page_begins_after_its_cursor(wire, conversation, stale):
    _, page = await wire.add(conversation, *users(4))
    third = page["data"][2]["id"]
    await wire.delete(f"/conversations/{conversation}/items/{third}")
    assert ["1", "0"] == await stale(conversation, after=third)
    assert ["3"] == await stale(conversation, after=third, order="asc")


async def test_cursor_that_is_too_new_is_a_404(wire, conversation, stale):
    newest = await wire.add_one(conversation, user("0"))
    assert 404 == await stale(conversation, after=newest["id"])


async def test_stale_page_of_an_unknown_conversation_is_a_404(stale):
    assert 404 == await stale("conv_unknown")


async def test_stale_page_shows_nothing_of_another_key(emulator, conversation):
    emulator.inject(Fault("stale_page"))
    assert 404 == (await Wire(emulator, key=f"{KEY}-other").list(conversation))[0]


async def test_stale_page_of_a_file_that_was_just_opened_is_up_to_date(tmp_path):
    """Writes of another process, or of an earlier one, are always seen."""
    file = tmp_path / "conversations.db"
    with Emulator(file) as first:
        conversation_id = await Wire(first).new_conversation(user("0"))
    with Emulator(file) as emulator:
        emulator.inject(Fault("stale_page"))
        assert ["0"] == await Wire(emulator).texts(conversation_id)
