"""What a run does: its size, and its random choices. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run does.

    Attributes:
        operations: How many random operations at least.
        seed: What the choices are made from.
        rooms: How many conversations are in use at once.
        tasks: How many tasks use each of them, with a session object each where the class allows it.
        burst: How many operations a task makes on average between two quiet points.
        longest: How many items a conversation may have at a quiet point before its tasks go on in another,
            as each of them costs a request when it is cleared.
        cancelled: The probability that an operation is cancelled at a random time.
        cancelled_within: Seconds within which it is cancelled then.
        patience: Seconds after which an operation is taken to hang.
    """

    operations: int = 20_000
    seed: int = 1
    rooms: int = 24
    tasks: int = 3
    burst: int = 10
    longest: int = 100
    cancelled: float = 0.05
    cancelled_within: float = 0.2
    patience: float = 120.0


@dataclass(frozen=True, slots=True)
class Draw:
    """A random operation, before it is known which session it is made on.

    Attributes:
        name: Which method is called.
        size: How many items an add adds.
        limit: How many items a get asks for.
        way: How a clear is done, from 0 to 1.
        cancel_after: Seconds until it is cancelled, or None.
    """

    name: str
    size: int = 1
    limit: int | None = None
    way: float = 0.0
    cancel_after: float | None = None

    @classmethod
    def from_choices(cls, choices: random.Random, plan: Plan) -> Draw:
        """Draw the next operation. Always draws as much, so that what follows does not depend on it."""
        return cls(
            name=choices.choices(("add", "pop", "get", "clear"), (40, 34, 25, 0.7))[0],
            size=choices.choice((choices.randint(1, 4), choices.randint(1, 45))),
            limit=choices.choice((None, choices.randint(1, 40))),
            way=choices.random(),
            cancel_after=(
                choices.uniform(0, plan.cancelled_within),
                None,
            )[choices.random() >= plan.cancelled],
        )
