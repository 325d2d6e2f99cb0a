"""The branches of a name."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from openai_sessions.directory._checks import checked_name
from openai_sessions.directory._connected import Connected
from openai_sessions.directory._entries import Entries, Opened
from openai_sessions.directory._named_session import NamedSession
from openai_sessions.directory._registration import Registration
from openai_sessions.directory._tables import branches, names
from openai_sessions.directory._values import BranchEntry
from openai_sessions.errors.directory import CurrentBranchError, NameNotFoundError, NameTakenError


class BranchedNames(Connected):
    """The part of a directory that keeps several conversations under one name."""

    async def branches(self, name: str) -> tuple[BranchEntry, ...]:
        """Return the branches of a name, the oldest first. A name begins with one, `main`.

        Raises:
            NameNotFoundError: There is no such name.
        """
        statement = (
            select(branches, names.c.branch.label("current"))
            .join(names, (names.c.tenant == branches.c.tenant) & (names.c.entry_id == branches.c.entry_id))
            .where(names.c.tenant == self.tenant, names.c.name == checked_name(name))
            .order_by(branches.c.created_at, branches.c.branch)
        )

        async def read(connection: AsyncConnection) -> tuple[BranchEntry, ...]:
            rows = (await connection.execute(statement)).mappings()
            return tuple(
                BranchEntry(
                    branch=row["branch"],
                    conversation_id=row["conversation_id"],
                    created_at=row["created_at"],
                    is_current=row["branch"] == row["current"],
                )
                for row in rows
            )

        found = await self._database.read(read)
        if not found:
            raise NameNotFoundError(name)
        return found

    async def fork(
        self,
        name: str,
        branch: str,
        *,
        before_turn: int | None = None,
        after_item: str | None = None,
        **options: Any,
    ) -> NamedSession:
        """Make a new branch of a name, from its current one, and return the session of it.

        The current branch stays the current one: see `switch()`. All or nothing, as
        `OpenAIConversationsSession.fork()`; what is left when this process ends is swept.

        Args:
            name: The name.
            branch: What to call the new branch; at most 255 characters.
            before_turn: The number of a turn; the items before it are copied.
            after_item: The id of a stored item; the items up to it, and it, are copied. With neither
                argument all items are.
            **options: Further arguments of `OpenAIConversationsSession`.

        Raises:
            NameNotFoundError: There is no such name.
            NameTakenError: The name has such a branch. Nothing is left of the fork.
            ConversationNotCreatedError: The current branch has no conversation yet.
            Exception: Those of `OpenAIConversationsSession.fork()`.
        """
        opened = await self._opened_to_fork(checked_name(name), checked_name(branch, "branch"))
        registration = Registration(self._database, opened)
        forked: list[Opened | None] = []

        async def keep(conversation_id: str, creation_id: str | None) -> None:
            forked.append(await registration.add_branch(branch, conversation_id, creation_id))

        session = self._session(registration, options, keep_fork=keep)
        fork = await session.fork(before_turn=before_turn, after_item=after_item)
        if forked[0] is None:
            await self._delete(fork.session_id)
            await self._leftovers.forget(fork.session_id)
            raise NameTakenError(name, branch)
        return self._session(Registration(self._database, forked[0]), options)

    async def switch(self, name: str, branch: str) -> None:
        """Let a name stand for another one of its branches. Sessions that are open keep theirs.

        Raises:
            NameNotFoundError: There is no such name, or it has no such branch. Nothing was changed.
        """
        checked_name(name)
        checked_name(branch, "branch")

        async def switch(connection: AsyncConnection) -> None:
            entries = Entries(connection, self.tenant, self._database.clock())
            row = await entries.locked_by_name(name)
            if branch not in await entries.branches_of(row["entry_id"]):
                raise NameNotFoundError(name, branch)
            is_row = (names.c.tenant == self.tenant) & (names.c.entry_id == row["entry_id"])
            await connection.execute(update(names).where(is_row).values(branch=branch))

        await self._database.write(switch)

    async def forget_branch(self, name: str, branch: str, *, delete: bool = False) -> bool:
        """Remove a branch of a name with its usage. The current one stays.

        Sessions of the branch that are open go on with its conversation; when that is deleted, or there is
        none yet, their next write makes the branch again.

        Args:
            name: The name.
            branch: One of its branches, and not the current one.
            delete: Delete its conversation at OpenAI too. It is noted before, so that a sweep makes up for
                what fails.

        Returns:
            Whether there was such a branch.

        Raises:
            CurrentBranchError: The name stands for this branch. Nothing was changed.
            openai.OpenAIError: The conversation could not be deleted. The branch is removed.
        """
        checked_name(name)
        checked_name(branch, "branch")

        async def remove(connection: AsyncConnection) -> tuple[bool, str | None]:
            entries = Entries(connection, self.tenant, self._database.clock())
            row = await entries.locked(name=name)
            found = {} if row is None else await entries.branches_of(row["entry_id"])
            if row is None or branch not in found:
                return False, None
            if branch == row["branch"]:
                raise CurrentBranchError(name, branch)
            await entries.remove_branch(row["entry_id"], branch)
            conversation_id = found[branch] if delete else None
            if conversation_id is not None:
                await entries.leave([conversation_id], name=name, reason="forgotten")
            return True, conversation_id

        was_there, conversation_id = await self._database.write(remove)
        if conversation_id is not None:
            await self._delete(conversation_id)
            await self._leftovers.forget(conversation_id)
        return was_there

    async def _opened_to_fork(self, name: str, branch: str) -> Opened:
        async def open_name(connection: AsyncConnection) -> Opened:
            entries = Entries(connection, self.tenant, self._database.clock())
            row = await entries.locked_by_name(name)
            opened = await entries.renewed(row, row["branch"])
            if branch in await entries.branches_of(row["entry_id"]):
                raise NameTakenError(name, branch)
            return opened

        return await self._database.write(open_name)
