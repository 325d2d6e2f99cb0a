"""Random writes, turns, responses, repairs, rewinds, deletions and replacements under faults.

After every step the store has the ids that the model has. After a repair no call lacks its output, and the
next response is 200; nothing is gone that no operation has named.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from contextlib import suppress

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from openai_sessions import InvalidItemError, UnsettledWriteError
from openai_sessions._items.repairs import missing_partners, plan_repair
from openai_sessions._items.turns import open_calls, safe_cuts, turn_spans
from openai_sessions.emulator import Emulator
from openai_sessions.errors import SplitItemsError, UnfinishedDeletionError
from tests.faults.stage import Stage, after
from tests.faults.test_state_machine import ALWAYS_THE_SAME, EXAMPLES, FEW_FAULTS, of
from tests.faults.world import FAILURES, World

from .broken import assistant, call, next_response, output, thought, user

KEYS = st.sampled_from("abc")
TYPES = st.sampled_from(["function_call", "custom_tool_call"])
NUMBERS = st.integers(0, 1)
PLACES = st.integers(0, 40)
PARTS = st.lists(
    st.one_of(
        st.just(("user",)),
        st.just(("assistant",)),
        st.just(("thought",)),
        st.tuples(st.just("call"), KEYS, TYPES),
        st.tuples(st.just("output"), KEYS, TYPES),
    ),
    min_size=1,
    max_size=6,
)
MANY = 25


class Repairs(RuleBasedStateMachine):
    """One conversation with two session objects, another process, and applications that create responses."""

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.emulator = Emulator()
        self.world = World(self.emulator)
        self.stage = Stage(self.emulator)
        self.numbers = itertools.count()
        self.model: list[str] = []

    def run(self, awaitable):
        return self.loop.run_until_complete(awaitable)

    def teardown(self):
        left = asyncio.all_tasks(self.loop)
        self.loop.close()
        self.emulator.close()
        assert not left

    @initialize()
    def begin(self):
        first = self.run(self.world.session_with(openai_client=self.stage.client))
        self.conversation_id = first.session_id
        self.sessions = [first, self.other_session(history="incremental")]

    def other_session(self, **options):
        return self.world.session(self.conversation_id, openai_client=self.stage.client, **options)

    def stored(self):
        """Return the items of the database."""
        rows = self.world._select(
            "SELECT body FROM items WHERE conversation_id = ? ORDER BY position", self.conversation_id
        )
        return [json.loads(body) for (body,) in rows]

    def made(self, parts):
        return [self.made_one(*part) for part in parts]

    def made_one(self, kind, *named):
        if kind == "thought":
            number = next(self.numbers)
            return thought(number, "secret" if number % 2 else None)
        if kind in ("call", "output"):
            return (call if kind == "call" else output)(*named)
        return (user if kind == "user" else assistant)(f"text {next(self.numbers)}")

    def under(self, faults, call_session, *, foreign=False):
        """Call under faults; settle what that leaves. Return the result, True after a receipt, or None."""

        async def add():
            added.extend(await self.world.foreign_add(self.conversation_id, user("foreign")))

        async def under():
            # The other process must be told what it has stored.
            self.world.inject(*(each for each in faults if not foreign or each.operation != "create_items"))
            if foreign:
                self.stage.at("delete_item", 0, after(add))
            try:
                return await call_session()
            except UnsettledWriteError as error:
                await self.settle(error)
            except UnfinishedDeletionError as error:
                await self.settle(error)
                return True
            except FAILURES as error:
                if isinstance(error, (SplitItemsError, InvalidItemError)):
                    raise
            finally:
                self.stage.forget()
                await self.world.calm()
            return None

        added: list[str] = []
        self.run_added = added
        return self.run(under())

    async def settle(self, error):
        await self.world.calm()
        await self.other_session().settle(error.receipt)

    def expect(self, kept, *, new=0):
        """Expect these ids, so many new ones and what the other process has added meanwhile, in any order."""
        ids = [item["id"] for item in self.stored()]
        assert ids[: len(kept)] == kept
        added = ids[len(kept) :]
        assert len(added) == new + len(self.run_added)
        assert not set(added) & set(self.model)
        assert set(self.run_added) <= set(added)
        self.model = ids

    @rule(number=NUMBERS, parts=PARTS, faults=FEW_FAULTS)
    def add(self, number, parts, faults):
        items = self.made(parts)

        async def add():
            await self.sessions[number].add_items(items)
            return True

        done = self.under(faults, add)
        self.expect(self.model, new=len(items) if done else 0)

    @rule(number=NUMBERS, parts=PARTS, faults=FEW_FAULTS, fails=st.booleans())
    def turn(self, number, parts, faults, fails):
        """A turn that fails stores nothing."""
        items = self.made(parts)

        async def turn():
            with suppress(ZeroDivisionError):
                async with self.sessions[number].turn() as turn:
                    await turn.get_items()
                    await turn.add_items(items)
                    return 1 / (not fails)

        done = self.under(faults, turn)
        self.expect(self.model, new=len(items) if done else 0)

    @rule(number=NUMBERS)
    def add_many(self, number):
        items = [user(f"text {next(self.numbers)}") for _ in range(MANY)]
        if len(self.model) < 2 * MANY:
            self.run(self.sessions[number].add_items(items))
            self.run_added = []
            self.expect(self.model, new=MANY)

    @rule(parts=PARTS)
    def another_process_adds(self, parts):
        items = self.made(parts)
        self.model += self.run(self.world.foreign_add(self.conversation_id, *items))

    @rule()
    def an_application_creates_a_response(self):
        """It is refused while a call is open, and adds a question and an answer otherwise."""
        status = self.run(next_response(self.world.foreign, self.conversation_id))
        self.run_added = []
        self.expect(self.model, new=2 if status == 200 else 0)

    @rule(number=NUMBERS, faults=FEW_FAULTS, foreign=st.booleans())
    def repair(self, number, faults, foreign):
        plan = plan_repair(self.stored())
        done = self.under(faults, self.sessions[number].repair, foreign=foreign)
        if not done:
            self.expect(self.model)
            return
        self.expect([item_id for item_id in self.model if item_id not in plan.removed], new=len(plan.outputs))
        assert open_calls(self.stored()) == []
        self.an_application_creates_a_response_after_a_repair()

    def an_application_creates_a_response_after_a_repair(self):
        assert self.run(next_response(self.world.foreign, self.conversation_id)) == 200
        self.run_added = []
        self.expect(self.model, new=2)

    @rule(number=NUMBERS, place=PLACES, faults=FEW_FAULTS, foreign=st.booleans(), by_turn=st.booleans())
    def rewind(self, number, place, faults, foreign, by_turn):
        items = self.stored()
        spans = turn_spans(items)
        if not spans:
            return
        if by_turn:
            turn = list(spans)[place % len(spans)]
            point, cut = {"before_turn": turn}, spans[turn][0]
        else:
            cuts = [cut for cut in safe_cuts(items) if cut]
            cut = cuts[-1 - place % len(cuts)]
            point = {"after_item": self.model[cut - 1]}
        done = self.under(faults, lambda: self.sessions[number].rewind(**point), foreign=foreign)
        self.expect(self.model[:cut] if done else self.model)

    @rule(number=NUMBERS, places=st.sets(PLACES, min_size=1, max_size=4), faults=FEW_FAULTS)
    def delete(self, number, places, faults):
        items = self.stored()
        ids = {self.model[place] for place in places if place < len(items)}
        if partners := missing_partners(items, ids):
            with pytest.raises(SplitItemsError) as caught:
                self.under([], lambda: self.sessions[number].delete_items(sorted(ids)))
            assert list(caught.value.partner_ids) == partners
            ids |= set(partners)
        done = self.under(faults, lambda: self.sessions[number].delete_items(sorted(ids)))
        self.expect([item_id for item_id in self.model if not (done and item_id in ids)])

    @rule(number=NUMBERS, place=PLACES, part=PARTS, faults=FEW_FAULTS, foreign=st.booleans())
    def replace(self, number, place, part, faults, foreign):
        if place >= len(self.model):
            return
        (item,) = self.made(part[:1])
        replace = self.sessions[number].replace_item
        try:
            done = self.under(faults, lambda: replace(self.model[place], item), foreign=foreign)
        except (SplitItemsError, InvalidItemError):
            self.expect(self.model)
            return
        if done:
            self.expect(self.model[:place], new=len(self.model) - place)
        else:
            self.expect(self.model)

    @invariant()
    def what_is_read_is_what_is_stored(self):
        if not hasattr(self, "sessions"):
            return
        assert [item["id"] for item in self.stored()] == self.model
        first, second = (self.run(session.get_items()) for session in self.sessions)
        assert first == second
        assert self.sessions[0].unsettled == ()


TestRepairs = Repairs.TestCase
TestRepairs.settings = of(2, **ALWAYS_THE_SAME)


@pytest.mark.exhaustive
class TestRepairsForLonger(Repairs.TestCase):
    settings = of(int(EXAMPLES)) if EXAMPLES else of(20, **ALWAYS_THE_SAME)
