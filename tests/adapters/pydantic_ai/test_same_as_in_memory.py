"""Random operations on this store and on Pydantic AI's own in-memory store have the same results."""

import random

import pytest
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationConflict, InMemoryConversationStore
from pydantic_ai.exceptions import UserError
from pydantic_ai.usage import RunUsage

from tests.selection import one_in

from .stage import said, turn

NAMES = ("a", "b", "c")

STEPS = 25


class Twin:
    """One of the two stores, with the conversations that its application holds.

    Attributes:
        held: The conversations that were loaded or saved, which may be old.
        entries: The ids of all entries in the order in which they were stored: both stores have as many.
    """

    def __init__(self, store):
        self.store = store
        self.held = {}
        self.entries = []

    async def do(self, step, choice):
        """Return what a step gives, in terms that both stores share."""
        try:
            return await getattr(self, step)(choice)
        except (ConversationConflict, UserError) as error:
            return type(error).__name__

    async def load(self, choice):
        name = choice.choice(NAMES)
        loaded = await self.store.load(name, limit=choice.choice([None, None, 0, 1, 3]), scope=choice.scope())
        if loaded is not None:
            self.held[name] = loaded
        return loaded and (said(loaded.messages), loaded.usage, loaded.new_message_index)

    async def save(self, choice):
        """Save a conversation with a turn more, or with its last messages rewritten."""
        name = choice.choice(NAMES)
        held = self.held.setdefault(name, Conversation(conversation_id=name))
        messages = held.messages
        if choice.random() < 0.3:
            messages = messages[: choice.randrange(len(messages) + 1)]
        held.messages = [*messages, *turn(choice.randrange(5))]
        held.usage += RunUsage(requests=1)
        saved = await self.store.save(held, scope=choice.scope())
        self.entries += [entry.id for entry in saved]
        return said([entry.message for entry in saved])

    async def forget(self, choice):
        self.held.pop(choice.choice(NAMES), None)

    async def branch(self, choice):
        name = choice.choice(NAMES)
        revision = self.held[name].revision if name in self.held else None
        branched = await self.store.branch(name, expected_revision=revision, **self.place(choice))
        self.held[name] = branched
        return said(branched.messages)

    async def fork(self, choice):
        name, new = choice.choice(NAMES), choice.choice(NAMES)
        place = self.place(choice)
        fork = await self.store.fork(name, new_conversation_id=new, source_scope=choice.scope(), **place)
        self.held[new] = fork
        return said(fork.messages), fork.usage

    async def delete(self, choice):
        return await self.store.delete(choice.choice(NAMES), scope=choice.scope())

    def place(self, choice):
        if choice.random() < 0.5 or not self.entries:
            return {"at": choice.randrange(6)}
        return {"from_entry": self.entries[choice.randrange(len(self.entries))]}

    async def everything(self):
        """Return all that is stored, with entries by their number."""
        number = {entry_id: place for place, entry_id in enumerate(self.entries)}
        found = []
        for record in await self.store.list_conversations():
            history = await self.store.load_entries(record.conversation_id)
            lines = [
                said([each.message for each in await self.store.read_history(tip)]) for tip in record.branches
            ]
            found.append(
                (
                    record.conversation_id,
                    record.scope,
                    record.forked_from,
                    number.get(record.forked_at),
                    record.usage,
                    [(number[entry.id], said([entry.message])) for entry in history],
                    lines,
                )
            )
        return found


class Choice(random.Random):
    def scope(self):
        return self.choice([None, None, None, "ann"])


@pytest.mark.parametrize("seed", one_in(8, range(16)))
async def test_same_operations_have_the_same_results(store, seed):
    both = [Twin(InMemoryConversationStore()), Twin(store)]
    plan = Choice(seed)
    for number in range(STEPS):
        step = plan.choice(["load", "save", "save", "save", "branch", "fork", "delete", "forget"])
        expected, actual = [await twin.do(step, Choice(f"{seed} {number}")) for twin in both]
        assert expected == actual, (number, step)
    expected, actual = [await twin.everything() for twin in both]
    assert expected == actual
