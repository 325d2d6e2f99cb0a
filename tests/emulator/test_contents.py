"""What the emulator says of all that it holds."""

import json

import pytest

from openai_sessions.emulator import Emulator, StoredConversation

from .wire import KEY, Wire, user, users

OTHER_KEY = "sk-other"


async def test_conversations_are_those_of_all_keys_newest_first(emulator, wire):
    emulator.seed([{"id": "conv_old", "created_at": 1, "metadata": {"a": "b"}, "items": []}])
    first = await wire.new_conversation(user("one"), user("two"))
    second = await Wire(emulator, key=OTHER_KEY).new_conversation()
    held = emulator.conversations()
    assert [(each.id, each.item_count) for each in held] == [(second, 0), (first, 2), ("conv_old", 0)]
    assert held[2] == StoredConversation("conv_old", 1, {"a": "b"}, item_count=0, first_position=None)


async def test_conversations_of_a_key_are_what_it_sees(emulator, wire):
    emulator.seed([{"id": "conv_old", "created_at": 1, "items": []}])
    own = await wire.new_conversation()
    assert [each.id for each in emulator.conversations(api_key=KEY)] == [own, "conv_old"]
    assert [each.id for each in emulator.conversations(api_key=OTHER_KEY)] == ["conv_old"]
    assert emulator.contents.has_conversation(own, api_key=KEY)
    assert not emulator.contents.has_conversation(own, api_key=OTHER_KEY)
    assert emulator.contents.has_conversation("conv_old", api_key=OTHER_KEY)


async def test_deleted_conversation_is_held_no_more(emulator, wire):
    conversation_id = await wire.new_conversation(user("one"))
    await wire.delete(f"/conversations/{conversation_id}")
    assert emulator.conversations() == ()
    with pytest.raises(LookupError, match=f"The emulator has no conversation '{conversation_id}'."):
        emulator.items(conversation_id)


async def test_items_are_whole_and_oldest_first(emulator, wire):
    """Also what a list gives only when it is asked to include it."""
    picture = {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "auto"}
    conversation_id = await wire.new_conversation({"role": "user", "content": [picture]}, user("two"))
    first, second = emulator.items(conversation_id)
    assert first["content"][0]["image_url"] == "https://example.com/a.png"
    assert second["content"][0]["text"] == "two"


async def test_contents_give_items_in_parts(emulator, wire):
    conversation_id = await wire.new_conversation(*users(3))
    contents = emulator.contents
    one, two, three = contents.items(conversation_id)
    assert one.position < two.position < three.position
    assert json.loads(two.json)["content"][0]["text"] == "1"
    assert contents.items(conversation_id, after=one.position) == (two, three)
    assert contents.items(conversation_id, max_items=2) == (one, two)
    assert contents.items(conversation_id, max_characters=1) == (one,)
    assert contents.items(conversation_id, max_characters=len(one.json) + 1) == (one, two)
    assert contents.positions(conversation_id, to=two.position) == (one.position, two.position)
    assert contents.items("conv_none") == ()


async def test_version_is_another_one_after_every_change(emulator, wire):
    versions = [emulator.contents.version()]
    conversation_id = await wire.new_conversation(user("one"))
    versions.append(emulator.contents.version())
    await wire.list(conversation_id)
    assert emulator.contents.version() == versions[-1]
    await wire.add(conversation_id, user("two"))
    versions.append(emulator.contents.version())
    await wire.delete(f"/conversations/{conversation_id}/items/{emulator.items(conversation_id)[0]['id']}")
    versions.append(emulator.contents.version())
    await wire.delete(f"/conversations/{conversation_id}")
    versions.append(emulator.contents.version())
    assert len(set(versions)) == 5


async def test_version_is_another_one_after_a_change_by_another_process(tmp_path):
    file = tmp_path / "conversations.db"
    with Emulator(file) as one, Emulator(file) as other:
        before = one.contents.version()
        await Wire(other).new_conversation()
        assert one.contents.version() != before
