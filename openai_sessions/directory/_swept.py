"""What a directory deletes at OpenAI when it is told to, and what it cannot delete."""

from __future__ import annotations

from datetime import timedelta

from openai_sessions._removing import Progress
from openai_sessions.directory._checks import checked_age, checked_count, checked_name
from openai_sessions.directory._connected import Connected
from openai_sessions.directory._deleting import Deletions
from openai_sessions.directory._values import LostCreation, SweepReport


class SweptConversations(Connected):
    """The part of a directory that deletes what has expired and what was left."""

    async def sweep(
        self,
        *,
        limit: int = 1000,
        on_progress: Progress | None = None,
        purge_items: bool = False,
    ) -> SweepReport:
        """Delete at OpenAI what has expired and what was left, of this tenant.

        Left are conversations that lost a race, and those whose deletion was cut short. May be stopped at
        any point and called again: what is to be deleted is noted before, and deleting what is gone is
        no error. Several may run at once. A name that is used again before its turn is not swept.

        Args:
            limit: How many expired names to remove, and how many conversations to delete, at most.
            on_progress: Called with the number of conversations that are done, and of all.
            purge_items: Delete the items of each conversation before, which OpenAI keeps otherwise.

        Returns:
            What was done. Single deletions that failed are counted, and left for the next sweep.

        Raises:
            openai.AuthenticationError: The key was refused; likewise other errors that every deletion would
                meet. What was done until then stays done.
        """
        checked_count(limit, "limit")
        expired = await self._leftovers.take_expired(limit)
        deletions = Deletions(
            lambda conversation_id: self._delete(conversation_id, purge_items=purge_items),
            self._leftovers.forget,
            self._leftovers.postpone,
        )
        await deletions.run(await self._leftovers.oldest(limit), on_progress)
        return SweepReport(
            expired=expired,
            deleted=deletions.deleted,
            failed=deletions.failed,
            remaining=await self._leftovers.count(),
            lost_creations=await self.lost_creations(),
        )

    async def lost_creations(self, *, older_than: timedelta | float = 600) -> tuple[LostCreation, ...]:
        """Return conversations that may exist at OpenAI without anybody knowing their ids, oldest first.

        The API does not list conversations, so that nobody can delete them without looking them up by hand.

        Args:
            older_than: A timedelta or seconds. A creation of which nothing was heard for so long counts as
                lost: its process has ended. One whose reply was lost counts at once.
        """
        return await self._leftovers.lost_creations(checked_age(older_than))

    async def forget_lost_creation(self, creation_id: str) -> bool:
        """Forget a creation that was lost, once somebody has looked after it; return whether it was there."""
        return await self._leftovers.forget_creation(checked_name(creation_id, "creation_id"))
