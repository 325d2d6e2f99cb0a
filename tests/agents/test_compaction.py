"""The SDK's compaction of a history, wrapped around a session."""

import inspect
from itertools import count

import agents
import pytest
from agents import Agent, OpenAIResponsesCompactionSession, SQLiteSession
from agents.memory import openai_responses_compaction_session
from cryptography.fernet import Fernet
from openai import BadRequestError
from openai.types.responses import ResponseCompactionItem

from openai_sessions import OpenAIConversationsSession, RequestSettings
from openai_sessions.emulator import Emulator
from openai_sessions.emulator._server import in_process_client
from openai_sessions.encryption import EncryptedSession
from tests.selection import stride
from tests.wire import FAST

from .compacting import CompactingService, compacted, said_by_the_user
from .crashing import DeafApp, crashes
from .normalised import normalised
from .scripted import ScriptedModel, add, calls, says, thinks
from .staging import play, run

replaces_in_place = "_atomic_replace_items" in inspect.getsource(openai_responses_compaction_session)
"""Whether this version of the SDK asks a session to replace its history; others clear it and add."""

in_place = pytest.mark.skipif(
    not replaces_in_place, reason=f"openai-agents {agents.__version__} compacts by clearing and adding"
)
by_clearing = pytest.mark.skipif(
    replaces_in_place, reason=f"openai-agents {agents.__version__} compacts in place"
)


def compacting(session, service, *, after=2):
    """Wrap a session so that its history is compacted once it has so many items beside the user's."""
    return OpenAIResponsesCompactionSession(
        "compacting",
        session,
        client=service.client(),
        compaction_mode="input",
        should_trigger_compaction=lambda context: len(context["compaction_candidate_items"]) >= after,
    )


def comparable(items):
    """Return items normalised, and messages of one plain text part in their short form.

    A conversation lists both forms of such a message alike; SQLiteSession returns the one it was given.
    """
    return [_short(item) for item in normalised(items)]


def _short(item):
    match item:
        case {"role": role, "content": [{"type": "input_text", "text": text}]}:
            return {"role": role, "content": text}
    return item


async def three_turns(stage):
    agent = Agent(name="Guide", model=stage.model([says("Paris.")], [says("Seine.")], [says("777 km.")]))
    await stage.run(agent, "The capital of France?")
    await stage.run(agent, "The river there?")
    await stage.run(agent, "How long?")


async def turns_with_tools(stage):
    """Calls with a status, as the Responses API returns them, and without one."""
    model = stage.model(
        [says("Yes?")],
        [calls("add", '{"a": 1, "b": 2}', call_id="call_1", status="completed")],
        [calls("add", '{"a": 3, "b": 4}', call_id="call_2")],
        [says("3 and 7.")],
        [thinks("Hm."), says("Yes.")],
    )
    agent = Agent(name="Adder", model=model, tools=[add])
    await stage.run(agent, "Hello.")
    await stage.run(agent, "1 + 2, and 3 + 4?")
    await stage.run(agent, "Sure?")


@pytest.mark.parametrize("scenario", [three_turns, turns_with_tools])
async def test_compaction_by_the_runner(runner, client, scenario):
    """Both the model and the compacting service are shown the same as with SQLiteSession."""
    expected_service, service = CompactingService(), CompactingService()
    sqlite = SQLiteSession("compacting")
    expected = await play(scenario, runner, compacting(sqlite, expected_service))
    sqlite.close()

    session = OpenAIConversationsSession(openai_client=client)
    actual = await play(scenario, runner, compacting(session, service))

    assert expected_service.requests
    assert [comparable(body["input"]) for body in expected_service.requests] == [
        comparable(body["input"]) for body in service.requests
    ]
    assert [[comparable(shown) for shown in model] for model in expected.inputs] == [
        [comparable(shown) for shown in model] for model in actual.inputs
    ]
    assert comparable(expected.history) == comparable(actual.history)


async def compacted_session(client):
    """Return a session that was compacted on demand, its id before, and the service that did it."""
    service = CompactingService()
    session = OpenAIConversationsSession(openai_client=client)
    await session.add_items([{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}])
    before = session.session_id
    await compacting(session, service).run_compaction({"force": True})
    assert [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}] == (
        service.requests[0]["input"]
    )
    return session, before


async def test_compaction_on_demand(client):
    session, _ = await compacted_session(client)

    assert [
        {"role": "user", "content": "Hello"},
        {"type": "compaction", "encrypted_content": "summary 1"},
    ] == await session.get_items()


@in_place
async def test_compaction_in_place_keeps_the_conversation_id(client, emulator):
    session, before = await compacted_session(client)

    assert before == session.session_id
    assert 1 == sum(request.path == "/v1/conversations" for request in emulator.requests)


@by_clearing
async def test_compaction_by_clearing_changes_the_conversation_id(client):
    """The id read afterwards is the one that resumes the compacted history."""
    session, before = await compacted_session(client)
    resumed = OpenAIConversationsSession(conversation_id=session.session_id, openai_client=client)

    assert before != session.session_id
    assert await session.get_items() == await resumed.get_items()


async def test_compaction_of_a_resumed_session(client):
    written = OpenAIConversationsSession(openai_client=client)
    await written.add_items([{"role": "user", "content": f"Line {n}"} for n in range(130)])
    resumed = OpenAIConversationsSession(conversation_id=written.session_id, openai_client=client)

    await compacting(resumed, CompactingService()).run_compaction({"force": True})

    assert 131 == len(await resumed.get_items())
    assert "compaction" == (await resumed.get_items(limit=1))[0]["type"]


OLD = [{"role": "user", "content": f"Old {n}"} for n in range(12)]
NEW = [*said_by_the_user({"role": "user", "content": f"New {n}"} for n in range(24)), compacted(1)]


async def replace_until(request_number, *, served):
    """Replace OLD by NEW in a session whose server goes deaf at a request.

    Returns:
        Whether it came to that request, and the history that another process then finds.
    """
    with Emulator() as emulator:
        session = OpenAIConversationsSession(openai_client=emulator.client())
        await session.add_items(OLD)
        app = DeafApp(emulator, deaf_from=request_number, served=served)
        deaf = OpenAIConversationsSession(
            conversation_id=session.session_id, openai_client=in_process_client(app, api_key="sk-emulator")
        )
        crashed = await crashes(deaf._atomic_replace_items(NEW), app)
        return crashed, await session.get_items()


@pytest.mark.parametrize("served", [False, True], ids=["request_lost", "answer_lost"])
async def test_replacing_a_history_that_crashes_at_any_request_loses_nothing(served):
    """Until every new item is stored every old item is there; new ones follow, in order, a prefix."""
    new = comparable(NEW)
    for request_number in count(1, stride(9)):
        crashed, history = await replace_until(request_number, served=served)
        if not crashed:
            break
        old_left = [item for item in history if item in OLD]
        new_stored = history[len(old_left) :]
        assert history == old_left + new_stored
        assert old_left == [item for item in OLD if item in old_left]
        assert new_stored == new[: len(new_stored)]
        assert old_left == OLD or new_stored == new
    assert comparable(history) == new
    assert len(OLD) < request_number


async def test_replacing_a_history_that_failed_is_done_again(client, emulator):
    """What a refused request leaves is the old history; the same replacement then succeeds."""
    session = OpenAIConversationsSession(openai_client=client, requests=RequestSettings(retry_policy=FAST))
    await session.add_items(OLD)

    with emulator.locked(session.session_id), pytest.raises(BadRequestError, match="Another process"):
        await session._atomic_replace_items(NEW)
    assert OLD == await session.get_items()

    assert await session._atomic_replace_items(NEW) is True
    assert comparable(NEW) == await session.get_items()


async def test_replacing_the_history_of_an_unused_session(client):
    session = OpenAIConversationsSession(openai_client=client)

    assert await session._atomic_replace_items(NEW) is True

    assert comparable(NEW) == await session.get_items()


async def test_replacing_a_history_by_nothing_keeps_the_conversation_id(client):
    session = OpenAIConversationsSession(openai_client=client)
    await session.add_items(OLD)
    before = session.session_id

    assert await session._atomic_replace_items([]) is True

    assert (before, []) == (session.session_id, await session.get_items())


class Shouting(OpenAIConversationsSession):
    """A subclass that stores items in another form: whoever passes it by breaks it."""

    async def get_items(self, limit=None, **options):
        items = await super().get_items(limit, **options)
        return [_with_text(item, str.lower) for item in items]

    async def add_items(self, items):
        await super().add_items([_with_text(item, str.upper) for item in items])


def _with_text(item, change):
    if "content" not in item:
        return item
    content = item["content"]
    if isinstance(content, str):
        return {**item, "content": change(content)}
    return {**item, "content": [{**part, "text": change(part["text"])} for part in content]}


def plain(client):
    return OpenAIConversationsSession(openai_client=client)


def shouting(client):
    return Shouting(openai_client=client)


def encrypted(client):
    return EncryptedSession("compacting", plain(client), encryption_key=ENCRYPTION_KEY, ttl=None)


KINDS = {each.__name__: each for each in (plain, shouting, encrypted)}
ENCRYPTION_KEY = Fernet.generate_key()
LATE = {"role": "user", "content": "written meanwhile"}


async def pop_and_add(other):
    await other.pop_item()
    await other.add_items([LATE])


CHANGES = {
    "adds": lambda other: other.add_items([LATE]),
    "pops": lambda other: other.pop_item(),
    "pops and adds": pop_and_add,
}


@in_place
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
async def test_history_that_another_session_changes_during_compaction_stays(client, make, change):
    """As the SDK's own stores: nothing is replaced from a snapshot that is out of date."""
    session = make(client)
    await session.add_items(OLD[:3])
    other = type_of_other(session, client)
    expected_history = []

    async def change_and_remember():
        await change(other)
        expected_history.extend(await other.get_items())

    service = CompactingService(meanwhile=change_and_remember)
    await compacting(session, service).run_compaction({"force": True})

    assert expected_history == await session.get_items()
    await compacting(session, CompactingService()).run_compaction({"force": True})
    assert "compaction" == (await session.get_items())[-1]["type"]


def type_of_other(session, client):
    if isinstance(session, EncryptedSession):
        inner = OpenAIConversationsSession(conversation_id=session.conversation_id, openai_client=client)
        return EncryptedSession("compacting", inner, encryption_key=ENCRYPTION_KEY, ttl=None)
    return type(session)(conversation_id=session.session_id, openai_client=client)


@in_place
async def test_history_that_another_session_changes_during_automatic_compaction_stays(runner, client):
    session = plain(client)

    async def write():
        await type_of_other(session, client).add_items([LATE])

    stage = await play(three_turns, runner, compacting(session, CompactingService(meanwhile=write)))

    assert LATE in await session.get_items()
    assert stage.history


@in_place
async def test_automatic_compaction_replaces_what_the_model_was_shown_only(client, emulator):
    """The snapshot of the SDK's compaction: the newest items, replaced only while they are the newest."""
    session = plain(client)
    await session.add_items(OLD)
    snapshot = await type(session)._get_compaction_snapshot(session, 5)
    assert (OLD[-5:], False) == (snapshot.items, snapshot.complete)

    emulator.forget_requests()
    assert await snapshot.replace_suffix(2, NEW[-1:]) is True
    assert ["list_items", "create_items", "list_items", *["delete_item"] * 3] == [
        request.operation for request in emulator.requests
    ]
    assert [*OLD[:-3], *comparable(NEW[-1:])] == await session.get_items()

    emulator.forget_requests()
    assert await snapshot.replace_suffix(2, NEW[-1:]) is False
    assert await snapshot.replace_suffix(5, NEW[-1:]) is False
    assert ["list_items"] == [request.operation for request in emulator.requests]


@in_place
async def test_subclass_that_changes_items_is_compacted_through_its_methods(client, emulator):
    session = shouting(client)
    await session.add_items(OLD[:3])
    assert await type(session)._get_compaction_snapshot(session, 5) is None

    await compacting(session, CompactingService()).run_compaction({"force": True})

    stored = emulator.items(session.session_id)
    assert ["OLD 0", "OLD 1", "OLD 2"] == [each["content"][0]["text"] for each in stored[:-1]]
    assert [item["content"].lower() for item in OLD[:3]] == [
        item["content"] for item in (await session.get_items())[:-1]
    ]


class Forwarding:
    """A wrapper that stores items in another form, and forwards whatever it does not have."""

    def __init__(self, inner):
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def get_items(self, limit=None):
        return [_with_text(item, str.lower) for item in await self._inner.get_items(limit)]

    async def add_items(self, items):
        await self._inner.add_items([_with_text(item, str.upper) for item in items])


@pytest.mark.parametrize("kind", [plain, encrypted])
async def test_wrapper_that_forwards_attributes_is_compacted_through_its_methods(client, kind):
    """The compacting service is shown what the wrapper reads, and the wrapper stores what it answers."""
    inner, service = kind(client), CompactingService()
    session = Forwarding(inner)
    await session.add_items(OLD[:3])

    await compacting(session, service).run_compaction({"force": True})

    assert ["old 0", "old 1", "old 2"] == [item["content"] for item in service.requests[0]["input"]]
    assert ["OLD 0", "OLD 1", "OLD 2"] == [item["content"] for item in (await inner.get_items())[:-1]]


@pytest.mark.parametrize("name", ["_read_compaction_items", "_get_compaction_snapshot"])
def test_methods_for_compaction_are_not_forwarded(client, name):
    assert not hasattr(Forwarding(plain(client)), name)
    assert hasattr(OpenAIConversationsSession, name)


@pytest.mark.parametrize("in_turn", [False, True], ids=["session", "turn"])
async def test_a_model_is_shown_the_newest_compaction_item_and_what_follows(client, in_turn):
    """The server compacts while it answers (`context_management`): the item is in the output of the model."""
    item = ResponseCompactionItem(id="cmp_1", encrypted_content="gAAAAA", type="compaction")
    session = OpenAIConversationsSession(openai_client=client)
    model = ScriptedModel([[says("Paris."), item], [says("Seine.")], [says("777 km.")]])
    agent = Agent(name="Guide", model=model)
    for question in ("The capital of France?", "The river there?", "How long?"):
        if in_turn:
            async with session.turn() as turn:
                await run(agent, question, session=turn)
        else:
            await run(agent, question, session=session)
    shown = [[each.get("role") or each["type"] for each in called.input] for called in model.calls]
    assert shown == [
        ["user"],
        ["compaction", "user"],
        ["compaction", "user", "assistant", "user"],
    ]
    assert 7 == len([each async for each in session.iterate_items()])
