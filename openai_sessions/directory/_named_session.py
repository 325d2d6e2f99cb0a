"""The session of a name."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from openai_sessions import _agents
from openai_sessions._arguments import checked_metadata
from openai_sessions._clients import Clients, OwnClients
from openai_sessions._lazy_conversation import Hooks, PossibleOrphan
from openai_sessions._metadata import RESERVED_PREFIX
from openai_sessions._per_loop import PerLoop
from openai_sessions._types import Item, Metadata
from openai_sessions.directory._named_conversation import NamedConversation
from openai_sessions.directory._registration import Registration
from openai_sessions.directory._shared_clients import SharedClients
from openai_sessions.directory._turn_usage import TurnUsage
from openai_sessions.directory._usage_rows import UsageRows
from openai_sessions.directory._values import CREATION_KEY
from openai_sessions.errors.forking import UnfinishedForkError
from openai_sessions.session import OpenAIConversationsSession

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from typing_extensions import Self

_MAX_PAIRS = 13
"""The API keeps 16: one is the directory's, one is for usage, one names the parent of a fork."""


class NamedSession(TurnUsage):
    """Keep an agent's memory in the conversation that a directory has registered under a name.

    Made by `SessionDirectory.session()`. It is an `OpenAIConversationsSession` in every respect, and
    - its conversation is created by the first write, and registered before its first item is written;
    - each write notes in the directory that the name is used, and goes to the conversation that is
      registered then; a read does so once the one it knows is gone;
    - `clear_session()` takes the conversation from the name before it deletes it. When the deletion
      fails, its error comes out, and the next sweep of the directory makes up for it;
    - `fork()` gives a session that has no name: `SessionDirectory.fork()` makes a branch;
    - `store_run_usage()` and its companions count in the directory, turn by turn;
    - setting `session_id` leaves the directory, until the session is cleared.

    It stands for the branch that was current when it was opened, also when the directory switches to
    another one, and for its name also when that is changed.
    """

    def __init__(
        self,
        registration: Registration,
        *,
        options: Mapping[str, Any],
        shared: PerLoop[AsyncOpenAI],
        keep_fork: Callable[[str, str | None], Awaitable[object]] | None = None,
    ) -> None:
        metadata = checked_conversation_metadata(options.get("metadata"))
        super().__init__(**{**options, "metadata": metadata})
        if isinstance(self._clients, OwnClients):
            self._clients = SharedClients(shared, self._using)
        self._registration = registration
        self._usage = UsageRows(registration.database)
        self._keep_fork = keep_fork
        self._orphaned: set[str] = set()
        self._on_orphan = options.get("on_orphan")
        self._options["on_orphan"] = self._note_orphan  # for forks
        self._conversation = NamedConversation(
            self._clients,
            registration=registration,
            metadata=metadata,
            hooks=Hooks(
                on_created=options.get("on_conversation_created"),
                on_orphan=self._on_orphan,
                lock=options.get("lock"),
            ),
        )
        _agents.register_session(NamedSession)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} name={self.name!r} branch={self.branch!r} "
            f"conversation_id={self.conversation_id!r}>"
        )

    @property
    def name(self) -> str:
        """The name, as the directory had it when the session was last opened or written to."""
        return self._registration.opened.name

    @property
    def branch(self) -> str:
        """The branch that the session stands for."""
        return self._registration.opened.branch

    def _using(self, client: AsyncOpenAI) -> Clients:
        """Return how a session with the settings of this one uses a client."""
        like_this = OpenAIConversationsSession(**{**self._options, "openai_client": client})
        return like_this._clients  # noqa: SLF001 -- what this session would have had, had it been given it

    def _sibling(self, conversation_id: str) -> Self:
        """Return a session without a name: this one's has a conversation."""
        options = {
            **self._options,
            "conversation_id": conversation_id,
            "session_settings": copy.copy(self.session_settings),
            "on_orphan": self._on_orphan,
        }
        return cast("Self", OpenAIConversationsSession(**options))

    async def _forked(self, items: Sequence[Item], metadata: Metadata) -> Self:
        """Fork as an `OpenAIConversationsSession` does, and note in the directory before that it is done."""
        if len(metadata) > _MAX_PAIRS + 1:
            raise ValueError(
                f"metadata has {len(metadata) - 1} pairs, and a fork of a name keeps at most {_MAX_PAIRS}: "
                "the API keeps 16, and three are this library's. Leave one out."
            )
        registration = self._registration
        creation_id = await registration.note_creation(metadata)
        try:
            fork = await super()._forked(items, {**metadata, CREATION_KEY: creation_id})
        except UnfinishedForkError as error:
            await registration.release(error.conversation_id, self._creation_to_forget(creation_id))
            raise
        except Exception:
            if self._creation_to_forget(creation_id):
                await registration.forget_creation(creation_id)
            else:
                await registration.creation_lost(creation_id)
            raise
        keep = self._keep_fork or (lambda _, creation_id: registration.forget_creation(creation_id))
        kept = self._creation_to_forget(creation_id)
        if kept is None:
            await registration.creation_lost(creation_id)
        await keep(fork.session_id, kept)
        return fork

    def _creation_to_forget(self, creation_id: str) -> str | None:
        """Return a creation, or None when the reply to one of its requests was lost: it stays noted."""
        return None if creation_id in self._orphaned else creation_id

    def _note_orphan(self, orphan: PossibleOrphan) -> None:
        self._orphaned.add((orphan.metadata or {}).get(CREATION_KEY, ""))
        if self._on_orphan is not None:
            self._on_orphan(orphan)


def checked_conversation_metadata(value: object) -> dict[str, str]:
    """Return pairs for OpenAI to keep with a conversation, beside those of this library.

    Raises:
        TypeError: It is not a mapping of strings to strings.
        ValueError: It is over a limit of the API, or has a key of this library's.
    """
    metadata = checked_metadata(value) or {}
    if len(metadata) > _MAX_PAIRS:
        raise ValueError(
            f"the metadata of a conversation has {len(metadata)} pairs, and at most {_MAX_PAIRS} fit: the "
            "API keeps 16, and three are this library's"
        )
    for key in metadata:
        if key.startswith(RESERVED_PREFIX):
            raise ValueError(f"the metadata key {key!r} is kept by openai_sessions: take another name")
    return metadata
