"""`openai-sessions clear`: delete a conversation, after asking."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from openai_sessions.cli._confirming import confirm, require_terminal
from openai_sessions.cli._errors import UnfinishedError
from openai_sessions.cli._progress import progress
from openai_sessions.cli._wording import counted
from openai_sessions.cli._workspace import Workspace
from openai_sessions.session import OpenAIConversationsSession


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearing:
    """What to delete.

    Attributes:
        conversation: An id, or a name of the directory.
        purge: Whether to delete each item too, which OpenAI otherwise keeps, out of reach.
        yes: Whether to go ahead without asking.
    """

    conversation: str
    purge: bool = False
    yes: bool = False

    async def __call__(self, workspace: Workspace) -> None:
        """Delete the conversation, and say so."""
        if not self.yes:
            require_terminal()
        session = await workspace.target(self.conversation)
        conversation_id = session.conversation_id
        if conversation_id is None:
            workspace.note(f"{self.conversation} has no conversation: there is nothing to delete.")
            return
        if not self.yes:
            confirm(await self._question(session, workspace))
        await session.get_items(1)  # raises when there is no such conversation, which clearing does not
        await self._clear(session, conversation_id, workspace)
        workspace.note(f"Deleted {conversation_id}.")

    async def _clear(
        self, session: OpenAIConversationsSession, conversation_id: str, workspace: Workspace
    ) -> None:
        deleted = 0
        with progress(f"Deleting {conversation_id}", quiet=workspace.settings.quiet) as show:

            def count(done: int, total: int) -> None:
                nonlocal deleted
                deleted = done
                show(done, total)

            try:
                await session.clear_session(purge_items=self.purge, on_progress=count)
            except (Exception, asyncio.CancelledError) as error:
                if not deleted:
                    raise
                left = f"{counted(deleted, 'item')} of {conversation_id} deleted: run it again."
                if isinstance(error, asyncio.CancelledError):
                    workspace.note(left)
                    raise
                raise UnfinishedError(left) from error

    async def _question(self, session: OpenAIConversationsSession, workspace: Workspace) -> str:
        count = 0
        with progress("Counting", quiet=workspace.settings.quiet) as show:
            async for _ in session.iterate_items():
                count += 1
                show(count, None)
        named = "" if self.conversation == session.conversation_id else f" ({self.conversation})"
        items = f"{'and its' if self.purge else 'with'} {counted(count, 'item')}"
        return f"Delete {session.conversation_id}{named} {items} for ever?"
