"""`openai-sessions fork`: a new conversation from the beginning of another."""

from __future__ import annotations

from dataclasses import dataclass

from openai_sessions.cli._errors import CommandError, ExitCode
from openai_sessions.cli._output import write_line
from openai_sessions.cli._progress import progress
from openai_sessions.cli._workspace import Workspace
from openai_sessions.errors.forking import UnfinishedForkError
from openai_sessions.session import OpenAIConversationsSession


@dataclass(frozen=True, slots=True, kw_only=True)
class Forking:
    """What to fork.

    Attributes:
        conversation: An id, or a name of the directory.
        before_turn: The number of the turn that is left out, with all that follows; or None.
        after_item: The id of the last item that is copied; or None.
        branch: What to call the fork as a branch of the name; or None.
        name: A new name of the directory for the fork; or None.
    """

    conversation: str
    before_turn: int | None = None
    after_item: str | None = None
    branch: str | None = None
    name: str | None = None

    async def __call__(self, workspace: Workspace) -> None:
        """Fork, and print the id of the new conversation."""
        if self.branch is not None and self.name is not None:
            raise CommandError("Give --name or --branch, not both.", exit_code=ExitCode.USAGE)
        if self.name is not None:
            await workspace.require_free(self.name)
        with progress(f"Forking {self.conversation}", quiet=workspace.settings.quiet):
            forked = await self._fork(workspace)
            if self.name is not None:
                await _register(forked, self.name, workspace)
        write_line(forked.session_id)

    async def _fork(self, workspace: Workspace) -> OpenAIConversationsSession:
        if self.branch is None:
            source = await workspace.source(self.conversation)
            return await source.fork(before_turn=self.before_turn, after_item=self.after_item)
        workspace.require_name(self.conversation)
        return await workspace.directory.fork(
            self.conversation, self.branch, before_turn=self.before_turn, after_item=self.after_item
        )


async def _register(forked: OpenAIConversationsSession, name: str, workspace: Workspace) -> None:
    """Put a fork under a name, or delete it."""
    try:
        await workspace.directory.register(name, forked.session_id)
    except BaseException as error:
        made = forked.session_id
        try:
            await forked.clear_session()
        except Exception as undoing:  # noqa: BLE001 - told with what was raised before
            raise UnfinishedForkError(made, undoing) from error
        raise
