"""Random writes, compactions, faults and cancellations of two processes, against a plain list.

A compaction changes nothing in the list: after each step a model knows every text of it once, the newest in
their order, whichever process reads.
"""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from openai_sessions.emulator import Emulator
from openai_sessions.errors import ConversationChangedError
from tests.faults.stage import Gate, Stage, after
from tests.faults.world import ALWAYS, FAILURES, LIES, World, spots

from .compact_world import check_view, compaction, known, other_process, text_of

OPERATIONS = ("create_items", "list_items", "delete_item", "compact_response")
FAULTS = [
    fault
    for operation in OPERATIONS
    for fault in spots(operation, after=(0, 1), times=(1, 2, ALWAYS))
    if fault.kind not in ("late_commit", *LIES)
]
"""None of which depends on how fast the machine is."""
FEW_FAULTS = st.lists(st.sampled_from(FAULTS), max_size=2)
PROCESSES = st.integers(0, 1)
ROLES = st.lists(st.sampled_from(["user", "assistant", "developer"]), min_size=1, max_size=8)
COMPACTIONS = st.builds(compaction, keep_turns=st.integers(0, 3), delete_replaced=st.booleans())
PLACES = st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 2))


class Compacting(RuleBasedStateMachine):
    """One conversation with a session object in each of two processes, and another client that writes."""

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.emulator = Emulator()
        self.world = World(self.emulator)
        self.names = itertools.count()
        self.texts = []

    def run(self, awaitable):
        return self.loop.run_until_complete(awaitable)

    def teardown(self):
        self.run(self.loop.shutdown_asyncgens())
        assert not asyncio.all_tasks(self.loop)
        self.loop.close()
        self.emulator.close()

    @initialize()
    def begin(self):
        async def begin():
            self.stages = [Stage(self.emulator), Stage(self.emulator)]
            clients = [self.stages[0].client, other_process(self.world, transport=self.stages[1])]
            first = await self.world.session_with(openai_client=clients[0])
            self.sessions = [first, self.world.session(first.session_id, openai_client=clients[1])]

        self.run(begin())

    def items(self, roles):
        return [{"role": role, "content": f"text {next(self.names)}"} for role in roles]

    async def under(self, process, faults, call):
        """Call under faults; return whether it returned, and what. Then the process settles what is left."""
        self.world.inject(*faults)
        try:
            return True, await call()
        except FAILURES as error:
            await self.world.calm()
            if getattr(error, "receipt", None) is not None:
                await self.sessions[process].settle(error.receipt)
            return False, error
        finally:
            await self.world.calm()
            self.stages[process].forget()
            await self.sessions[process].get_items()

    @rule(process=PROCESSES, roles=ROLES, faults=FEW_FAULTS)
    def add(self, process, roles, faults):
        items = self.items(roles)
        add = self.sessions[process].add_items
        done, _ = self.run(self.under(process, faults, lambda: add(items)))
        self.texts += map(text_of, items) if done else []

    @rule(roles=ROLES)
    def another_client_adds(self, roles):
        self.run(self.foreign_add(roles))

    async def foreign_add(self, roles):
        items = self.items(roles)
        await self.world.foreign_add(self.sessions[0].session_id, *items)
        self.texts += map(text_of, items)

    @rule(process=PROCESSES)
    def pop(self, process):
        """The compaction item is nothing to pop, as the history before it would be read again."""
        session = self.sessions[process]
        if known(self.run(session.get_items()))[1]:
            assert text_of(self.run(session.pop_item())) == self.texts.pop()

    @rule(process=PROCESSES, roles=ROLES, pops=st.integers(0, 2), faults=FEW_FAULTS)
    def a_block(self, process, roles, pops, faults):
        session, items = self.sessions[process], self.items(roles)
        pops = min(pops, len(known(self.run(session.get_items()))[1]))

        async def block():
            async with session.turn() as turn:
                for _ in range(pops):
                    await turn.pop_item()
                await turn.add_items(items)

        if self.run(self.under(process, faults, block))[0]:
            del self.texts[len(self.texts) - pops :]
            self.texts += map(text_of, items)

    @rule(process=PROCESSES, how=COMPACTIONS, faults=FEW_FAULTS)
    def compact(self, process, how, faults):
        self.run(self.under(process, faults, lambda: self.sessions[process].compact(how)))

    @rule(process=PROCESSES, how=COMPACTIONS, place=PLACES, roles=ROLES)
    def compact_while_another_client_adds(self, process, how, place, roles):
        before = len(self.texts)
        self.stages[process].at(*place, after(lambda: self.foreign_add(roles)))
        _, result = self.run(self.under(process, [], lambda: self.sessions[process].compact(how)))
        assert not isinstance(result, FAILURES) or isinstance(result, ConversationChangedError)
        assert not isinstance(result, ConversationChangedError) or len(self.texts) > before

    @rule(process=PROCESSES, how=COMPACTIONS, place=PLACES, moment=st.sampled_from(["before", "after"]))
    def cancel_a_compaction(self, process, how, place, moment):
        async def cancelled():
            gate = Gate()
            self.stages[process].at(*place, getattr(gate, moment))
            calling = asyncio.ensure_future(self.sessions[process].compact(how))
            reaching = asyncio.ensure_future(gate.reached.wait())
            await asyncio.wait({calling, reaching}, return_when=asyncio.FIRST_COMPLETED)
            calling.cancel()
            reaching.cancel()
            await asyncio.sleep(0)
            gate.opened.set()
            self.stages[process].forget()
            await asyncio.gather(calling, return_exceptions=True)

        self.run(cancelled())

    @invariant()
    def a_model_knows_every_text_once(self):
        for session in self.sessions:
            check_view(self.run(session.get_items()), self.texts)
            assert session.unsettled == ()


@pytest.mark.exhaustive
class TestCompacting(Compacting.TestCase):
    settings = settings(
        max_examples=30,
        stateful_step_count=20,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
        derandomize=True,
        phases=[Phase.generate],
    )
