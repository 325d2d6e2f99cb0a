"""Limits of tokens that the server counts: the requests for each read, and what is returned."""

from __future__ import annotations

import openai
import pytest

from openai_sessions import EncryptedSession, HistoryLimits, OpenAIConversationsSession
from openai_sessions.directory import SessionDirectory
from openai_sessions.emulator import Fault
from openai_sessions.errors import InvalidResponseError, TokenCountError
from openai_sessions.tokens import CountedBlock, ServerTokens
from tests.wire import FAST, Wire, arguments, error, page

from .histories import assistant, call, message, output, user
from .test_wire import TURN, Server, history

MODEL = "gpt-5-mini"
TOOL = {"type": "function", "name": "add", "parameters": {"type": "object"}, "strict": False}


class Counting(Server):
    """A server that lists items, and counts 10 tokens for each and 3 for each request."""

    def _answer(self, call):
        if call.path != "/responses/input_tokens":
            return super()._answer(call)
        named = bool(call.body.get("tools")) + bool(call.body.get("instructions"))
        tokens = 3 + 10 * len(call.body["input"]) + 100 * named
        return 200, {"object": "response.input_tokens", "input_tokens": tokens}

    @property
    def sizes(self) -> list[int]:
        """The number of items in each request for a count since the last call; -1 for other requests."""
        calls, self.wire.calls[:] = self.wire.calls[:], []
        return [len(call.body["input"]) if call.path.endswith("/input_tokens") else -1 for call in calls]

    def append(self, *items: dict) -> None:
        self.items += items


@pytest.fixture
def counter():
    return ServerTokens(model=MODEL)


def turns(read: list) -> int:
    assert len(read) % TURN == 0
    return len(read) // TURN


async def test_a_history_that_fits_is_counted_in_one_request(counter):
    server = Counting(history(10))
    session = server.session()
    assert turns(await session.get_items(max_tokens=403, count_tokens=counter)) == 10
    assert server.asked == [
        "GET /conversations/conv_1/items limit=100 order=desc",
        "POST /responses/input_tokens",
    ]
    read = [
        {"role": "user", "content": "q0"},
        {"type": "function_call", "call_id": "c0"},
        {"type": "function_call_output", "call_id": "c0"},
        {"role": "assistant", "content": "a0"},
    ]
    body = server.wire.calls[1].body
    assert (body["model"], body["input"][:4], sorted(body)) == (MODEL, read, ["input", "model"])


async def test_what_was_counted_is_not_counted_again(counter):
    server = Counting(history(10))
    for _ in range(2):  # another session with the same counter
        assert turns(await server.session().get_items(max_tokens=403, count_tokens=counter)) == 10
    assert server.sizes == [-1, 40, -1]
    assert (
        turns(await server.session().get_items(max_tokens=403, count_tokens=ServerTokens(model=MODEL))) == 10
    )
    assert server.sizes == [-1, 40]


async def test_only_new_turns_are_counted(counter):
    server = Counting(history(10))
    session = server.session()
    await session.get_items(max_tokens=1000, count_tokens=counter)
    server.sizes  # noqa: B018 -- forget them
    for number in range(3):
        server.append(user(f"new {number}"), assistant())
        await session.get_items(max_tokens=1000, count_tokens=counter)
        assert server.sizes == [-1, 2]


async def test_a_history_that_does_not_fit_is_halved(counter):
    server = Counting(history(16))
    session = server.session()
    assert turns(await session.get_items(max_tokens=230, count_tokens=counter)) == 5
    # 16 turns do not fit, the newest 8 do not, 4 do, of the next 4 two do not, one does
    assert server.sizes == [-1, 64, 32, 16, 8, 4]
    assert turns(await session.get_items(max_tokens=230, count_tokens=counter)) == 5
    assert server.sizes == [-1]
    server.append(*[user("new"), assistant(), assistant(), assistant()])
    assert turns(await session.get_items(max_tokens=230, count_tokens=counter)) == 5
    assert server.sizes == [-1, 4]


@pytest.mark.parametrize("budget", range(0, 12 * 45, 19))
async def test_a_read_never_exceeds_the_limit_and_has_what_fits(counter, budget):
    """Of what fits at most one turn is left out, for the tokens that each request adds."""
    server = Counting(history(12))
    read = turns(await server.session().get_items(max_tokens=budget, count_tokens=counter))
    fitting = max(number for number in range(13) if number == 0 or 3 + 40 * number <= budget)
    assert read in {fitting, max(0, fitting - 1)}


async def test_a_long_history_is_counted_page_by_page(counter):
    server = Counting(history(100))
    session = server.session()
    assert turns(await session.get_items(max_tokens=1500, count_tokens=counter)) == 37
    # 25 turns on the first page; of the 25 on the second one the newest 12 fit, 6 more do not, 3, 1
    assert server.sizes == [-1, 100, -1, 100, 48, 24, 12, 4]
    server.append(*[user("new"), assistant(), assistant(), assistant()])
    assert turns(await session.get_items(max_tokens=1500, count_tokens=counter)) == 37
    assert server.sizes == [-1, 4, -1, 24, 12, 4, 4]


async def test_an_incremental_history_takes_the_newest_page(counter):
    server = Counting(history(60))
    session = server.session(history="incremental")
    assert turns(await session.get_items(max_tokens=1 << 20, count_tokens=counter)) == 60
    assert [size for size in server.sizes if size > 0] == [100, 100, 40]
    assert turns(await session.get_items(max_tokens=1 << 20, count_tokens=counter)) == 60
    assert server.sizes == [-1]


async def test_instructions_and_tools_are_counted_once():
    counter = ServerTokens(model=MODEL, instructions="Be kind.", tools=[TOOL])
    server = Counting(history(2))
    limits = HistoryLimits(max_tokens=213 + 83, count_tokens=counter)
    assert turns(await server.session(history_limits=limits).get_items()) == 2
    empty = {"role": "user", "content": ""}
    counted = [call.body for call in server.wire.calls if call.body]
    assert counted[0] == {"model": MODEL, "instructions": "Be kind.", "tools": [TOOL], "input": [empty]}
    assert sorted(counted[1]) == ["input", "model"]
    assert server.sizes == [-1, 1, 8]
    assert turns(await server.session().get_items(max_tokens=213 + 82, count_tokens=counter)) == 1
    assert server.sizes == [-1, 4]


async def test_instructions_over_the_limit_leave_nothing():
    counter = ServerTokens(model=MODEL, instructions="Be kind.")
    server = Counting(history(100))
    assert await server.session().get_items(max_tokens=50, count_tokens=counter) == []
    assert server.sizes == [-1, 1]


async def test_another_history_with_the_same_newest_turn_is_counted_for_itself(counter):
    server = Counting(history(10))
    await server.session().get_items(max_tokens=1000, count_tokens=counter)
    server.items = server.items[-8:]
    assert turns(await server.session().get_items(max_tokens=83, count_tokens=counter)) == 2
    assert server.sizes == [-1, 40, -1, 8]


async def test_a_request_for_a_count_has_at_most_the_bytes_of_any_request(counter):
    server = Counting(history(10))
    session = server.session(max_bytes=500)
    assert turns(await session.get_items(max_tokens=1000, count_tokens=counter)) == 10
    assert server.sizes == [-1, 12, 12, 12, 4]
    assert turns(await server.session().get_items(max_tokens=1000, count_tokens=counter)) == 10


def test_the_latest_ten_thousand_counts_are_remembered(counter):
    block = CountedBlock(1, b"", 1)
    for number in range(10_001):
        counter.memory.put("http://localhost/v1", b"%d" % number, block)
    found = [counter.memory.get("http://localhost/v1", b"%d" % number) for number in (0, 1, 10_000)]
    assert found == [None, block, block]


async def test_other_limits_apply_too(counter):
    server = Counting(history(10))
    assert turns(await server.session().get_items(9, max_tokens=1000, count_tokens=counter)) == 2
    assert server.sizes == [-1, 8]
    assert turns(await server.session().get_items(turns=3, max_tokens=1000, count_tokens=counter)) == 3
    assert await server.session().get_items(max_tokens=0, count_tokens=counter) == []


async def test_nothing_is_counted_of_an_empty_history(counter):
    server = Counting([])
    assert await server.session().get_items(max_tokens=5, count_tokens=counter) == []
    assert server.sizes == [-1]


async def test_a_call_without_its_output_is_not_sent_to_be_counted(counter):
    """The server would refuse it; the run that answers it is to get it all the same."""
    server = Counting([output("lost"), message("system", "Be brief."), user("one"), call("open")])
    assert len(await server.session().get_items(max_tokens=1000, count_tokens=counter)) == 4
    assert [each.get("role") for each in server.wire.calls[1].body["input"]] == ["system", "user"]
    server = Counting([call("open")])
    assert len(await server.session().get_items(max_tokens=1, count_tokens=counter)) == 1
    assert server.sizes == [-1]


COMPACTION = {"id": "cmp_1", "type": "compaction", "encrypted_content": "gAAAA"}


@pytest.mark.parametrize(
    ("budget", "read", "counted"),
    [(103, 10, [10]), (102, 9, [10, 8, 1]), (95, 8, [10, 8, 1]), (50, 4, [10, 8, 4])],
)
async def test_a_compaction_item_is_counted_with_the_messages_before_it(counter, budget, read, counted):
    """It and they are left out before any turn after it is."""
    server = Counting([*history(3), user("kept"), COMPACTION, *history(2)])
    items = await server.session().get_items(max_tokens=budget, count_tokens=counter)
    assert (len(items), server.sizes) == (read, [-1, *counted])


async def test_an_output_is_counted_with_its_call_before_the_compaction_item(counter):
    items = [user("old"), call("c"), COMPACTION, output("c"), user("new"), assistant()]
    server = Counting(items)
    assert len(await server.session().get_items(max_tokens=53, count_tokens=counter)) == 5
    assert [each["type"] for each in server.wire.calls[1].body["input"] if "type" in each] == [
        *("function_call", "compaction", "function_call_output")
    ]
    assert len(await server.session().get_items(max_tokens=52, count_tokens=counter)) == 2


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_a_server_that_does_not_count_is_named_with_the_remedy(counter, status):
    wire = Wire(lambda call: error(status, message="nowhere") if call.method == "POST" else page("msg_1"))
    session = OpenAIConversationsSession(
        conversation_id="conv_1", openai_client=wire.client, **arguments(retry_policy=FAST)
    )
    with pytest.raises(
        TokenCountError, match=r"/v1 does not count tokens.*nowhere.*tiktoken_counter\(\)"
    ) as caught:
        await session.get_items(max_tokens=10, count_tokens=counter)
    assert caught.value.status == caught.value.__cause__.status_code == status
    assert caught.value.address == str(wire.client.base_url).rstrip("/")
    assert [str(call) for call in wire.calls] == [
        "GET /conversations/conv_1/items",
        "POST /responses/input_tokens",
    ]


async def test_an_unknown_model_is_the_servers_error(counter):
    wire = Wire(lambda call: error(404, "model_not_found") if call.path.endswith("tokens") else page("msg_1"))
    session = OpenAIConversationsSession(conversation_id="conv_1", openai_client=wire.client)
    with pytest.raises(openai.NotFoundError) as caught:
        await session.get_items(max_tokens=10, count_tokens=counter)
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize("body", [{}, {"input_tokens": "12"}, {"input_tokens": True}, {"input_tokens": -1}])
async def test_an_answer_without_a_count_is_refused(counter, body):
    wire = Wire(lambda call: (200, body) if call.path.endswith("tokens") else page("msg_1"))
    session = OpenAIConversationsSession(conversation_id="conv_1", openai_client=wire.client)
    with pytest.raises(InvalidResponseError, match="'count tokens' has no number of tokens"):
        await session.get_items(max_tokens=10, count_tokens=counter)


async def test_a_lost_count_is_requested_again(emulator, counter):
    session = OpenAIConversationsSession(openai_client=emulator.client(), **arguments(retry_policy=FAST))
    await session.add_items([{"role": "user", "content": "one two"}])
    for kind in ("cut_before", "error_500_before", "throttled", "not_json"):
        emulator.forget_requests()
        emulator.inject(Fault(kind), operation="count_input_tokens")
        counter = ServerTokens(model=MODEL)
        assert len(await session.get_items(max_tokens=2, count_tokens=counter)) == 1
        assert [each.operation for each in emulator.requests] == [
            "list_items",
            "count_input_tokens",
            "count_input_tokens",
        ]


IMAGE = {
    "role": "user",
    "content": [{"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}],
}


async def test_images_count(emulator, counter):
    session = OpenAIConversationsSession(openai_client=emulator.client())
    await session.add_items([IMAGE, {"role": "assistant", "content": "A cat."}])
    assert await session.get_items(max_tokens=86, count_tokens=counter) == []
    assert len(await session.get_items(max_tokens=87, count_tokens=counter)) == 2
    assert len(await session.get_items(max_tokens=2, count_tokens=lambda text: len(text.split()))) == 2


async def test_a_turn_counts_what_it_has_added(emulator, counter):
    limits = HistoryLimits(max_tokens=4, count_tokens=counter)
    session = OpenAIConversationsSession(openai_client=emulator.client(), history_limits=limits)
    one, two, three = ({"role": "user", "content": text} for text in ("one one", "two two", "three three"))
    await session.add_items([one, two])
    async with session.turn() as turn:
        assert await turn.get_items() == [one, two]
        await turn.add_items([three])
        assert await turn.get_items() == [two, three]
        counted = [each.body["input"] for each in emulator.requests if each.operation == "count_input_tokens"]
        assert [len(given) for given in counted] == [2, 1, 1]
    assert await session.get_items() == [two, three]
    assert emulator.requests[-1].operation == "list_items"  # what the turn has counted is known


async def test_a_named_session_counts(emulator, counter, tmp_path):
    url = f"sqlite+aiosqlite:///{tmp_path / 'sessions.db'}"
    async with SessionDirectory(url, openai_client=emulator.client()) as directory:
        await directory.create_tables()
        session = await directory.session(
            "user", history_limits=HistoryLimits(max_tokens=2, count_tokens=counter)
        )
        await session.add_items(
            [{"role": "user", "content": "one one"}, {"role": "user", "content": "two two"}]
        )
        assert await session.get_items() == [{"role": "user", "content": "two two"}]


def test_an_encrypted_session_refuses_one_whose_tokens_are_counted(emulator, counter):
    limits = HistoryLimits(max_tokens=2, count_tokens=counter)
    session = OpenAIConversationsSession(openai_client=emulator.client(), history_limits=limits)
    with pytest.raises(ValueError, match="would apply them to encrypted items"):
        EncryptedSession("user", session, "0123456789abcdef")


@pytest.mark.parametrize("value", ["server", 7])
async def test_what_counts_no_tokens_is_refused_with_the_remedy(emulator, value):
    session = OpenAIConversationsSession(openai_client=emulator.client())
    with pytest.raises(TypeError, match=rf"ServerTokens\(model=…\), not {value!r}"):
        await session.get_items(max_tokens=1, count_tokens=value)
    with pytest.raises(TypeError, match=r"ServerTokens\(model=…\)"):
        HistoryLimits(max_tokens=1, count_tokens=value)


@pytest.mark.parametrize(
    ("arguments", "expected", "says"),
    [
        ({"model": None}, TypeError, "model must be the name of a model"),
        ({"model": ""}, ValueError, "model is empty"),
        ({"model": MODEL, "instructions": 7}, TypeError, "instructions must be a string, not 7"),
        ({"model": MODEL, "tools": "add"}, TypeError, "tools must be a list of dicts"),
        ({"model": MODEL, "tools": {}}, TypeError, "tools must be a list of dicts"),
    ],
)
def test_a_counter_of_wrong_arguments_is_refused(arguments, expected, says):
    with pytest.raises(expected, match=says):
        ServerTokens(**arguments)
