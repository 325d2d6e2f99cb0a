"""The world of the fault tests, and what forks leave in it."""

from __future__ import annotations

from tests.faults.world import World


class ForkWorld(World):
    """An emulator whose database tells what a fork has left there."""

    def count_items(self) -> int:
        """Return how many items the database holds, those of deleted conversations included."""
        return self._select("SELECT count(*) FROM items")[0][0]

    def execute(self, statement: str, *values: object) -> None:
        """Change the database behind the server's back."""
        store = self.emulator._store
        with store._mutex:
            store._connection.execute(statement, values)
