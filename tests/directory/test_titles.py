"""Titles that a function generates, and counts of turns."""

import asyncio
from contextlib import contextmanager

import pytest
from agents import Agent, RunConfig, Runner
from cryptography.fernet import Fernet
from openai import AsyncOpenAI

from openai_sessions._instrumentation import observed_by
from openai_sessions.directory import SessionDirectory
from openai_sessions.emulator import Fault
from openai_sessions.emulator._server import in_process_client
from openai_sessions.encryption import EncryptedSession
from openai_sessions.session import OpenAIConversationsSession
from tests.agents.scripted import ScriptedModel, add, calls
from tests.agents.scripted import says as model_says

from .stage import made, user
from .test_conversations import statements

LIST = "GET /v1/conversations/ID/items"
ITEMS = "POST /v1/conversations/ID/items"


def says(text):
    return {"role": "assistant", "content": text}


TURN = [user("Hello"), says("Hi!")]


async def entry_of(directory, name="chat_1"):
    return await directory.get(name)


class Titles:
    """Generates titles, and records what it got."""

    def __init__(self, title="Greetings"):
        self.title = title
        self.asked = []

    async def __call__(self, items):
        self.asked.append(items)
        return self.title


@pytest.fixture
def titles():
    return Titles()


@pytest.fixture
def titled(open_directory, titles):
    """A directory that generates titles."""
    return open_directory(title_with=titles)


async def test_the_first_turn_gives_the_title(titled, titles, emulator):
    """In one request more, and once; the function gets the turn in replay form."""
    session = await titled.session("chat_1", user="alice")
    await session.add_items([user("Hello")])
    assert (None, 0) == ((await entry_of(titled)).title, (await entry_of(titled)).turn_count)
    emulator.forget_requests()
    await session.add_items([says("Hi!")])
    assert [ITEMS, LIST] == made(emulator)
    assert [TURN] == titles.asked
    entry = await entry_of(titled)
    assert ("Greetings", 1, "alice") == (entry.title, entry.turn_count, entry.user)
    assert ["chat_1"] == [e.name for e in (await titled.conversations(search="greet")).entries]
    emulator.forget_requests()
    await session.add_items(TURN)
    assert ([ITEMS], 1) == (made(emulator), len(titles.asked))
    assert 2 == (await entry_of(titled)).turn_count


async def test_a_turn_of_a_long_history_is_read_from_the_newest_page(titled, titles, client, emulator):
    conversation = await client.conversations.create()
    existing = OpenAIConversationsSession(conversation_id=conversation.id, openai_client=client)
    await existing.add_items([*TURN * 60, user("question"), *(says(f"{n}") for n in range(70))])
    session = await titled.register("chat_1", conversation.id)
    emulator.forget_requests()
    await session.add_items([says("70")])
    assert 1 == made(emulator).count(LIST)
    assert [[user("question"), *(says(f"{n}") for n in range(71))]] == titles.asked
    assert 1 == (await entry_of(titled)).turn_count


async def test_title_is_stripped_and_cut(titled, titles):
    expected = [("  Greetings \n", "Greetings"), ("ab" * 200, ("ab" * 200)[:255])]
    for title, stored in [*expected, *((none, None) for none in ("", " \n", None, "\0", 7))]:
        titles.title = title
        session = await titled.session(repr(title)[:20])
        await session.add_items(TURN)
        titles.title = "Greetings"
        await session.add_items(TURN)  # for which it is not asked again
        assert stored == (await entry_of(titled, session.name)).title


async def test_function_may_be_synchronous(open_directory):
    directory = open_directory(title_with=lambda items: items[0]["content"])
    await (await directory.session("chat_1")).add_items(TURN)
    assert "Hello" == (await entry_of(directory)).title
    with pytest.raises(TypeError, match="title_with must be a function, not 'x'"):
        SessionDirectory(title_with="x")


@pytest.mark.parametrize("way", ["raises", "read fails", "count fails"])
async def test_failure_never_fails_the_turn(open_directory, emulator, caplog, way):
    def fail(items):
        raise LookupError(items)

    directory = open_directory(title_with=fail)
    session = await directory.session("chat_1")
    if way == "read fails":
        emulator.inject(Fault("error_500_before"), operation="list_items", times=100)
    if way == "count fails":
        await session.ensure_conversation()
        session._registration.count_turn = fail_to_count
    await session.add_items(TURN)
    expected = {"read fails": "InternalServerError", "raises": "LookupError", "count fails": "OSError"}
    (message,) = [each for each in caplog.messages if "title" in each]
    assert f"{session.session_id} has no title, or a turn is not counted: {expected[way]}" == message
    emulator.clear_faults()
    assert TURN == await session.get_items()
    await session.add_items(TURN)
    assert None is (await entry_of(directory)).title


async def fail_to_count(*_, **__):
    raise OSError


async def test_cancellation_reaches_the_caller_and_the_turn_stays_stored(open_directory):
    asked, forever = asyncio.Event(), asyncio.Event()

    async def wait(_):
        asked.set()
        await forever.wait()

    directory = open_directory(title_with=wait)
    session = await directory.session("chat_1")
    writing = asyncio.ensure_future(session.add_items(TURN))
    await asked.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert TURN == await session.get_items()
    assert (None, 1) == ((await entry_of(directory)).title, (await entry_of(directory)).turn_count)


@pytest.mark.parametrize("title", ["Mine", None])
async def test_title_that_was_set_meanwhile_stays(open_directory, other, title):
    async def generate(_):
        await other.set_title("chat_1", title)
        if title is None:
            session = await other.session("chat_1")
            await session.clear_session()
            await session.add_items([user("new")])
        return "Generated"

    directory = open_directory(title_with=generate)
    await (await directory.session("chat_1")).add_items(TURN)
    assert title == (await entry_of(directory)).title


async def test_a_name_with_a_title_is_not_asked_for(titled, titles):
    session = await titled.session("chat_1", title="Mine")
    await session.add_items(TURN)
    assert (("Mine", 1), []) == (
        ((await entry_of(titled)).title, (await entry_of(titled)).turn_count),
        titles.asked,
    )


async def test_runs_of_the_agents_sdk_are_turns(titled, titles):
    """Each is one, whatever its calls of tools."""
    model = ScriptedModel(
        [[calls("add", '{"a": 1, "b": 2}')], [model_says("3.")], [model_says("You are welcome.")]]
    )
    agent = Agent(name="Tester", model=model, tools=[add])
    session = await titled.session("chat_1")
    for question in ("What is 1 + 2?", "Thanks"):
        await Runner.run(agent, question, session=session, run_config=RunConfig(tracing_disabled=True))
    assert 2 == (await entry_of(titled)).turn_count
    ((question, *_, answer),) = titles.asked
    assert user("What is 1 + 2?") == question
    assert "3." == answer["content"]


async def test_of_many_processes_one_generates_the_title(open_directory, titles):
    directories = [open_directory(title_with=titles) for _ in range(6)]
    sessions = [await directory.session("chat_1") for directory in directories]
    await asyncio.gather(*(session.add_items(TURN) for session in sessions))
    entry = await entry_of(directories[0])
    assert ("Greetings", 6, 1) == (entry.title, entry.turn_count, len(titles.asked))


@pytest.mark.parametrize("by_hand", [None, "Mine"])
async def test_a_cleared_conversation_leaves_no_generated_title(titled, titles, by_hand):
    """A title that was set by hand stays."""
    session = await titled.session("chat_1")
    await session.add_items(TURN)
    if by_hand:
        await titled.set_title("chat_1", by_hand)
    await session.clear_session()
    assert by_hand == (await entry_of(titled)).title
    titles.title = "Another subject"
    await session.add_items(TURN)
    assert (by_hand or "Another subject") == (await entry_of(titled)).title
    assert (1 if by_hand else 2) == len(titles.asked)


async def test_clearing_another_branch_leaves_the_title(titled):
    await (await titled.session("chat_1")).add_items(TURN)
    retry = await titled.fork("chat_1", "retry")
    await retry.clear_session()
    assert "Greetings" == (await entry_of(titled)).title
    await titled.switch("chat_1", "retry")
    await retry.add_items(TURN)
    await retry.clear_session()
    assert None is (await entry_of(titled)).title


async def test_removed_title_is_not_generated_again(titled, titles):
    session = await titled.session("chat_1")
    await session.add_items(TURN)
    await titled.set_title("chat_1", None)
    await session.add_items(TURN)
    assert (None, 1) == ((await entry_of(titled)).title, len(titles.asked))


async def test_reset_name_is_titled_again(titled, titles, clock):
    session = await titled.session("chat_1", expires_in=60)
    await session.add_items(TURN)
    clock.advance(minutes=2)
    titles.title = "Again"
    await session.add_items(TURN)
    entry = await entry_of(titled)
    assert ("Again", 1, 2) == (entry.title, entry.turn_count, len(titles.asked))


async def test_turns_of_a_block_count_once(titled, titles):
    session = await titled.session("chat_1")
    async with session.turn(exclusive=True) as turn:
        await turn.add_items(TURN)
        await turn.add_items(TURN)
        assert [] == titles.asked
    async with session.turn() as turn:
        await turn.add_items([user("unanswered")])
    assert [TURN] == titles.asked
    assert 1 == (await entry_of(titled)).turn_count


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_answers_that_the_model_stores_count(titled, titles, emulator, is_streamed):
    emulator.reply("Hi!")
    emulator.reply("Bye!")
    session = await titled.session("chat_1")
    conversation_id = await session.ensure_conversation()
    client = session.client()
    for number, text in enumerate(["Hello", "Goodbye"], 1):
        answer = await client.responses.create(
            model="gpt-5-mini", input=text, conversation=conversation_id, stream=is_streamed
        )
        if is_streamed:
            async for event in answer:
                if event.type == "response.completed":  # a caller may stop here
                    break
        entry = await entry_of(titled)
        assert ("Greetings", number) == (entry.title, entry.turn_count)
    assert [TURN] == titles.asked


@pytest.mark.parametrize(
    "fault", [Fault("cut_after_commit"), Fault("cut_mid_stream_after_commit", after_events=5)]
)
async def test_answer_whose_reply_was_lost_counts_once(open_directory, titles, emulator, fault):
    emulator.reply("Hi!")
    with emulator.serve() as base_url:
        async with AsyncOpenAI(base_url=base_url, api_key="sk-emulator") as client:
            directory = open_directory(openai_client=client, title_with=titles)
            session = await directory.session("chat_1")
            conversation_id = await session.ensure_conversation()
            emulator.inject(fault, operation="create_response")
            answer = await session.client().responses.create(
                model="gpt-5-mini", input="Hello", conversation=conversation_id, stream=True
            )
            types = [event.type async for event in answer]
    assert "response.completed" == types[-1]
    assert ([TURN], 1) == (titles.asked, (await entry_of(directory)).turn_count)


async def test_answer_counts_once_whatever_follows_in_the_stream(open_directory, titles, emulator):
    """Some gateways end a stream with [DONE]."""

    async def gateway(scope, receive, send):
        async def send_with_end(message):
            if message["type"] == "http.response.body" and b"response.completed" in message["body"]:
                message = {**message, "body": message["body"] + b"data: [DONE]\n\n"}
            await send(message)

        await emulator(scope, receive, send_with_end)

    emulator.reply("Hi!")
    async with in_process_client(gateway, api_key="sk-gateway") as client:
        directory = open_directory(openai_client=client, title_with=titles)
        session = await directory.session("chat_1")
        conversation_id = await session.ensure_conversation()
        async with session.client().responses.with_streaming_response.create(
            model="gpt-5-mini", input="Hello", conversation=conversation_id, stream=True
        ) as response:
            assert b"".join([part async for part in response.iter_bytes()]).endswith(b"[DONE]\n\n")
        assert 1 == (await entry_of(directory)).turn_count


async def test_response_in_another_conversation_does_not_count(titled, titles, emulator, client):
    emulator.reply("Hi!")
    session = await titled.session("chat_1")
    await session.ensure_conversation()
    other = await client.conversations.create()
    await session.client().responses.create(model="gpt-5-mini", input="Hello", conversation=other.id)
    assert ([], 0) == (titles.asked, (await entry_of(titled)).turn_count)


@pytest.mark.parametrize("exclusive", [False, True])
async def test_server_managed_turn_counts_once_if_it_succeeds(titled, titles, emulator, exclusive):
    for _ in range(3):
        emulator.reply("Hi!")
    session = await titled.session("chat_1")

    async def answer(times, error=None):
        async with session.turn(server_managed=True, exclusive=exclusive) as turn:
            for _ in range(times):
                await turn.client.responses.create(
                    model="gpt-5-mini", input="Hello", conversation=turn.conversation_id
                )
            if error is not None:
                raise error

    with pytest.raises(LookupError):
        await answer(1, LookupError())
    assert ([], 0) == (titles.asked, (await entry_of(titled)).turn_count)
    await answer(2)
    assert ([TURN], 1) == (titles.asked, (await entry_of(titled)).turn_count)


async def test_tokens_of_an_encrypted_session_end_no_turn(titled, titles):
    session = EncryptedSession("chat_1", await titled.session("chat_1"), Fernet.generate_key().decode())
    await session.add_items(TURN)
    async with session.turn() as turn:
        await turn.add_items(TURN)
    assert ([], 0) == (titles.asked, (await entry_of(titled)).turn_count)


async def test_clear_starts_at_zero_and_a_fork_at_what_it_copies(directory):
    session = await directory.session("chat_1")
    for _ in range(3):
        await session.add_items(TURN)
    await session.add_items([user("unanswered")])
    await directory.fork("chat_1", "copy")
    await directory.fork("chat_1", "retry", before_turn=3)
    counts = {}
    for branch in ("main", "copy", "retry"):
        await directory.switch("chat_1", branch)
        counts[branch] = (await entry_of(directory)).turn_count
    assert {"main": 3, "copy": 3, "retry": 2} == counts
    await (await directory.session("chat_1")).clear_session()
    assert 0 == (await entry_of(directory)).turn_count


async def test_a_turn_is_one_transaction_more(titled, directory):
    """Of two statements, or one without a function for titles."""
    for opened, expected in ((titled, 2), (directory, 1)):
        session = await opened.session("chat_1")
        await session.add_items(TURN)
        async with statements() as plain:
            await session.add_items([user("Hello")])
        async with statements() as ending:
            await session.add_items([says("Hi!")])
        assert plain == ending[: len(plain)]
        assert ["UPDATE"] * expected == [statement.split()[0] for statement in ending[len(plain) :]]


class Started:
    """An observer that records which operations start."""

    def __init__(self):
        self.names = []

    def start(self, operation):
        self.names.append(operation.name)
        return self

    @contextmanager
    def entered(self):
        yield

    def tell(self, event):
        pass

    def end(self, error):
        pass


async def test_what_the_function_does_is_no_part_of_the_write(open_directory):
    """It may use the session."""

    async def look(items):
        return str(await session.get_items() == items)

    directory = open_directory(title_with=look)
    session = await directory.session("chat_1")
    started = Started()
    with observed_by(started):
        await session.add_items(TURN)
    assert ["add_items", "get_items"] == started.names
    assert "True" == (await entry_of(directory)).title
