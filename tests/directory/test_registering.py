"""Registering existing conversations."""

import asyncio

import pytest

from openai_sessions import ConversationNotFoundError, OpenAIConversationsSession
from openai_sessions.directory import NamedSession
from openai_sessions.emulator import Fault
from openai_sessions.errors import ConversationRegisteredError, DeletionPendingError, NameTakenError

from .stage import CREATE, held, hooked_client, in_tables, made, user


@pytest.fixture
async def existing(client, emulator):
    """A conversation that no directory knows."""
    session = OpenAIConversationsSession(openai_client=client)
    await session.add_items([user("Hello")])
    emulator.forget_requests()
    return session.session_id


async def test_registering_makes_no_request(directory, other, existing, emulator, url):
    session = await directory.register("user_1", existing, expires_in=60, metadata={"plan": "pro"})
    assert () == emulator.requests
    assert ("user_1", "main", existing, NamedSession) == (
        session.name,
        session.branch,
        session.session_id,
        type(session),
    )
    entry = await other.get("user_1")
    assert (existing, {"plan": "pro"}) == (entry.conversation_id, entry.metadata)
    assert 60 == (entry.expires_at - entry.used_at).total_seconds()
    await session.add_items([user("again")])
    assert [user("Hello"), user("again")] == await (await other.session("user_1")).get_items()
    assert (1, 1, 0, 0) == await in_tables(url)


async def test_session_has_the_given_options(directory, existing):
    session = await directory.register("user_1", existing, history="incremental")
    assert "incremental" == session._options.history
    with pytest.raises(TypeError, match="'histories' is not a session option"):
        await directory.register("user_2", existing, histories="input")
    assert await directory.get("user_2") is None


async def test_name_without_a_conversation_takes_it(directory, other, existing, emulator, url):
    """So do its open, unused sessions."""
    early = await other.session("user_1", metadata={"plan": "pro"})
    await directory.register("user_1", existing)
    await early.add_items([user("again")])
    assert existing == early.session_id
    assert 0 == made(emulator).count(CREATE)
    assert {"plan": "pro"} == (await directory.get("user_1")).metadata
    assert (1, 1, 0, 0) == await in_tables(url)


async def test_name_that_has_the_conversation_is_opened(directory, other, existing, url, clock):
    await directory.register("user_1", existing)
    registered = clock.now
    clock.advance(seconds=5)
    assert existing == (await other.register("user_1", existing, metadata={"plan": "pro"})).session_id
    entry = await directory.get("user_1")
    assert ({"plan": "pro"}, registered) == (entry.metadata, entry.used_at)
    assert (1, 1, 0, 0) == await in_tables(url)


async def test_name_with_another_conversation_is_refused(directory, existing, url):
    session = await directory.session("user_1", metadata={"plan": "pro"})
    await session.ensure_conversation()
    before = await directory.get("user_1")
    with pytest.raises(NameTakenError, match="already has the name 'user_1'"):
        await directory.register("user_1", existing, metadata={"plan": "none"}, expires_in=1)
    assert before == await directory.get("user_1")
    assert (1, 1, 0, 0) == await in_tables(url)


async def test_conversation_with_another_name_is_refused(directory, existing, url):
    await directory.register("user_1", existing)
    with pytest.raises(ConversationRegisteredError, match="as branch 'main' of 'user_1'") as caught:
        await directory.register("user_2", existing)
    error = caught.value
    assert (existing, "user_1", "main") == (error.conversation_id, error.name, error.branch)
    assert await directory.get("user_2") is None
    assert (1, 1, 0, 0) == await in_tables(url)
    await directory.forget("user_1")
    assert [user("Hello")] == await (await directory.register("user_2", existing)).get_items()


async def test_conversation_of_another_branch_is_refused(directory, existing):
    session = await directory.register("user_1", existing)
    fork = await directory.fork("user_1", "retry")
    await session.clear_session()
    with pytest.raises(ConversationRegisteredError, match="as branch 'retry' of 'user_1'"):
        await directory.register("user_1", fork.session_id)


async def test_expired_name_takes_another_conversation(directory, existing, clock, emulator):
    old = await directory.session("user_1", expires_in=60)
    await old.ensure_conversation()
    clock.advance(hours=1)
    await directory.register("user_1", existing)
    await directory.sweep()
    assert {existing} == held(emulator)


@pytest.mark.parametrize("name", ["user_1", "user_2"])
async def test_conversation_of_an_expired_name_is_refused(directory, existing, clock, name, url):
    """Opening its name would reset it, and schedule the deletion of the conversation."""
    await directory.register("user_1", existing, expires_in=60)
    clock.advance(hours=1)
    error = DeletionPendingError if name == "user_1" else ConversationRegisteredError
    with pytest.raises(error, match=existing):
        await directory.register(name, existing)
    assert (1, 1, 0, 0) == await in_tables(url)
    await directory.forget("user_1")
    await directory.register(name, existing)
    report = await directory.sweep()
    assert (0, 0, 0) == (report.expired, report.deleted, report.remaining)


async def test_conversation_with_a_pending_deletion_is_refused(directory, existing, emulator, client, url):
    """A running sweep could delete it after it was registered."""
    await directory.register("user_1", existing)
    emulator.inject(Fault("error_500_before"), operation="delete_conversation", times=6)
    with pytest.raises(Exception, match="500"):
        await directory.forget("user_1", delete=True)
    with pytest.raises(DeletionPendingError, match=f"{existing} was cleared or forgotten") as caught:
        await directory.register("user_2", existing)
    assert existing == caught.value.conversation_id
    assert (0, 0, 1, 0) == await in_tables(url)
    copy = await OpenAIConversationsSession(conversation_id=existing, openai_client=client).fork()
    await directory.register("user_2", copy.session_id)
    await directory.sweep()
    assert {copy.session_id} == held(emulator)


async def test_conversation_is_refused_while_it_is_swept(open_directory, other, existing, emulator, clock):
    """It is refused from before its deletion until it is gone."""
    refused = []

    async def register(request):
        if request.method == "DELETE":
            with pytest.raises(DeletionPendingError):
                await other.register("user_2", existing)
            refused.append(existing)

    await other.register("user_1", existing, expires_in=60)
    clock.advance(hours=1)
    async with hooked_client(emulator, register) as client:
        assert 1 == (await open_directory(openai_client=client).sweep()).deleted
    assert [existing] * 2 == refused  # at the deletion of its item, and at its own


async def test_first_request_raises_for_a_missing_conversation(directory):
    session = await directory.register("user_1", "conv_nowhere")
    with pytest.raises(ConversationNotFoundError, match="conv_nowhere"):
        await session.get_items()
    await session.clear_session()
    await session.add_items([user("Hello")])
    assert [user("Hello")] == await session.get_items()


async def test_another_tenant_can_register_the_same_conversation(directory, open_directory, existing):
    await directory.register("user_1", existing)
    assert existing == (await open_directory(tenant="other").register("user_1", existing)).session_id


@pytest.mark.parametrize("conversation_id", ["user_1", "conv_", "conv_a/b", None, "conv_" + "a" * 251])
async def test_malformed_id_is_refused(directory, conversation_id, url):
    with pytest.raises(ValueError, match="conversation id"):
        await directory.register("user_1", conversation_id)
    with pytest.raises(ValueError, match="name is empty"):
        await directory.register("", "conv_1")
    assert (0, 0, 0, 0) == await in_tables(url)


async def test_one_conversation_registered_concurrently_gets_one_name(directory, other, existing, url):
    names = [f"user_{number}" for number in range(8)]
    results = await asyncio.gather(
        *(each.register(name, existing) for each, name in zip([directory, other] * 4, names, strict=True)),
        return_exceptions=True,
    )
    (winner,) = [result for result in results if isinstance(result, NamedSession)]
    errors = [result for result in results if result is not winner]
    assert {(ConversationRegisteredError, winner.name)} == {(type(error), error.name) for error in errors}
    assert (1, 1, 0, 0) == await in_tables(url)


async def test_one_name_registered_concurrently_gets_one_conversation(directory, other, url):
    ids = [f"conv_{number}" for number in range(8)]
    results = await asyncio.gather(
        *(each.register("user_1", one) for each, one in zip([directory, other] * 4, ids, strict=True)),
        return_exceptions=True,
    )
    (winner,) = [result for result in results if isinstance(result, NamedSession)]
    assert {NameTakenError} == {type(result) for result in results if result is not winner}
    assert winner.session_id == (await directory.get("user_1")).conversation_id
    assert (1, 1, 0, 0) == await in_tables(url)


async def test_first_write_uses_a_conversation_registered_meanwhile(
    open_directory, other, existing, emulator, url
):
    """Its own empty conversation is deleted."""

    async def register(request):
        if request.method == "POST" and request.url.path.endswith("/conversations"):
            await other.register("user_1", existing)

    async with hooked_client(emulator, register) as client:
        session = await open_directory(openai_client=client).session("user_1")
        await session.add_items([user("again")])
    assert existing == session.session_id
    assert {existing} == held(emulator)
    assert (1, 1, 0, 0) == await in_tables(url)


async def test_repeated_claim_keeps_a_later_registration(directory, other, existing, url):
    """The commit was not confirmed, and the name was forgotten before the second attempt."""
    registration = (await directory.session("user_1"))._registration
    creation_id = await registration.note_creation({})
    await registration.claim(existing, creation_id)
    await other.forget("user_1")
    await other.register("user_2", existing)
    assert existing == await registration.claim(existing, creation_id)
    assert "user_2" == registration.opened.name
    assert 0 == (await in_tables(url))[2]
