"""Random operations of several session objects with faults and cancellations, against a model list.

After every step a calm read by any session object of the conversation shows what the model holds, and
so does the database. Whoever writes gets an error with a receipt and settles it; a caller that was cancelled
gets none, and what a lost reply hides then may stay.

STATE_MACHINE_EXAMPLES=2000 in the environment makes a longer run of it, on other examples each time; what
fails is then made small, and tried first by the next run.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import ClassVar

import openai
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from openai_sessions import UnsettledWriteError
from openai_sessions.emulator import Emulator

from .stage import Gate, Stage, redirecting
from .world import ALWAYS, FAILURES, LIES, World, spots, texts

MORE_THAN_IS_KNOWN = 170
"""More items than a process remembers ids."""

FAULTS = [
    fault
    for operation in ("create_items", "list_items", "delete_item", "retrieve_item")
    for fault in spots(operation, after=(0, 1), times=(1, 2, ALWAYS))
    if fault.kind not in LIES
]
"""All but the pages that hide items: a pop then takes an older one, which no model foretells."""

MOMENTS = ["before", "after"]
NUMBERS = st.integers(0, 2)
PAIRS = st.integers(0, 1)
FEW_FAULTS = st.lists(st.sampled_from(FAULTS), max_size=2)


@dataclass
class Model:
    """A conversation as it should be: its id, and the texts of its items."""

    conversation_id: str
    texts: list[str] = field(default_factory=list)


class Sessions(RuleBasedStateMachine):
    """Two conversations with three session objects each, and another process that writes to them."""

    options: ClassVar[dict] = {}
    """Options of the sessions."""

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.complaints = []
        self.loop.set_exception_handler(lambda _, context: self.complaints.append(context))
        self.emulator = Emulator()
        self.world = World(self.emulator)
        self.names = itertools.count()
        self.stage, self.client = self.open_client()

    def open_client(self):
        """Return the stage, or None, and the client of the sessions."""
        stage = Stage(self.emulator)
        return stage, stage.client

    def run(self, awaitable):
        return self.loop.run_until_complete(awaitable)

    def teardown(self):
        self.run(self.loop.shutdown_asyncgens())
        left = asyncio.all_tasks(self.loop)
        self.loop.close()
        self.emulator.close()
        assert not left
        assert self.complaints == []

    @initialize()
    def begin(self):
        async def begin():
            for _ in range(2):
                first = await self.world.session_with(openai_client=self.client, **self.options)
                others = [self.session_on(first.session_id) for _ in range(2)]
                self.sessions.append([first, *others])
                self.models.append(Model(first.session_id))

        self.sessions, self.models = [], []
        self.run(begin())

    def session_on(self, conversation_id):
        return self.world.session(conversation_id, openai_client=self.client, **self.options)

    def items(self, count):
        return [{"role": "user", "content": f"text {next(self.names) % 3}"} for _ in range(count)]

    def items_with_ids(self, pair, count):
        """Return items that keep their ids, which deleted items had before."""
        free = [
            each for each in (f"fs_{number}" for number in range(9)) if each not in self.models[pair].texts
        ]
        return [
            {"type": "file_search_call", "id": each, "status": "completed", "queries": ["q"]}
            for each in free[:count]
        ]

    async def under(self, faults, call):
        """Call under faults; return whether it returned, and what."""
        self.world.inject(*faults)
        try:
            return True, await call()
        except UnsettledWriteError as error:
            await self.world.calm()
            await self.settle(error.receipt)
            return False, None
        except FAILURES:
            return False, None
        finally:
            await self.world.calm()

    async def settle(self, receipt):
        """Settle as another process does that found the receipt."""
        await self.session_on(receipt["conversation_id"]).settle(receipt)

    @rule(pair=PAIRS, number=NUMBERS, count=st.sampled_from([1, 2, 21, 45]), faults=FEW_FAULTS)
    def add(self, pair, number, count, faults):
        items = self.items(count)
        done, _ = self.run(self.under(faults, lambda: self.sessions[pair][number].add_items(items)))
        self.models[pair].texts += texts(items) if done else []

    @rule(
        pair=PAIRS,
        number=NUMBERS,
        count=st.sampled_from([1, 5]),
        rest=st.sampled_from([0, 21]),
        faults=FEW_FAULTS,
    )
    def add_items_that_keep_their_ids(self, pair, number, count, rest, faults):
        items = [*self.items_with_ids(pair, count), *self.items(rest)]
        done, _ = self.run(self.under(faults, lambda: self.sessions[pair][number].add_items(items)))
        self.models[pair].texts += texts(items) if done else []

    @precondition(lambda self: self.stage is not None)
    @rule(pair=PAIRS, number=NUMBERS, status=st.sampled_from([301, 302, 303]), place=st.integers(0, 1))
    def add_through_a_gateway_that_redirects(self, pair, number, status, place):
        """No listing is taken for the receipt of a write."""
        items = self.items(21)
        self.stage.at("create_items", place, redirecting(status))
        done, _ = self.run(self.under([], lambda: self.sessions[pair][number].add_items(items)))
        self.stage.forget()
        assert not done

    @precondition(lambda self: self.stage is not None)
    @rule(pair=PAIRS, number=NUMBERS, status=st.sampled_from([301, 302, 303]))
    def pop_through_a_gateway_that_redirects(self, pair, number, status):
        self.stage.at("delete_item", 0, redirecting(status))
        done, item = self.run(self.under([], self.sessions[pair][number].pop_item))
        self.stage.forget()
        assert done == (not self.models[pair].texts)
        self.popped(pair, number, item, done=done)

    @precondition(lambda self: all(len(model.texts) < MORE_THAN_IS_KNOWN for model in self.models))
    @rule(pair=PAIRS, number=NUMBERS)
    def add_more_than_is_known(self, pair, number):
        items = self.items(MORE_THAN_IS_KNOWN)
        self.run(self.sessions[pair][number].add_items(items))
        self.models[pair].texts += texts(items)

    @rule(pair=PAIRS, number=NUMBERS, faults=FEW_FAULTS)
    def pop(self, pair, number, faults):
        done, item = self.run(self.under(faults, self.sessions[pair][number].pop_item))
        self.popped(pair, number, item, done=done)

    def popped(self, pair, number, item, *, done):
        """A pop that raised has taken a value or not: the next one, in calm, gives the same value."""
        if not done:
            item = self.run(self.sessions[pair][number].pop_item())
        expected = self.models[pair].texts
        assert (item and texts([item])[0]) == (expected.pop() if expected else None)

    @rule(pair=PAIRS, number=NUMBERS, limit=st.sampled_from([None, 1, 3, 100]), faults=FEW_FAULTS)
    def get(self, pair, number, limit, faults):
        done, items = self.run(self.under(faults, lambda: self.sessions[pair][number].get_items(limit)))
        if done:
            expected = self.models[pair].texts
            assert texts(items) == (expected if limit is None else expected[-limit:])

    @rule(pair=PAIRS, number=NUMBERS, faults=FEW_FAULTS)
    def clear(self, pair, number, faults):
        session = self.sessions[pair][number]
        done, _ = self.run(self.under(faults, lambda: session.clear_session(keep_conversation=True)))
        stored = self.world.stored(self.models[pair].conversation_id)
        assert not (done and stored)
        self.models[pair].texts = [] if done else self.kept_of(pair, stored)

    def kept_of(self, pair, stored):
        """A clear that fails has deleted some items: what is left was there, in order."""
        before = iter(self.models[pair].texts)
        assert all(text in before for text in stored)
        return stored

    @rule(pair=PAIRS)
    def another_process_adds(self, pair):
        item = {"role": "assistant", "content": f"foreign {next(self.names)}"}
        model = self.models[pair]
        self.run(self.world.foreign_add(model.conversation_id, item))
        model.texts.append(item["content"])

    @rule(pair=PAIRS, count=st.sampled_from([1, 2, 20]))
    def another_worker_adds_the_same(self, pair, count):
        """A user whose request failed tries again there; its texts are those of earlier adds."""
        items, model = self.items(count), self.models[pair]
        self.run(self.world.foreign_add(model.conversation_id, *items))
        model.texts += texts(items)

    @precondition(lambda self: self.stage is not None)
    @rule(
        pair=PAIRS,
        number=NUMBERS,
        count=st.sampled_from([2, 45]),
        moment=st.tuples(st.integers(0, 2), st.sampled_from(MOMENTS)),
        faults=FEW_FAULTS,
    )
    def cancel_an_add(self, pair, number, count, moment, faults):
        session, items = self.sessions[pair][number], self.items(count)
        place = ("create_items", *moment)
        model = self.models[pair]
        done, _ = self.run(self.cancelled(place, faults, lambda: session.add_items(items)))
        if not done and faults:
            self.run(session.get_items())  # deletes what the server has acknowledged
            left = self.world.stored(model.conversation_id)[len(model.texts) :]
            assert left in [texts(items)[start : start + len(left)] for start in (0, 20, 40)]
            model.texts += left
        model.texts += texts(items) if done else []

    @precondition(lambda self: self.stage is not None)
    @rule(
        pair=PAIRS,
        number=NUMBERS,
        operation=st.sampled_from(["list_items", "delete_item"]),
        moment=st.sampled_from(MOMENTS),
    )
    def cancel_a_pop(self, pair, number, operation, moment):
        pop = self.sessions[pair][number].pop_item
        done, item = self.run(self.cancelled((operation, 0, moment), [], pop))
        self.popped(pair, number, item, done=done)

    async def cancelled(self, place, faults, call):
        """Call, and cancel at a request if it comes to that; return as `under` does."""
        operation, number, moment = place
        gate = Gate()
        self.stage.at(operation, number, getattr(gate, moment))
        self.world.inject(*faults)
        calling = asyncio.ensure_future(call())
        reaching = asyncio.ensure_future(gate.reached.wait())
        await asyncio.wait({calling, reaching}, return_when=asyncio.FIRST_COMPLETED)
        calling.cancel()
        reaching.cancel()
        await asyncio.sleep(0)
        gate.opened.set()
        self.stage.forget()
        try:
            return True, await calling
        except UnsettledWriteError as error:
            await self.world.calm()
            await self.settle(error.receipt)
            return False, None
        except (asyncio.CancelledError, *FAILURES):
            return False, None
        finally:
            await self.world.calm()

    @precondition(lambda self: len(self.models[0].texts) > 3)
    @rule(count=st.integers(2, 5), faults=FEW_FAULTS)
    def pop_at_once(self, count, faults):
        """Session objects that pop at the same time get different items."""

        async def pop_at_once():
            self.world.inject(*faults)
            pops = (self.sessions[0][number % 3].pop_item() for number in range(count))
            results = await asyncio.gather(*pops, return_exceptions=True)
            await self.world.calm()
            assert all(isinstance(result, (dict, type(None), *FAILURES)) for result in results)
            failed = any(isinstance(result, Exception) for result in results)
            last = [await self.sessions[0][0].pop_item()] if failed else []
            return [item for item in [*results, *last] if isinstance(item, dict)]

        popped = texts(self.run(pop_at_once()))
        model = self.models[0]
        left = len(model.texts) - len(popped)
        assert Counter(popped) == Counter(model.texts[left:])
        del model.texts[left:]

    @rule(count=st.integers(2, 4), faults=FEW_FAULTS)
    def add_at_once(self, count, faults):
        """Session objects that add the same content at the same time add it each once, or raise."""

        async def add_at_once():
            self.world.inject(*faults)
            adds = (self.sessions[1][number % 3].add_items([SAME]) for number in range(count))
            results = await asyncio.gather(*adds, return_exceptions=True)
            await self.world.calm()
            assert all(result is None or isinstance(result, FAILURES) for result in results)
            for result in results:
                if isinstance(result, UnsettledWriteError):
                    await self.settle(result.receipt)
            return results.count(None)

        self.models[1].texts += ["same"] * self.run(add_at_once())

    @invariant()
    def what_is_read_and_stored_is_what_was_written(self):
        for model, (first, *_) in zip(self.models, self.sessions, strict=True):
            assert texts(self.run(first.get_items())) == model.texts
            assert self.world.stored(model.conversation_id) == model.texts
            assert first.unsettled == ()


class SessionsOverAiohttp(Sessions):
    """The same over aiohttp, whose errors bear other names, and which repeats some requests by itself."""

    options: ClassVar[dict] = {"timeout": 0.2}

    def open_client(self):
        self.serving = ExitStack()
        base_url = self.serving.enter_context(self.emulator.serve())
        client = self.run(self.aiohttp_client(base_url))
        return None, client

    async def aiohttp_client(self, base_url):
        http_client = openai.DefaultAioHttpClient(trust_env=False)
        return openai.AsyncOpenAI(api_key="sk-emulator", base_url=base_url, http_client=http_client)

    def teardown(self):
        self.run(self.client.close())
        self.serving.close()
        super().teardown()


SAME = {"role": "user", "content": "same"}

EXAMPLES = os.environ.get("STATE_MACHINE_EXAMPLES")


def of(examples, **options):
    return settings(
        max_examples=examples,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
        **options,
    )


ALWAYS_THE_SAME = {"derandomize": True, "phases": [Phase.generate]}

TestSessions = Sessions.TestCase
TestSessions.settings = of(6, **ALWAYS_THE_SAME)


@pytest.mark.exhaustive
class TestSessionsForLonger(Sessions.TestCase):
    settings = of(int(EXAMPLES)) if EXAMPLES else of(50, **ALWAYS_THE_SAME)


@pytest.mark.exhaustive
class TestSessionsOverAiohttp(SessionsOverAiohttp.TestCase):
    settings = of(int(EXAMPLES)) if EXAMPLES else of(10, **ALWAYS_THE_SAME)
