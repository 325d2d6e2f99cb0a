"""What a directory is connected to: a database, and OpenAI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from openai import AsyncOpenAI

from openai_sessions import _agents
from openai_sessions._closing import AsyncCloseable
from openai_sessions._gateway import open_client
from openai_sessions._per_loop import PerLoop
from openai_sessions.directory._checks import checked_options
from openai_sessions.directory._database import Database
from openai_sessions.directory._leftovers import Leftovers
from openai_sessions.directory._named_session import NamedSession
from openai_sessions.directory._registration import Registration
from openai_sessions.session import OpenAIConversationsSession

_FOR_DELETION = ("timeout", "retry_policy", "retry_budget", "on_retry", "lock", "include")
"""Options of a session that bear on the deletion of its conversation."""


class Connected(AsyncCloseable):
    """The part of a directory that is opened and closed.

    Args:
        database: The database, as one tenant sees it.
        client: The client of all sessions; None for the default one, or one of its own for each event loop.
        options: Arguments for every session.
    """

    def __init__(self, database: Database, *, client: AsyncOpenAI | None, options: Mapping[str, Any]) -> None:
        self._database = database
        self._leftovers = Leftovers(database)
        self._given_client = client
        self._clients = PerLoop(open_client, AsyncOpenAI.close)
        self._options = dict(options)

    @property
    def tenant(self) -> str:
        """The tenant whose names this directory sees."""
        return self._database.tenant

    def __repr__(self) -> str:
        return f"<{type(self).__name__} tenant={self.tenant!r}>"

    async def aclose(self) -> None:
        """Close the connections to the database and to OpenAI that were opened here.

        A later operation opens new ones.
        """
        try:
            await self._clients.aclose()
        finally:
            await self._database.aclose()

    async def create_tables(self) -> None:
        """Create the tables in the database, if they are not there. Several processes may do so at once.

        Raises:
            DirectorySchemaError: There are tables of another version. Nothing was changed.
            sqlalchemy.exc.SQLAlchemyError: The database cannot be reached, or refuses.
        """
        await self._database.create_tables()

    def _session(
        self,
        registration: Registration,
        options: Mapping[str, Any],
        *,
        keep_fork: Callable[[str, str | None], Awaitable[object]] | None = None,
    ) -> NamedSession:
        """Return a session of a branch.

        Raises:
            TypeError: There is no such option.
        """
        given = {**self._options, **checked_options(options), "openai_client": self._given_client}
        return NamedSession(registration, options=given, shared=self._clients, keep_fork=keep_fork)

    async def _client(self) -> AsyncOpenAI:
        return self._given_client or _agents.default_client() or await self._clients.get()

    async def _delete(self, conversation_id: str, *, purge_items: bool = False) -> None:
        options = {name: self._options[name] for name in _FOR_DELETION if name in self._options}
        session = OpenAIConversationsSession(
            conversation_id=conversation_id, openai_client=await self._client(), **options
        )
        await session.clear_session(purge_items=purge_items)
