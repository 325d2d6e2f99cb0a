"""One `ContextSession` for all users: each run reads and writes the session that its context selects."""

import asyncio
from dataclasses import dataclass

import agents
import openai
import pytest
from agents import Agent, RunContextWrapper, RunState, SQLiteSession, function_tool

from openai_sessions import (
    ContextSession,
    ConversationNotFoundError,
    EncryptedSession,
    OpenAIConversationsSession,
    RequestSettings,
)
from openai_sessions.emulator import Fault
from openai_sessions.errors import MissingContextError
from tests.wire import FAST

from .elsewhere import asks_to_delete, deleting_agent
from .normalised import normalised
from .scripted import ScriptedModel, add, calls, says
from .staging import run, run_streamed
from .test_interruption import keeps_pending_writes


@dataclass
class User:
    name: str


ANN, BOB = User("ann"), User("bob")


class Users:
    """Sessions by user, and the contexts for which one was selected."""

    def __init__(self, client, **options):
        self._client = client
        self._options = options
        self.made = {}
        self.selected = []

    def __call__(self, user):
        self.selected.append(user.name)
        if user.name not in self.made:
            self.made[user.name] = OpenAIConversationsSession(openai_client=self._client, **self._options)
        return self.made[user.name]

    async def texts(self, user):
        """Return what is stored of a user, as the text or type of each item."""
        items = await self.made[user.name].get_items()
        return [item.get("content") or item["type"] for item in items]


@pytest.fixture
def users(client):
    return Users(client)


@pytest.fixture
def sessions(users):
    return ContextSession(users)


def adder(*answers):
    model = ScriptedModel([[calls("add", '{"a": 1, "b": 2}')], *([says(answer)] for answer in answers)])
    return Agent(name="Adder", model=model, tools=[add])


async def test_each_user_has_a_history(runner, users, sessions):
    for user in (ANN, BOB):
        agent = adder(f"3, {user.name}.", "Yes.")
        await runner(agent, "1 + 2?", session=sessions, context=user)
        await runner(agent, "Sure?", session=sessions, context=user)
        shown = agent.model.calls[-1].input
        assert ["1 + 2?", f"3, {user.name}.", "Sure?"] == [
            item["content"] for item in normalised(shown) if isinstance(item.get("content"), str)
        ]
    for user in (ANN, BOB):
        assert [
            *("1 + 2?", "function_call", "function_call_output"),
            *(f"3, {user.name}.", "Sure?", "Yes."),
        ] == await users.texts(user)
    assert ["ann", "ann", "bob", "bob"] == users.selected


@pytest.mark.parametrize("play", [run, run_streamed], ids=lambda play: play.__name__)
async def test_runs_of_two_users_at_once(users, sessions, play):
    """Each is inside its tool while the other one is, too."""
    barrier = Meeting(2)

    @function_tool
    async def meet(wrapper: RunContextWrapper[User]) -> str:
        await barrier.wait()
        return f"met as {wrapper.context.name}"

    async def chat(user):
        model = ScriptedModel([[calls("meet", "{}")], [says(f"Bye, {user.name}.")]])
        agent = Agent(name="Guide", model=model, tools=[meet])
        await play(agent, f"I am {user.name}.", session=sessions, context=user)

    await asyncio.gather(chat(ANN), chat(BOB))
    for user in (ANN, BOB):
        items = await users.made[user.name].get_items()
        assert (4, f"met as {user.name}") == (len(items), items[2]["output"])
        assert [f"I am {user.name}.", f"Bye, {user.name}."] == [items[0]["content"], items[3]["content"]]


class Meeting:
    """Lets tasks go on once all of them have come; `asyncio.Barrier` is of Python 3.11."""

    def __init__(self, number):
        self._missing = number
        self._all_there = asyncio.Event()

    async def wait(self):
        self._missing -= 1
        if not self._missing:
            self._all_there.set()
        await self._all_there.wait()


@pytest.mark.parametrize("play", [run, run_streamed], ids=lambda play: play.__name__)
async def test_run_that_waits_for_an_approval_is_resumed_by_its_context(users, client, play):
    model = ScriptedModel([[asks_to_delete("a")], [says("Done.")]])
    agent = deleting_agent(model)
    interrupted = await play(agent, "Delete a.", session=ContextSession(users), context=ANN)
    saved = interrupted.to_state().to_string(strict_context=False, context_serializer=vars)

    state = await RunState.from_string(agent, saved, context_override=RunContextWrapper(User("ann")))
    state.approve(state.get_interruptions()[0])
    await play(agent, state, session=ContextSession(users))
    assert ["Delete a.", "function_call", "function_call_output", "Done."] == await users.texts(ANN)
    assert ["ann"] == list(users.made)


@keeps_pending_writes
async def test_write_that_failed_in_a_resumed_run_goes_to_the_same_user(client, emulator):
    """The state names the session: another object with the same session id takes the write."""
    users = Users(client, requests=RequestSettings(retry_policy=FAST))
    agent = deleting_agent(ScriptedModel([[asks_to_delete("a")], [says("Done.")]]))
    interrupted = await run(agent, "Delete a.", session=ContextSession(users), context=ANN)
    state = interrupted.to_state()
    state.approve(interrupted.interruptions[0])
    emulator.inject(Fault("quota"), operation="create_items")
    with pytest.raises(openai.RateLimitError):
        await run(agent, state, session=ContextSession(users))
    await run(agent, state, session=ContextSession(users))
    assert ["Delete a.", "function_call", "function_call_output", "Done."] == await users.texts(ANN)


async def test_requests_of_a_turn_are_those_of_the_session(users, sessions, emulator):
    agent = Agent(name="Guide", model=ScriptedModel([[says("Hi.")]]))
    await run(agent, "Hello", session=sessions, context=ANN)
    made = [(request.method, request.path.rpartition("/")[2]) for request in emulator.requests]
    assert [("POST", "conversations"), ("POST", "items"), ("POST", "items")] == made


async def test_session_may_be_awaited_and_encrypted(client):
    stored = OpenAIConversationsSession(openai_client=client)

    async def select(user):
        return EncryptedSession(user.name, stored, encryption_key="k" * 10 + "0123456789abcdef")

    sessions = ContextSession(select)
    agent = Agent(name="Guide", model=ScriptedModel([[says("Hi.")], [says("Yes.")]]))
    await run(agent, "Hello", session=sessions, context=ANN)
    await run(agent, "Sure?", session=sessions, context=ANN)
    assert 4 == len(await (await sessions.select_session(ANN)).get_items())
    assert "Hello" not in str(await stored.get_items())


async def test_session_of_the_sdk_may_be_selected():
    sqlite = SQLiteSession("ann")
    sessions = ContextSession({"ann": sqlite}.__getitem__)
    agent = Agent(name="Guide", model=ScriptedModel([[says("Hi.")], [says("Yes.")]]))
    await run(agent, "Hello", session=sessions, context="ann")
    await run(agent, "Sure?", session=sessions, context="ann")
    assert 4 == len(await sqlite.get_items())
    assert 3 == len(agent.model.calls[1].input)
    sqlite.close()


async def test_limit_of_either_session_applies(client):
    for given, selected in (({"limit": 1}, None), (None, {"limit": 1})):
        sessions = ContextSession(Users(client, session_settings=selected), session_settings=given)
        agent = Agent(name="Guide", model=ScriptedModel([[says("Hi.")], [says("Yes.")]]))
        await run(agent, "Hello", session=sessions, context=ANN)
        await run(agent, "Sure?", session=sessions, context=ANN)
        assert 2 == len(agent.model.calls[1].input)


async def test_every_method_takes_the_session_of_the_context(users, sessions):
    ann, bob = RunContextWrapper(ANN), RunContextWrapper(BOB)
    hello, bye = {"role": "user", "content": "Hello"}, {"role": "user", "content": "Bye"}
    await sessions.add_items([hello, bye], wrapper=ann)
    await sessions.add_items([bye], wrapper=bob)
    assert [bye] == await sessions.get_items(1, wrapper=ann)
    assert bye == await sessions.pop_item(wrapper=ann)
    await sessions.clear_session(wrapper=bob)
    assert ([hello], []) == (await sessions.get_items(wrapper=ann), await sessions.get_items(wrapper=bob))
    assert ["ann", "bob"] == users.selected
    ann.context = BOB
    assert [] == await sessions.get_items(wrapper=ann)
    assert ["ann", "bob", "bob"] == users.selected


async def test_session_that_accepts_the_context_of_the_run_gets_it(client):
    """As without a ContextSession: a session of this library then gives shapes that all models take."""
    session = OpenAIConversationsSession(openai_client=client)
    part = {"type": "output_text", "text": "Hi.", "annotations": []}
    message = {"type": "message", "role": "assistant", "status": "completed", "content": [part, part]}
    await session.add_items([message])
    wrapper = RunContextWrapper(ANN)
    through = await ContextSession(lambda _: session).get_items(wrapper=wrapper)
    assert await session.get_items(wrapper=wrapper) == through
    assert await session.get_items() != through


@pytest.mark.parametrize("name", ["get_items", "pop_item", "clear_session"])
async def test_call_without_a_run_is_an_error(users, sessions, emulator, name):
    with pytest.raises(MissingContextError, match=r"give `context=` to Runner.run\(\)\. Outside of a run"):
        await getattr(sessions, name)()
    with pytest.raises(MissingContextError):
        await sessions.add_items([{"role": "user", "content": "Hello"}])
    assert ([], ()) == (users.selected, emulator.requests)


async def test_encrypting_all_users_at_once_is_an_error(users, sessions):
    """An EncryptedSession has one key for one session: the function encrypts that of each user."""
    encrypted = EncryptedSession("all", sessions, encryption_key="0123456789abcdefghij")
    agent = Agent(name="Guide", model=ScriptedModel([]))
    with pytest.raises(MissingContextError):
        await run(agent, "Hello", session=encrypted, context=ANN)
    assert [] == users.selected


@pytest.mark.parametrize("play", [run, run_streamed], ids=lambda play: play.__name__)
async def test_run_without_a_context_is_an_error(users, sessions, emulator, play):
    agent = Agent(name="Guide", model=ScriptedModel([]))
    with pytest.raises(MissingContextError):
        await play(agent, "Hello", session=sessions)
    assert ([], ()) == (users.selected, emulator.requests)


@pytest.mark.parametrize(
    ("selected", "message"), [(None, "returned NoneType, which has no get_items"), ("conv_1", "returned str")]
)
async def test_selection_of_something_else_is_an_error(selected, message):
    with pytest.raises(TypeError, match=message):
        await ContextSession(lambda _: selected).get_items(wrapper=RunContextWrapper(ANN))


async def test_error_of_the_selection_and_of_its_session_pass(client):
    sessions = ContextSession({}.__getitem__)
    with pytest.raises(KeyError, match="nobody"):
        await sessions.select_session("nobody")
    gone = OpenAIConversationsSession(conversation_id="conv_" + "0" * 48, openai_client=client)
    with pytest.raises(ConversationNotFoundError):
        await ContextSession(lambda _: gone).get_items(wrapper=RunContextWrapper(ANN))


def test_arguments_are_checked():
    with pytest.raises(
        TypeError, match="select must be a function that returns a session for a context, not"
    ):
        ContextSession("conv_1")
    with pytest.raises(ValueError, match="session_id"):
        ContextSession(print, session_id="")
    with pytest.raises(TypeError, match="Unknown session settings: limits"):
        ContextSession(print, session_settings={"limits": 1})


def test_it_is_a_session_of_the_sdk(sessions):
    assert isinstance(sessions, agents.Session)
    assert sessions._ignore_ids_for_matching is True  # the hosted API gives ids of its own
    assert ("context", None) == (sessions.session_id, sessions.session_settings.limit)
    sessions.session_settings = {"limit": 3}
    assert 3 == sessions.session_settings.limit
    assert "<ContextSession session_id='context'>" == repr(sessions)


def test_sessions_are_forgotten_with_their_runs(sessions):
    async def use():
        await sessions.get_items(wrapper=RunContextWrapper(ANN))

    asyncio.run(use())
    assert 0 == len(sessions._selected)
