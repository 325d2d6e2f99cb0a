"""`openai-sessions fork`: a new conversation from the beginning of another."""

from __future__ import annotations

from dataclasses import dataclass

from openai_sessions.cli._output import write_line
from openai_sessions.cli._progress import progress
from openai_sessions.cli._workspace import Workspace
from openai_sessions.session import OpenAIConversationsSession


@dataclass(frozen=True, slots=True, kw_only=True)
class Forking:
    """What to fork.

    Attributes:
        conversation: An id, or a name of the directory.
        before_turn: The number of the turn that is left out, with all that follows; or None.
        after_item: The id of the last item that is copied; or None.
        branch: What to call the fork as a branch of the name; None for a conversation by itself.
    """

    conversation: str
    before_turn: int | None = None
    after_item: str | None = None
    branch: str | None = None

    async def __call__(self, workspace: Workspace) -> None:
        """Fork, and print the id of the new conversation."""
        with progress(f"Forking {self.conversation}", quiet=workspace.settings.quiet):
            forked = await self._fork(workspace)
        write_line(forked.session_id)

    async def _fork(self, workspace: Workspace) -> OpenAIConversationsSession:
        if self.branch is None:
            source = await workspace.source(self.conversation)
            return await source.fork(before_turn=self.before_turn, after_item=self.after_item)
        workspace.require_name(self.conversation)
        return await workspace.directory.fork(
            self.conversation, self.branch, before_turn=self.before_turn, after_item=self.after_item
        )
