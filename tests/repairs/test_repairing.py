"""Conversations that a run has left broken, in either mode: after a repair the next response is 200."""

from __future__ import annotations

import asyncio

import agents
import pytest
from agents import Agent, RunConfig, Runner, function_tool

from openai_sessions import sync
from openai_sessions._items.repairs import NOT_COMPLETED, plan_repair
from openai_sessions.errors import SplitItemsError
from tests.faults.stage import Gate, after
from tests.faults.world import texts
from tests.selection import one_in

from .broken import BROKEN, COMPUTER, CUSTOM, SOUND, assistant, call, next_response, thought, user


async def broken(world, history, **options):
    """Return a session on a conversation with a history that another program has written."""
    session = await world.session_with(*SOUND, **options)
    await world.foreign_add(session.session_id, *history)
    return session


@pytest.mark.parametrize("name", BROKEN)
async def test_the_next_response_after_a_repair_is_not_refused(world, name):
    session = await broken(world, BROKEN[name])
    found = await session.check()
    assert not found.is_sound
    report = await session.repair()
    assert report.findings == found.findings
    assert await session.repair() == await world.session(session.session_id).repair()
    assert (await session.check()).findings == ()
    assert await next_response(world.foreign, session.session_id) == 200
    items = await session.get_items()
    assert items[: len(SOUND)] == SOUND
    said = [item for item in BROKEN[name] if "role" in item]
    assert [item for item in items if "role" in item][2 : 2 + len(said)] == said


@pytest.mark.parametrize(
    "name", ["open call", "open call before a question", "output without call", "output of another type"]
)
async def test_without_a_repair_every_response_is_refused(world, name):
    session = await broken(world, BROKEN[name])
    await session.check()
    await session.get_items()
    assert [await next_response(world.foreign, session.session_id) for _ in range(2)] == [400, 400]


async def test_closed_calls_are_read_as_they_were_written(world):
    session = await broken(world, BROKEN["open calls made together"])
    await session.repair()
    items = await session.get_items()
    assert items[-2:] == [
        {"type": "function_call_output", "call_id": "a", "output": NOT_COMPLETED},
        {"type": "custom_tool_call_output", "call_id": "c", "output": NOT_COMPLETED},
    ]
    assert len(items) == len(SOUND) + len(BROKEN["open calls made together"]) + 2


async def test_the_call_of_a_computer_goes_and_everything_else_stays(world):
    session = await broken(world, [user(), thought(1), COMPUTER, call("a")])
    report = await session.repair()
    assert [each.item_type for each in report.findings if each.remedy == "remove"] == ["computer_call"]
    assert [item.get("type") for item in (await session.get_items())[-3:]] == [
        "reasoning",
        "function_call",
        "function_call_output",
    ]


@function_tool
async def look_up(what: str) -> str:
    """Wait for ever, as a tool does in which a run is cancelled."""
    waiting.set()
    await asyncio.Event().wait()
    return what


waiting = asyncio.Event()


async def test_a_run_that_was_cancelled_inside_a_tool(world, emulator):
    """`Runner.run(conversation_id=…)` leaves the call, and the conversation is dead until it is repaired."""
    session = await world.session_with(user("Hello"), assistant("Hi"))
    model = agents.OpenAIResponsesModel(model="emulated", openai_client=world.foreign)
    agent = Agent(name="A", model=model, tools=[look_up])
    emulator.reply({"type": "function_call", "name": "look_up", "arguments": {"what": "it"}})

    async def run(text):
        untraced = RunConfig(tracing_disabled=True)
        result = await Runner.run(agent, text, conversation_id=session.session_id, run_config=untraced)
        return result.final_output

    waiting.clear()
    running = asyncio.ensure_future(run("Look it up"))
    await waiting.wait()
    running.cancel()
    await asyncio.wait([running])
    assert await next_response(world.foreign, session.session_id) == 400
    (finding,) = (await session.repair()).findings
    assert (finding.name, finding.remedy) == ("look_up", "close")
    emulator.reply("What was it?")
    assert await run("Again") == "What was it?"


async def test_what_another_process_adds_during_a_repair_stays(world, stage):
    session = await broken(world, BROKEN["everything"], openai_client=stage.client)
    added: list[str] = []

    async def add():
        added.extend(await world.foreign_add(session.session_id, user(f"foreign {len(added)}")))

    stage.at("create_items", 0, after(add))
    stage.at("delete_item", 0, after(add))
    stage.at("delete_item", 5, after(add))
    await session.repair()
    assert len(added) == 3
    assert set(added) <= set(world.stored_ids(session.session_id))


@pytest.mark.parametrize("operation", ["rewind", "delete_items", "replace_item"])
async def test_what_another_process_adds_meanwhile_stays(world, stage, operation):
    session = await world.session_with(*SOUND, user("last"), assistant("end"), openai_client=stage.client)
    ids = world.stored_ids(session.session_id)
    added: list[str] = []

    async def add():
        added.extend(await world.foreign_add(session.session_id, user("foreign")))

    place = "create_items" if operation == "replace_item" else "delete_item"
    stage.at(place, 0, after(add))
    if operation == "rewind":
        await session.rewind(before_turn=2)
    elif operation == "delete_items":
        await session.delete_items(ids[4:])
    else:
        await session.replace_item(ids[4], user("other"))
    assert len(added) == 1
    kept = ["foreign", "other", "end"] if operation == "replace_item" else ["foreign"]
    assert world.stored(session.session_id)[-len(kept) :] == kept


async def test_two_workers_repair_at_once(world):
    """Session objects of one process wait for each other: the second one finds nothing."""
    session = await broken(world, BROKEN["everything"])
    others = [world.session(session.session_id) for _ in range(2)]
    reports = await asyncio.gather(*(each.repair() for each in (session, *others)))
    assert sorted(len(report.findings) for report in reports)[:2] == [0, 0]
    assert (await session.check()).findings == ()


@pytest.mark.parametrize("name", ["open call", "everything"])
async def test_what_two_processes_close_at_once_is_closed_once_after_another_repair(world, stage, name):
    session = await broken(world, BROKEN[name], openai_client=stage.client)

    async def repair_too(forward):
        """The other process has read the history before, and appends the same outputs first."""
        stage.forget()
        closing = plan_repair(world.emulator.items(session.session_id)).outputs
        await world.foreign_add(session.session_id, *closing)
        return await forward()

    stage.at("create_items", 0, repair_too)
    await session.repair()
    again = await session.repair()
    assert {each.problem for each in again.findings} == {"second output"}
    assert (await session.check()).findings == ()
    assert await next_response(world.foreign, session.session_id) == 200


async def test_an_item_that_a_second_worker_deletes_first_counts_as_deleted(world, stage):
    session = await world.session_with(user("a"), user("b"), user("c"), openai_client=stage.client)
    ids = world.stored_ids(session.session_id)
    stage.at("delete_item", 0, after(lambda: world.foreign_delete(session.session_id, ids[2])))
    deleted = await session.rewind(after_item=ids[0])
    assert deleted.item_ids == tuple(ids[1:])
    assert world.stored(session.session_id) == ["a"]


async def test_a_named_session_repairs_its_conversation(world, tmp_path):
    directory_module = pytest.importorskip("openai_sessions.directory")
    url = f"sqlite+aiosqlite:///{tmp_path}/names.db"
    async with directory_module.SessionDirectory(url, openai_client=world.client) as directory:
        await directory.create_tables()
        session = await directory.session("user_123")
        assert (await session.check()).is_sound
        await session.add_items([user("a"), assistant("b"), user("c")])
        await world.foreign_add(session.session_id, call("x", CUSTOM))
        assert len((await session.repair()).findings) == 1
        assert (await session.rewind(before_turn=2)).items[0] == user("c")
        (first, second) = (await session.turns())[0].item_ids
        replaced = await session.replace_item(second, assistant("B"))
        await session.delete_items([first])
        assert world.stored_ids(session.session_id) == list(replaced.new_ids.values())


def test_a_sync_session_repairs_its_conversation(emulator, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-emulator")
    with emulator.serve() as base_url:
        monkeypatch.setenv("OPENAI_BASE_URL", base_url)
        repair_without_async()


def repair_without_async():
    with sync.OpenAIConversationsSession() as session:
        assert session.check() == session.repair()
        session.add_items([user("a"), assistant("b"), user("c"), call("x")])
        assert not session.check().is_sound
        assert session.repair().is_sound
        first, second, *pair = (item_id for turn in session.turns() for item_id in turn.item_ids)
        with pytest.raises(SplitItemsError):
            session.delete_items(pair[1:2])
        assert len(session.rewind(after_item=second).item_ids) == 3
        session.replace_item(second, assistant("B"))
        session.delete_items([first])
        assert texts(session.get_items()) == ["B"]


PHASES = {
    "reading": ("list_items", 0),
    "closing": ("create_items", 0),
    "deleting": ("delete_item", 0),
    "deleting more": ("delete_item", 9),
}


@pytest.mark.parametrize("moment", one_in(2, ["after", "before"]))
@pytest.mark.parametrize("phase", PHASES)
async def test_a_cancelled_repair_is_undone_or_leaves_what_another_repairs(
    world, stage, phase, moment, caplog
):
    history = [item for n in range(30) for item in (user(), call(f"old {n}"))]
    session = await world.session_with(*history, user(), call("new"), openai_client=stage.client)
    before = world.stored_ids(session.session_id)
    gate = Gate()
    operation, number = PHASES[phase]
    stage.at(operation, number, getattr(gate, moment))
    repairing = asyncio.ensure_future(session.repair())
    await gate.reached.wait()
    repairing.cancel()
    await asyncio.sleep(0)
    gate.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await repairing
    after_it = world.stored_ids(session.session_id)
    left = [item_id for item_id in before if item_id in after_it]
    if not phase.startswith("deleting"):
        assert after_it == before
    else:
        assert 0 < len(before) - len(left) < 30
        named = [item_id for item_id in before if item_id in caplog.text]
        assert named == [item_id for item_id in left if item_id in named]
        assert len(named) == 30 - (len(before) - len(left))
    await session.repair()
    assert await next_response(world.foreign, session.session_id) == 200


@pytest.mark.parametrize("moment", one_in(2, ["after", "before"]))
@pytest.mark.parametrize("number", [0, 9, 19])
async def test_a_cancelled_rewind_leaves_the_beginning_of_the_history(world, stage, number, moment):
    """The deletions in flight end, and no other is started."""
    session = await world.session_with(*(user(f"q{n}") for n in range(30)), openai_client=stage.client)
    before = world.stored_ids(session.session_id)
    gate = Gate()
    stage.at("delete_item", number, getattr(gate, moment))
    rewinding = asyncio.ensure_future(session.rewind(before_turn=4))
    await gate.reached.wait()
    rewinding.cancel()
    await asyncio.sleep(0)
    gate.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await rewinding
    left = world.stored_ids(session.session_id)
    assert left == before[: len(left)]
    assert 3 < len(left) < 30


@pytest.mark.parametrize(
    ("operation", "expected"), [("list_items", "old"), ("create_items", "old"), ("delete_item", "new")]
)
async def test_a_cancelled_replacement_is_undone_or_completed(world, stage, operation, expected):
    session = await world.session_with(*(user(f"q{n}") for n in range(30)), openai_client=stage.client)
    before = world.stored(session.session_id)
    gate = Gate()
    stage.at(operation, 0, gate.after)
    item_id = world.stored_ids(session.session_id)[5]
    replacing = asyncio.ensure_future(session.replace_item(item_id, user("other")))
    await gate.reached.wait()
    replacing.cancel()
    await asyncio.sleep(0)
    gate.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await replacing
    replaced = [*before[:5], "other", *before[6:]]
    assert world.stored(session.session_id) == (before if expected == "old" else replaced)
