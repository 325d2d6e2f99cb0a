"""What the turns of a name have used, kept in its directory."""

from __future__ import annotations

from typing import overload

from openai_sessions._counting import counted_run
from openai_sessions._operations import operation
from openai_sessions._usage import Usage, marks_of
from openai_sessions.directory._registration import Registration
from openai_sessions.directory._usage_rows import UsageRows
from openai_sessions.errors import ConversationNotCreatedError
from openai_sessions.session import OpenAIConversationsSession


class TurnUsage(OpenAIConversationsSession):
    """The part of the session of a name that counts what its runs use, in the directory.

    The rows of the directory count. Their sum is also written to the metadata of the conversation, where
    a session that was resumed by its id reads it.
    """

    _registration: Registration
    _usage: UsageRows

    _is_mirrored = True
    """Whether the metadata of the conversation has the sum of what this session has stored."""

    @operation()
    async def store_run_usage(self, result: object) -> None:
        """Add what a run has used to its turn, the newest one of the history; each run once.

        As that of `OpenAIConversationsSession`, save that nothing is lost among all processes that share
        the directory, with or without a lock. It reads the history, for the number of the turn, and writes
        the sum to the metadata of the conversation, again as long as others have added to it meanwhile.

        Args:
            result: A `RunResult` or `RunResultStreaming` of the Agents SDK. When its usage is None or zero,
                nothing is done.

        Raises:
            TypeError: It is not the result of a run. Nothing was stored.
            ConversationNotCreatedError: The session is unused, or was cleared since the run.
            MetadataFullError: The conversation has 16 pairs of metadata already. The usage is stored in the
                directory.
            openai.OpenAIError: A request failed. Call it again with the same result: it is counted once.
            sqlalchemy.exc.SQLAlchemyError: The database failed: it may or may not be stored.
        """
        total = Usage.of_run(result)
        if total is None or total == Usage():
            return
        if self.conversation_id is None:
            raise ConversationNotCreatedError
        opened = self._registration.opened
        counted = counted_run(marks_of(result), f"{opened.entry_id}/{opened.branch}/{self.session_id}")
        before, since = counted.seen, total.since(counted.seen)
        if since != Usage():
            counted.seen = total
            try:
                await self._add(since)
            except BaseException:
                counted.seen = before
                raise
        if not self._is_mirrored:
            await self._mirror()

    @operation()
    async def get_session_usage(self) -> Usage | None:
        """Return what all turns have used, from the directory; None when nothing was counted.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: The database cannot be read.
        """
        return await self._usage.total(self._registration.opened)

    @operation()
    async def set_session_usage(self, usage: Usage) -> None:
        """Put a total in the place of what the turns have used; it is turn 0 from now on.

        Raises:
            TypeError: It is no `Usage`. Nothing was changed.
            ConversationNotCreatedError: The session is unused.
            openai.OpenAIError: The metadata of the conversation could not be written. Call it again.
        """
        if not isinstance(usage, Usage):
            raise TypeError(f"usage is an openai_sessions.Usage, not {type(usage).__name__}")
        if self.conversation_id is None or not await self._usage.replace(self._registration.opened, usage):
            raise ConversationNotCreatedError
        await self._mirror()

    @overload
    async def get_turn_usage(self, turn: None = None) -> dict[int, Usage]: ...

    @overload
    async def get_turn_usage(self, turn: int) -> Usage | None: ...

    @operation()
    async def get_turn_usage(self, turn: int | None = None) -> dict[int, Usage] | Usage | None:
        """Return what each turn has used, by its number; or one turn, None when nothing was counted for it.

        Args:
            turn: A number, as `turns()` gives it; None for all turns.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: The database cannot be read.
        """
        used = await self._usage.by_turn(self._registration.opened)
        return used if turn is None else used.get(turn)

    async def _add(self, used: Usage) -> None:
        turns = await self.turns(last=1)
        if not await self._usage.add(self._registration.opened, turns[-1].number if turns else 0, used):
            raise ConversationNotCreatedError
        self._is_mirrored = False

    async def _mirror(self) -> None:
        """Write the sum to the metadata of the conversation: the last one who writes has the newest."""
        self._is_mirrored = False
        written: Usage | None = None
        while (total := await self._usage.total(self._registration.opened)) != written and total is not None:
            await super().set_session_usage(total)
            written = total
        self._is_mirrored = True
