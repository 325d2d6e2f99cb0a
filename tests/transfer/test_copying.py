"""Copies between two sessions of this library, without faults."""

from __future__ import annotations

import logging

import agents
import pytest
from cryptography.fernet import Fernet

import openai_sessions.sync
from openai_sessions import (
    EncryptedSession,
    InvalidItemError,
    OpenAIConversationsSession,
    copy_session,
    export_session,
    import_session,
)
from openai_sessions.errors import TransferConflictError, TransferVerificationError
from openai_sessions.transfer import TransferReport

from .items import every_kind, turn, turns, users

KEY = Fernet.generate_key()


@pytest.fixture
def hosted(emulator):
    """Return what makes sessions on new or given conversations."""
    client = emulator.client()
    return lambda **options: OpenAIConversationsSession(openai_client=client, **options)


def operations(emulator):
    return [request.operation for request in emulator.requests]


async def test_every_kind_of_item_is_copied(hosted):
    source, target = hosted(), hosted()
    await source.add_items(every_kind())
    report = await copy_session(source, target)
    assert await source.get_items() == await target.get_items()
    assert TransferReport(copied=len(await source.get_items())) == report


async def test_empty_history_creates_nothing(emulator, hosted):
    target = hosted()
    assert TransferReport() == await copy_session(hosted(), target)
    assert target.conversation_id is None
    assert () == emulator.requests


async def test_copy_writes_20_items_per_request_and_reads_both_sessions_again(emulator, hosted):
    source, target = hosted(), hosted()
    await source.add_items(users(90))
    emulator.forget_requests()
    await copy_session(source, target)
    assert ["list_items", "create_conversation", *["create_items"] * 5, *["list_items"] * 2] == operations(
        emulator
    )


async def test_repeated_copy_writes_nothing(emulator, hosted):
    source, target = hosted(), hosted()
    await source.add_items(turns(40))
    await copy_session(source, target)
    emulator.forget_requests()
    assert TransferReport(already_there=160) == await copy_session(source, target)
    assert {"list_items"} == set(operations(emulator))


@pytest.mark.parametrize("there", [1, 20, 99, 100, 101, 159])
async def test_copy_continues_after_existing_items(hosted, there):
    source, target = hosted(), hosted()
    await source.add_items(turns(40))
    await target.add_items(turns(40)[:there])
    assert TransferReport(copied=160 - there, already_there=there) == await copy_session(source, target)
    assert await source.get_items() == await target.get_items()


@pytest.mark.parametrize(
    ("held", "position"),
    [
        pytest.param(users(1, "other"), 0, id="something else"),
        pytest.param([*users(2), *users(1, "other")], 2, id="a beginning, and something else"),
        pytest.param(users(4), 3, id="more"),
    ],
)
async def test_target_with_other_items_is_refused(emulator, hosted, held, position):
    source, target = hosted(), hosted()
    await source.add_items(users(3))
    await target.add_items(held)
    emulator.forget_requests()
    with pytest.raises(TransferConflictError, match=r"Give an empty target, or append=True") as caught:
        await copy_session(source, target)
    assert position == caught.value.position
    assert held == await target.get_items()
    assert {"list_items"} == set(operations(emulator))


async def test_append_writes_after_existing_items(hosted):
    source, target = hosted(), hosted()
    await source.add_items(users(130))
    await target.add_items(users(110, "other"))
    assert TransferReport(copied=130) == await copy_session(source, target, append=True)
    assert [*users(110, "other"), *users(130)] == await target.get_items()


async def test_identical_source_and_target_are_refused(hosted):
    session = hosted()
    with pytest.raises(ValueError, match="the same session"):
        await copy_session(session, session)
    await session.add_items(users(1))
    with pytest.raises(ValueError, match="the same session"):
        await copy_session(session, hosted(conversation_id=session.session_id))
    assert users(1) == await session.get_items()


@pytest.mark.parametrize("append", [True, False])
async def test_session_and_its_wrapper_are_refused(emulator, hosted, append):
    """The copy would read its own writes, and never end."""
    session = hosted()
    await session.add_items(users(130))
    around = EncryptedSession("user_123", session, Fernet.generate_key())
    another = EncryptedSession("user_123", hosted(conversation_id=session.session_id), Fernet.generate_key())
    emulator.forget_requests()
    for source, target in ((session, around), (around, session), (around, another)):
        with pytest.raises(ValueError, match="the same session"):
            await copy_session(source, target, append=append)
    assert () == emulator.requests


class Unready:
    """A synchronous session."""

    def __init__(self, *items):
        self.items = list(items)

    def get_items(self, limit=None):
        return self.items

    add_items = pop_item = clear_session = get_items


@pytest.mark.parametrize("given", [None, "conv_1", OpenAIConversationsSession])
async def test_object_that_is_not_a_session_is_refused_before_any_request(emulator, hosted, given):
    session = hosted()
    await session.add_items(users(1))
    emulator.forget_requests()
    for name, pair in {"source": (given, session), "target": (session, given)}.items():
        with pytest.raises(TypeError, match=f"{name} must be a session, .* not ") as caught:
            await copy_session(*pair)
        assert repr(given) in str(caught.value)
    assert () == emulator.requests


async def test_synchronous_session_is_refused(emulator, hosted):
    session = hosted()
    await session.add_items(users(1))
    conversations = [Unready(*users(2)), openai_sessions.sync.OpenAIConversationsSession()]
    for without in conversations:
        for pair in ((without, hosted()), (session, without)):
            with pytest.raises(TypeError, match=f"{type(without).__name__} .*a synchronous session"):
                await copy_session(*pair)
    assert 1 == operations(emulator).count("create_conversation")


async def test_progress_is_reported_per_batch(hosted, local):
    source, target = local("progress"), hosted()
    await source.add_items(users(250))
    told = []
    await copy_session(source, target, on_progress=lambda *done: told.append(done))
    assert [(100, 250), (200, 250), (250, 250)] == told
    told.clear()
    await copy_session(target, hosted(), on_progress=lambda *done: told.append(done))
    assert [(100, None), (200, None), (250, None)] == told


async def test_progress_callback_that_raises_ends_the_copy_and_leaves_nothing(emulator, hosted, local):
    source, target = local("progress"), hosted()
    await source.add_items(users(150))

    def stop(*_):
        raise LookupError

    with pytest.raises(LookupError):
        await copy_session(source, target, on_progress=stop)
    assert target.conversation_id is None
    assert () == emulator.conversations()


async def test_unstorable_reasoning_is_skipped_and_counted(hosted, local):
    source, target = local("reasoning"), hosted()
    bare = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}
    await source.add_items([*users(1), bare, *users(1, "then")])
    assert TransferReport(copied=2, skipped=1) == await copy_session(source, target)
    assert TransferReport(already_there=2, skipped=1) == await copy_session(source, target)
    assert [*users(1), *users(1, "then")] == await target.get_items()


async def test_reasoning_without_a_following_item_is_skipped_and_counted(hosted, local):
    """It could be stored, but would never be returned."""
    source, target = local("alone"), hosted()
    alone = {"id": "rs_" + 48 * "1", "type": "reasoning", "summary": []}
    await source.add_items([*users(1), alone])
    assert TransferReport(copied=1, skipped=1) == await copy_session(source, target)
    assert TransferReport(already_there=1, skipped=1) == await copy_session(source, target)


async def test_invalid_item_is_named_by_its_index(emulator, hosted, local):
    source = local("invalid")
    await source.add_items([*users(130), {"type": "message", "role": "user", "content": 7}])
    with pytest.raises(InvalidItemError) as caught:
        await copy_session(source, hosted())
    assert 130 == caught.value.index
    assert str(caught.value).endswith(". The 100 item(s) that were written before were removed again.")
    assert () == emulator.conversations()
    target = hosted()
    with pytest.raises(InvalidItemError) as caught:
        await copy_session(source, target, keep_partial=True)
    assert str(caught.value).endswith(". The target keeps the 100 item(s) that were written before.")
    assert 100 == len(await target.get_items())
    with pytest.raises(InvalidItemError) as caught:
        await copy_session(source, target)
    assert str(caught.value).endswith(". Nothing was written.")
    assert 100 == len(await target.get_items())


async def test_output_of_an_assistant_is_stored_as_output(emulator, hosted, local):
    source, target = local("output"), hosted()
    output = {"type": "output_text", "text": "answer", "annotations": []}
    await source.add_items(
        [{"type": "message", "role": "assistant", "status": "completed", "content": [output]}]
    )
    await copy_session(source, target)
    assert [part["type"] for part in emulator.items(target.session_id)[-1]["content"]] == ["output_text"]


def signed(item):
    return {**item, "provider_data": {"model": "gemini/gemini-3-pro", "thought_signature": "EqQBCqEB"}}


SIGNED = [
    {"role": "user", "content": "question"},
    signed({"type": "reasoning", "summary": []}),
    *map(signed, turn(1)[1:2]),
    *turn(1)[2:3],
    signed({"role": "assistant", "content": "answer"}),
]


async def test_provider_data_are_counted_and_logged_where_the_api_cannot_store_them(hosted, local, caplog):
    source, target = local("signed"), hosted()
    await source.add_items(SIGNED)
    with caplog.at_level(logging.WARNING, "openai_sessions"):
        report = await copy_session(source, target)
    assert report == TransferReport(copied=4, skipped=1, without_provider_data=2)
    assert 1 == sum("provider_data of 2 item(s)" in message for message in caplog.messages)
    assert TransferReport(already_there=4, skipped=1, without_provider_data=2) == await copy_session(
        source, target
    )


async def test_provider_data_are_copied_between_sessions_that_keep_them(hosted, local, tmp_path):
    source, encrypted, back = local("signed"), EncryptedSession("a", hosted(), KEY), local("back")
    await source.add_items(SIGNED)
    assert TransferReport(copied=5) == await copy_session(source, encrypted)
    assert TransferReport(copied=5) == await export_session(encrypted, tmp_path / "file.jsonl")
    assert TransferReport(copied=5) == await import_session(tmp_path / "file.jsonl", back)
    assert await back.get_items() == SIGNED


async def test_provider_data_of_an_import_are_counted(hosted, local, tmp_path):
    source, target = local("signed"), hosted()
    await source.add_items(SIGNED)
    await export_session(source, tmp_path / "file.jsonl")
    report = await import_session(tmp_path / "file.jsonl", target)
    assert report == TransferReport(copied=4, skipped=1, without_provider_data=2)


class OfOneProvider(agents.SQLiteSession):
    """A session that drops `provider_data`, as the Agents SDK's hosted session does."""

    async def add_items(self, items):
        await super().add_items([{**item, "provider_data": None} for item in items])


async def test_provider_data_that_any_other_target_drops_are_counted(local):
    source, target = local("signed"), local("of_one", cls=OfOneProvider)
    await source.add_items(SIGNED)
    assert TransferReport(copied=5, without_provider_data=2) == await copy_session(source, target)


class Changing(OpenAIConversationsSession):
    """A session in which something happens after each complete read."""

    happenings = ()

    async def iterate_items(self, *, after=None):
        async for item in super().iterate_items(after=after):
            yield item
        happening, *self.happenings = self.happenings or [None]
        if happening:
            await happening()


async def test_items_added_to_the_source_meanwhile_are_copied(emulator, hosted):
    source, target = Changing(openai_client=emulator.client()), hosted()
    await source.add_items(users(30))
    source.happenings = [
        lambda: source.add_items(users(2, "late")),
        lambda: source.add_items(users(1, "later")),
    ]
    assert TransferReport(copied=33) == await copy_session(source, target)
    assert [*users(30), *users(2, "late"), *users(1, "later")] == await target.get_items()


async def test_endlessly_growing_source_raises_and_leaves_nothing(emulator, hosted):
    source, target = Changing(openai_client=emulator.client()), hosted()
    await source.add_items(users(3))
    source.happenings = [lambda: source.add_items(users(1))] * 20
    with pytest.raises(TransferVerificationError):
        await copy_session(source, target)
    assert [source.session_id] == [conversation.id for conversation in emulator.conversations()]


async def test_item_popped_from_the_source_meanwhile_is_detected(emulator, hosted):
    source, target = Changing(openai_client=emulator.client()), hosted()
    await source.add_items(users(30))
    source.happenings = [source.pop_item]
    with pytest.raises(TransferVerificationError, match=r"at item 29 .* try again") as caught:
        await copy_session(source, target)
    assert 29 == caught.value.position
    assert target.conversation_id is None


async def test_item_written_to_the_target_meanwhile_is_detected_and_kept(emulator, hosted):
    """The copied items are removed, and the conversation, which others use now, is kept."""
    ids = []
    source = Changing(openai_client=emulator.client())
    target = hosted(on_conversation_created=ids.append)
    await source.add_items(users(150))
    source.happenings = [lambda: hosted(conversation_id=ids[0]).add_items(users(1, "another"))]
    with pytest.raises(TransferVerificationError):
        await copy_session(source, target)
    assert users(1, "another") == await target.get_items()


class Forgetful(agents.SQLiteSession):
    """A session that changes the items it stores."""

    async def add_items(self, items):
        await super().add_items([{**item, "content": item["content"][:6]} for item in items])


async def test_target_that_changes_items_is_detected_and_emptied(hosted, local):
    source, target = hosted(), local("forgetful", cls=Forgetful)
    await source.add_items(users(30))
    with pytest.raises(TransferVerificationError, match="at item 10 "):
        await copy_session(source, target)
    assert [] == await target.get_items()


async def test_id_is_reported_before_the_first_item_is_written(emulator, hosted):
    known = []
    source = hosted()
    await source.add_items(users(3))
    target = hosted(on_conversation_created=lambda made: known.append((made, len(emulator.items(made)))))
    await copy_session(source, target)
    assert [(target.session_id, 0)] == known


async def test_limits_in_session_settings_are_ignored(hosted, local):
    limited = {"limit": 2}
    source = local("limited", session_settings=agents.SessionSettings(limit=2))
    await source.add_items(users(30))
    target = hosted(session_settings=limited)
    assert TransferReport(copied=30) == await copy_session(source, target)
    back = local("back", session_settings=agents.SessionSettings(limit=2))
    assert TransferReport(copied=30) == await copy_session(target, back)
