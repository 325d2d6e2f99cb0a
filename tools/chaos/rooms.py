"""A conversation, and the session objects that share it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

from tools.chaos.history import Operation
from tools.chaos.worlds import Session, World


@dataclass(frozen=True, slots=True)
class Seat:
    """A session object, under a name for the history."""

    room: Room
    name: str
    session: Session


class Room:
    """A conversation, the session objects that share it, and what was done. A clear leads to the next one.

    Args:
        number: Its number in the run.
        world: Where its sessions come from.

    Attributes:
        operations: What was done.
        judged: How many of the operations there were when all was last quiet.
        conversations: The conversations that had a part in it.
    """

    def __init__(self, number: int, world: World) -> None:
        self.number = number
        self._world = world
        self._generations = count()
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget all conversations so far."""
        self.operations: list[Operation] = []
        self.judged = 0
        self.conversations: set[str] = set()
        self.renew()

    def renew(self) -> None:
        """Go on with new session objects, in a new conversation."""
        self._name = f"{self.number}.{next(self._generations)}"
        self._seats = {0: Seat(self, f"{self._name}.0", self._world.session(self.number, None))}

    def seat(self, task: int) -> Seat:
        """Return the session object of a task. Until there is a conversation, all tasks have the same."""
        conversation_id = id_of(self._seats[0].session)
        index = task if conversation_id and self._world.shares_conversations else 0
        if index not in self._seats:
            session = self._world.session(self.number, conversation_id)
            self._seats[index] = Seat(self, f"{self._name}.{index}", session)
        return self._seats[index]

    def visitor(self, conversation_id: str) -> Seat:
        """Return a session object on a conversation, which no task has."""
        return Seat(self, f"{self.number} when quiet", self._world.session(self.number, conversation_id))


def id_of(session: Session) -> str | None:
    """Return the conversation of a session, or None while it has none."""
    try:
        return session.session_id
    except ValueError:
        return None
