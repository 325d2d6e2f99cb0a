"""What swapping, replaying, reordering and dropping tokens does; honest writers give no alarm."""

import asyncio
from contextlib import suppress

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openai_sessions import Compaction, OpenAIConversationsSession, RequestSettings, SessionError
from openai_sessions.emulator import Emulator, Fault
from openai_sessions.emulator._server import in_process_client
from openai_sessions.encryption import EncryptedSession, SkippedItems
from openai_sessions.encryption._envelope import OpenedItem, Unreadable, as_written
from tests.selection import examples
from tests.turns.test_compact import Beside, question_and_answer, shown
from tests.wire import FAST

from .stores import KEY, OTHER_KEY, Clock, ListSession, said, texts
from .test_key_stores import MemoryKeys
from .test_popping import GatedSession

CALL = {"type": "function_call", "call_id": "call_1", "name": "pay", "arguments": '{"euros": 100}'}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "paid"}


@pytest.fixture
def stored():
    return ListSession()


@pytest.fixture
async def session(encrypted, stored):
    """A session over `stored`, with three writes: of 1 and 2, of 3 to 6, and of 7."""
    session = encrypted(stored)
    for words in ("12", "3456", "7"):
        await session.add_items(said(*words))
    return session


def moved(items, source, target):
    items.insert(target, items.pop(source))


def repeated(items, source):
    items.append(dict(items[source]))


def respelled(items, source):
    """Repeat a token in another spelling, which decodes to the same bytes."""
    text = items[source]["content"]
    items.append({"role": "user", "content": text[:40] + "!" + text[40:]})


ATTACKS = {
    "nothing": (lambda items: None, "1234567", SkippedItems()),
    "replay one": (lambda items: repeated(items, 0), "1234567", SkippedItems(repeated=1)),
    "replay all": (lambda items: items.extend(items[:]), "1234567", SkippedItems(repeated=7)),
    "replay before the first": (
        lambda items: items.insert(0, items[6]),
        "7123456",
        SkippedItems(repeated=1),
    ),
    "replay in another spelling": (
        lambda items: respelled(items, 0),
        "1234567",
        SkippedItems(repeated=1),
    ),
    "reorder two of a write": (lambda items: moved(items, 2, 3), "1234567", SkippedItems(reordered=2)),
    "reverse all": (lambda items: items.reverse(), "7345612", SkippedItems(reordered=6)),
    "move to another write": (lambda items: moved(items, 2, 6), "1234576", SkippedItems(reordered=4)),
    "reorder writes": (lambda items: moved(items, 6, 0), "7123456", SkippedItems()),
    "drop one in a write": (lambda items: items.pop(3), "123567", SkippedItems(missing=1)),
    "drop two in a write": (lambda items: items.__delitem__(slice(3, 5)), "12367", SkippedItems(missing=2)),
    "drop the first of a write": (lambda items: items.pop(2), "124567", SkippedItems()),
    "drop the last of a write": (lambda items: items.pop(5), "123457", SkippedItems()),
    "drop a write": (lambda items: items.__delitem__(slice(2, 6)), "127", SkippedItems()),
    "drop the newest": (lambda items: items.pop(), "123456", SkippedItems()),
}
"""What is done to the stored items, what is then read, and what is counted."""


@pytest.mark.parametrize("name", ATTACKS)
async def test_what_a_store_can_do(session, stored, name):
    attack, words, skipped = ATTACKS[name]
    attack(stored.items)
    assert "".join(texts(await session.get_items())) == words
    assert session.skipped == skipped
    assert "".join(texts([item async for item in session.iterate_items()])) == words
    assert session.skipped == skipped


async def test_what_a_store_has_done_is_logged(session, stored, caplog):
    stored.items[:] = [*stored.items[:3], *stored.items[4:], stored.items[0]]
    await session.get_items()
    assert [(each.levelname, each.message) for each in caplog.records] == [
        ("WARNING", "'first user': 1 repeated, 1 missing item(s)")
    ]
    assert session.skipped.unreadable == 0


async def test_tokens_swapped_between_sessions_are_not_read(encrypted, session, stored):
    other = encrypted(underlying := ListSession(), session_id="second user")
    await other.add_items(said("8"))
    stored.items[6], underlying.items[0] = underlying.items[0], stored.items[6]
    assert texts(await session.get_items()) == [*"123456"]
    assert await other.get_items() == []
    assert session.skipped == other.skipped == SkippedItems(undecryptable=1)


async def test_tokens_swapped_between_users_are_not_read(clock):
    stores, keys = [ListSession(), ListSession()], MemoryKeys()
    alice, bob = (
        EncryptedSession("chat", stored, keys, user=user, clock=clock)
        for stored, user in zip(stores, ("alice", "bob"), strict=True)
    )
    await alice.add_items(said("a"))
    await bob.add_items(said("b"))
    stores[0].items, stores[1].items = stores[1].items, stores[0].items
    assert await alice.get_items() == await bob.get_items() == []
    assert alice.skipped == bob.skipped == SkippedItems(undecryptable=1)


async def test_a_replayed_call_is_not_shown_to_a_model_twice(encrypted, stored):
    session = encrypted(stored)
    await session.add_items([*said("Pay."), CALL, OUTPUT])
    stored.items += stored.items[1:]
    assert await session.get_items() == [*said("Pay."), CALL, OUTPUT]
    stored.items[1], stored.items[2] = stored.items[2], stored.items[1]
    assert await session.get_items() == [*said("Pay."), CALL, OUTPUT]


async def test_a_limited_read_compares_only_what_it_reads(session, stored):
    repeated(stored.items, 0)
    assert texts(await session.get_items(limit=2)) == ["7", "1"]
    assert session.skipped == SkippedItems()
    repeated(stored.items, 7)
    assert texts(await session.get_items(limit=2)) == ["6", "7"]  # it has read further back
    assert session.skipped == SkippedItems(repeated=2)


async def test_an_item_restored_after_a_pop_is_read(session, stored):
    """A session does not remember what it has popped."""
    before = stored.items[:]
    await session.pop_item()
    stored.items[:] = before
    assert texts(await session.get_items()) == [*"1234567"]


async def test_an_iteration_compares_with_a_bounded_number_of_items(encrypted, stored, monkeypatch):
    monkeypatch.setattr("openai_sessions.encryption._session._REMEMBERED", 150)
    session = encrypted(stored)
    await session.add_items(said(*map(str, range(300))))
    stored.items += [stored.items[250], stored.items[0]]
    assert texts([item async for item in session.iterate_items()])[300:] == ["0"]
    assert session.skipped == SkippedItems(repeated=1)


async def test_what_a_failed_turn_keeps_is_another_write(encrypted, clock):
    """The call without its output is left out, and not missed."""
    session = encrypted()
    kept = [*said("Pay."), *said("Now.")]

    async def fail():
        async with session.turn(on_error="keep") as turn:
            await turn.add_items([kept[0], CALL, kept[1]])
            clock.now += 60
            _interrupt()

    with pytest.raises(InterruptedError):
        await fail()
    assert await session.get_items() == kept
    assert session.skipped == SkippedItems()
    clock.now += 541  # it was stored later than it was added
    assert await session.get_items() == []


async def test_what_a_failed_turn_could_not_store_is_pending(encrypted, emulator):
    session = encrypted()
    added = [*said("Pay."), CALL, *said("Now.")]
    turn = session.turn(on_error="keep")

    async def fail():
        async with turn:
            await turn.add_items(added)
            emulator.inject(Fault("quota"), operation="create_items")
            emulator.inject(Fault("quota"), operation="create_conversation")
            _interrupt()

    with pytest.raises(InterruptedError):
        await fail()
    assert turn.pending == added
    assert await session.get_items() == []


async def test_a_read_during_a_compaction_misses_and_repeats_nothing(emulator, encrypted):
    found = ListSession()

    async def look():
        found.items += emulator.items(hosted.session_id)

    app = Beside(emulator)
    hosted = OpenAIConversationsSession(openai_client=in_process_client(app, api_key="sk-emulator"))
    session = encrypted(hosted)
    for number in range(3):
        await session.add_items(question_and_answer(number))
    app.before(_id_of(emulator, hosted, 4), look)
    await session.compact(Compaction(model="gpt-5-mini", keep_turns=1))
    reader, newest = encrypted(found), ["q2", "a2"]
    assert shown(await _all(reader)) == ["q0", "a0", "q1", "a1", *newest, "q0", "q1", "compaction", *newest]
    assert reader.skipped == SkippedItems()


def _id_of(emulator, session, place):
    return emulator.items(session.session_id)[place]["id"]


async def test_a_request_that_the_server_applied_twice_is_read_once(encrypted, hosted, emulator):
    session = encrypted()
    await session.add_items(said("1", "2"))
    again = emulator.requests[-1]
    async with emulator.client() as client:
        await client.conversations.items.create(hosted.session_id, items=again.body["items"])
    assert len(emulator.items(hosted.session_id)) == 4
    assert texts(await session.get_items()) == ["1", "2"]
    assert session.skipped == SkippedItems(repeated=2)


class InterruptedSession(ListSession):
    """A store that writes 20 items, waits for `between`, and writes the others."""

    async def add_items(self, items):
        await super().add_items(items[:20])
        if items[20:]:
            await self.between()
            await super().add_items(items[20:])


async def test_tokens_that_the_pop_of_another_key_has_moved_are_read_in_order(encrypted):
    """It takes out the first request of a write, and restores it after the second one."""
    stored, popped = InterruptedSession(), GatedSession("add_items")
    popped.items = stored.items
    ours, theirs = encrypted(stored), encrypted(popped, key=OTHER_KEY)
    popped.gate.set()
    await theirs.add_items(said("theirs"))
    popped.gate.clear()
    popped.reached.clear()
    tasks = []

    async def between():
        tasks.append(asyncio.create_task(theirs.pop_item()))
        await popped.reached.wait()

    stored.between = between
    words = [str(number) for number in range(25)]
    await ours.add_items(said(*words))
    assert texts(await ours.get_items()) == words[20:]
    popped.gate.set()
    assert (await tasks[0])["content"] == "theirs"
    assert texts(await ours.get_items()) == words
    assert ours.skipped == SkippedItems(reordered=25)


PLACES = st.one_of(
    st.tuples(st.sampled_from("ab"), st.integers(0, 9)),
    st.sampled_from(list(Unreadable)),
)


@given(st.lists(PLACES))
def test_a_view_has_each_item_once_in_the_order_of_its_write(places):
    opened = [
        place if isinstance(place, Unreadable) else OpenedItem({"place": place}, *place, written_at=0)
        for place in places
    ]
    seen = {}
    items, skipped = as_written(opened, seen)
    read = [item["place"] for item in items]
    readable = [place for place in places if isinstance(place, tuple)]
    assert sorted(read) == sorted({*readable}) == sorted(seen)
    for write in "ab":
        assert [place for place in read if place[0] == write] == sorted(p for p in {*read} if p[0] == write)
    assert skipped.repeated == len(readable) - len(read)
    assert skipped.unreadable + skipped.expired == len(places) - len(readable)
    assert (items, SkippedItems()) == as_written(_opened_again(items), {}) or skipped.missing


def _opened_again(items):
    return [OpenedItem(item, *item["place"], written_at=0) for item in items]


class BatchedSession(ListSession):
    """A store that writes 20 items at once, between which other tasks write."""

    async def add_items(self, items):
        for start in range(0, len(items), 20):
            await super().add_items(items[start : start + 20])
            await asyncio.sleep(0)


WHO = st.sampled_from(["ours", "ours, elsewhere", "theirs"])

COMMON = [
    st.tuples(st.just("write"), WHO, st.integers(1, 24)),
    st.tuples(st.just("pop"), WHO, st.integers(1, 5)),
    st.tuples(st.just("expire")),
    st.tuples(st.just("clear"), WHO),
]

AT_ONCE = st.tuples(st.just("write at once"), st.lists(st.tuples(WHO, st.integers(1, 45)), max_size=4))

FAULTS = st.tuples(
    st.just("fault"),
    st.sampled_from(["cut_before", "cut_after_commit", "error_500_after_commit", "quota"]),
    st.sampled_from(["create_items", "delete_item"]),
    st.integers(0, 3),
)

IN_TURNS = [
    st.tuples(st.just("turn"), WHO, st.integers(0, 3), st.integers(0, 30)),
    st.tuples(st.just("failed turn"), WHO, st.integers(0, 3), st.lists(st.booleans(), max_size=8)),
    st.tuples(st.just("compact"), WHO, st.integers(0, 3), st.booleans()),
]


class Honest:
    """Operations of three sessions on one store, of which two have the same key.

    Args:
        underlying: Returns another session object on the store.
        emulator: Where requests meet faults, if it stores the items.
    """

    def __init__(self, underlying, emulator=None):
        self.emulator = emulator
        self.clock = Clock()
        keys = {"ours": KEY, "ours, elsewhere": KEY, "theirs": OTHER_KEY}
        self.sessions = {
            who: EncryptedSession("chat", underlying(), key, ttl=25, clock=self.clock)
            for who, key in keys.items()
        }
        self.numbers = 0

    def items(self, count):
        self.numbers += count
        roles = ("user", "assistant")
        return [{"role": roles[place % 2], "content": f"{self.numbers} {place}"} for place in range(count)]

    async def run(self, operations):
        for name, *args in operations:
            self.clock.now += 1
            with suppress(openai.OpenAIError, SessionError):
                await getattr(self, name.replace(" ", "_"))(*args)
            if self.emulator and name != "fault":
                self.emulator.clear_faults()
            for session in self.sessions.values():
                await self.check(session)

    async def check(self, session):
        """Read in each way: nothing is repeated, missing or reordered."""
        for read in (session.get_items(), session.get_items(limit=7), _all(session)):
            await read
            assert session.skipped == SkippedItems(
                expired=session.skipped.expired, undecryptable=session.skipped.undecryptable
            )

    async def write(self, who, count):
        await self.sessions[who].add_items(self.items(count))

    async def write_at_once(self, writes):
        await asyncio.gather(*(self.write(who, count) for who, count in writes))

    async def pop(self, who, count):
        for _ in range(count):
            await self.sessions[who].pop_item()

    async def fault(self, kind, operation, after):
        self.emulator.inject(Fault(kind), operation=operation, after=after)

    async def expire(self):
        self.clock.now += 10

    async def clear(self, who):
        await self.sessions[who].clear_session()

    async def turn(self, who, pops, count):
        async with self.sessions[who].turn() as turn:
            await turn.add_items(self.items(count))
            for _ in range(pops):
                await turn.pop_item()
            await turn.add_items(self.items(2))

    async def failed_turn(self, who, pops, are_answered):
        self.numbers += 1
        items = []
        for place, is_answered in enumerate(are_answered):
            key = {"call_id": f"call_{self.numbers}_{place}"}
            items += [{**CALL, **key}, *([{**OUTPUT, **key}] if is_answered else [])]
        with suppress(InterruptedError):
            async with self.sessions[who].turn(on_error="keep") as turn:
                for _ in range(pops):
                    await turn.pop_item()
                await turn.add_items([*said("Pay."), *items, *said("Thanks.")])
                _interrupt()

    async def compact(self, who, keep_turns, delete_replaced):
        await self.sessions[who].compact(
            Compaction(model="gpt-5-mini", keep_turns=keep_turns, delete_replaced=delete_replaced)
        )


def _interrupt():
    raise InterruptedError


async def _all(session):
    return [item async for item in session.iterate_items()]


@given(st.lists(st.one_of(*COMMON, AT_ONCE), max_size=8))
@settings(max_examples=examples(75))
def test_honest_writers_give_no_alarm(operations):
    store = BatchedSession()
    asyncio.run(Honest(lambda: store).run(operations))


@given(st.lists(st.one_of(*COMMON[:3], *IN_TURNS, FAULTS), min_size=2, max_size=8))
@settings(max_examples=examples(25))
def test_honest_sessions_of_a_conversation_give_no_alarm(operations):
    async def run():
        with Emulator() as emulator:
            async with emulator.client() as client:
                first = OpenAIConversationsSession(openai_client=client)
                conversation_id = await first.ensure_conversation()
                options = {"openai_client": client, "requests": RequestSettings(retry_policy=FAST)}
                await Honest(
                    lambda: OpenAIConversationsSession(conversation_id=conversation_id, **options), emulator
                ).run(operations)

    asyncio.run(run())
