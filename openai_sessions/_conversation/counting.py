"""How many of a history's newest turns fit into a limit of tokens that the server counts.

The server counts a whole input, and counting turn by turn would take one request for each. So turns are
counted in blocks of up to 100 items, and the counts are remembered with the `ServerTokens`. Of a history that
fits, a first read counts one block for each 100 items; later ones only the turns that are new. A block that
does not fit is halved: its newer half is counted, and the older one has the rest.

No sum is too low: each counted block includes the few tokens that the server adds to every input.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from openai_sessions._api.client import ConversationsClient
from openai_sessions._arguments import MAX_PAGE_SIZE
from openai_sessions._items.forms import to_replay
from openai_sessions._items.turns import TurnLimits, complete_items
from openai_sessions._items.types import Item
from openai_sessions.tokens import CountedBlock, ServerTokens

_NOTHING: Item = {"role": "user", "content": ""}
"""The input whose count is that of instructions and tools: the server needs one."""


async def start_of_newest(
    client: ConversationsClient, limits: TurnLimits, items: Sequence[Item], *, is_all: bool
) -> int | None:
    """Return what `TurnLimits.start_of_newest` returns, with tokens that the server counts.

    Args:
        client: Counts, if `limits.count_tokens` is a `ServerTokens`.
        limits: The limits.
        items: The newest items of a history as listed, oldest first.
        is_all: Whether they are the whole history.
    """
    counter = limits.count_tokens
    if limits.tokens is None or not isinstance(counter, ServerTokens):
        return limits.start_of_newest(items, is_all=is_all)
    starts, may_go_on = limits.starts_of_newest(items, is_all=is_all)
    bounds = [len(items), *starts]
    turns = [_CountedTurn.of(items[start:end]) for end, start in pairwise(bounds)]
    fitting = await BlockCounts(client, counter).fitting(turns, limits.tokens, may_go_on=may_go_on)
    return None if fitting is None else bounds[fitting]


@dataclass(frozen=True, slots=True)
class _CountedTurn:
    """A turn as it is counted.

    Attributes:
        items: Its items in replay form, without what the API refuses: a call without its output, an output
            without its call.
        key: Identifies these items.
        size: The size of their JSON in bytes.
    """

    items: Sequence[Item]
    key: bytes
    size: int

    @classmethod
    def of(cls, items: Sequence[Item]) -> _CountedTurn:
        replayed = to_replay([items[place] for place in complete_items((), items, is_whole=True)])
        text = json.dumps(replayed, sort_keys=True, separators=(",", ":"))
        return cls(replayed, _digest(text.encode()), len(text))


class BlockCounts:
    """The counts of blocks of turns, remembered or requested.

    Args:
        client: The client.
        counter: What is counted, and its memory.
    """

    def __init__(self, client: ConversationsClient, counter: ServerTokens) -> None:
        self._client = client
        self._counter = counter

    async def fitting(self, turns: Sequence[_CountedTurn], tokens: int, *, may_go_on: bool) -> int | None:
        """Return how many of the newest turns have at most `tokens`, with instructions and tools.

        Args:
            turns: Turns, newest first.
            tokens: The limit.
            may_go_on: Whether older turns can be had.

        Returns:
            None if older turns are needed: all turns may fit, or are in a block that goes on before them.
        """
        if not turns:
            return None if may_go_on else 0
        left = tokens - await self._overhead()
        fitting = 0
        while fitting < len(turns) and left >= 0:
            remaining = turns[fitting:]
            block = self._remembered(remaining[0])
            if block is not None and block.turns > len(remaining) and may_go_on:
                return None
            if block is None or not _is_of(block, remaining):
                block = await self._counted(remaining[: self._new_turns(remaining)])
            if block.tokens > left:
                return fitting + await self._fitting_of(block, remaining, left)
            left -= block.tokens
            fitting += block.turns
        return None if may_go_on and left >= 0 else fitting

    async def _fitting_of(self, block: CountedBlock, turns: Sequence[_CountedTurn], left: int) -> int:
        """Return how many of the newest turns fit, whose first block does not."""
        fitting = 0
        while block.turns > 1:
            halved = turns[fitting : fitting + block.turns]
            half = block.turns // 2
            newer = await self._counted(halved[:half])
            older = self._remember(halved[half:], max(0, block.tokens - newer.tokens))
            if newer.tokens > left:
                block = newer
            else:
                fitting, left, block = fitting + half, left - newer.tokens, older
        return fitting

    def _new_turns(self, turns: Sequence[_CountedTurn]) -> int:
        """Return how many turns to count in one request: up to the newest turn of a remembered block."""
        items = size = 0
        for number, turn in enumerate(turns):
            items += len(turn.items)
            size += turn.size
            is_full = items > MAX_PAGE_SIZE or size > self._client.max_bytes
            if number and (is_full or self._remembered(turn) is not None):
                return number
        return len(turns)

    async def _counted(self, turns: Sequence[_CountedTurn]) -> CountedBlock:
        """Count turns in one request, which is not needed where the API would refuse all of their items."""
        items = [item for turn in reversed(turns) for item in turn.items]
        return self._remember(turns, await self._count({"input": items}) if items else 0)

    async def _overhead(self) -> int:
        """Return the tokens of the instructions and tools."""
        settings = self._counter.settings
        if not settings:
            return 0
        remembered = self._counter.memory.get(self._client.base_url, b"")
        if remembered is None:
            tokens = await self._count({"input": [_NOTHING], **settings})
            remembered = CountedBlock(0, b"", tokens)
            self._counter.memory.put(self._client.base_url, b"", remembered)
        return remembered.tokens

    async def _count(self, body: Mapping[str, object]) -> int:
        return await self._client.count_input_tokens({"model": self._counter.model, **body})

    def _remembered(self, newest: _CountedTurn) -> CountedBlock | None:
        return self._counter.memory.get(self._client.base_url, newest.key)

    def _remember(self, turns: Sequence[_CountedTurn], tokens: int) -> CountedBlock:
        block = CountedBlock(len(turns), _key_of(turns), tokens)
        self._counter.memory.put(self._client.base_url, turns[0].key, block)
        return block


def _is_of(block: CountedBlock, turns: Sequence[_CountedTurn]) -> bool:
    """Return whether a block is that of the newest of these turns."""
    return block.turns <= len(turns) and block.key == _key_of(turns[: block.turns])


def _key_of(turns: Sequence[_CountedTurn]) -> bytes:
    return _digest(b"".join(turn.key for turn in turns))


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()
