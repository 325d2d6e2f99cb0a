"""The directory: sessions by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from openai_sessions._types import Metadata
from openai_sessions.directory._branched import BranchedNames
from openai_sessions.directory._checks import (
    checked_lifetime,
    checked_name,
    checked_options,
    checked_strings,
    checked_text,
)
from openai_sessions.directory._database import Database
from openai_sessions.directory._engines import GivenEngine, engines_of
from openai_sessions.directory._entries import Entries, Wanted
from openai_sessions.directory._listed import ListedNames
from openai_sessions.directory._listing import Listing
from openai_sessions.directory._named_session import NamedSession, checked_conversation_metadata
from openai_sessions.directory._registered import RegisteredConversations
from openai_sessions.directory._registration import Registration
from openai_sessions.directory._swept import SweptConversations

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from sqlalchemy.engine import URL
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


class SessionDirectory(ListedNames, BranchedNames, RegisteredConversations, SweptConversations):
    """Sessions by the names that an application thinks in, kept in SQLite or PostgreSQL.

    A directory may be shared by any number of processes, tasks and event loops. Use it as a context
    manager, or close it with `aclose()`; its sessions need not be closed apart, and are not to be used
    after that.

    Args:
        url: The database: `sqlite+aiosqlite:///file.db` or `postgresql+asyncpg://user:password@host/name`;
            the driver may be left out. It is shown nowhere.
        engine: An `AsyncEngine` of SQLAlchemy to use in place of the URL; it stays the caller's.
        tenant: Keeps customers apart: a directory sees and changes what has its tenant, and nothing else.
        openai_client: The client of all sessions; it stays the caller's. Without one: the default client of
            the Agents SDK, if that is imported and has one, else one for each event loop, configured from
            the environment at its first request and closed by `aclose()`.
        session_options: Arguments of `OpenAIConversationsSession` for every session, such as `history`,
            `lock` and `retry_policy`. Its `metadata` is what OpenAI keeps with each conversation: at most
            13 pairs, as three are this library's.
        clock: Gives the time as an aware datetime. The clocks of processes that share a directory should
            agree as well as `expires_in` needs.

    Raises:
        ValueError: The URL, the tenant or an option is not usable.
        ImportError: The driver of the database is not installed; names the extra that brings it.
    """

    def __init__(  # noqa: PLR0913 -- what a directory is made of
        self,
        url: str | URL = "sqlite+aiosqlite:///openai_sessions.db",
        *,
        engine: AsyncEngine | None = None,
        tenant: str = "",
        openai_client: AsyncOpenAI | None = None,
        session_options: Mapping[str, Any] | None = None,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        engines = engines_of(url) if engine is None else GivenEngine(engine)
        database = Database(engines, tenant=checked_text(tenant, "tenant"), clock=clock)
        options = checked_options(session_options or {})
        checked_conversation_metadata(options.get("metadata"))
        super().__init__(database, client=openai_client, options=options)
        self._listing = Listing(database)

    async def session(
        self,
        name: str,
        branch: str | None = None,
        *,
        expires_in: timedelta | float | None = None,
        metadata: Mapping[str, str] | None = None,
        conversation_metadata: Metadata | None = None,
        **options: Any,
    ) -> NamedSession:
        """Return the session of a name, or of one of its branches: resumed, or new.

        Makes no request to OpenAI. A new name stands in the directory at once; its conversation is
        created by the first write, and registered before its first item is written. When several
        processes do so at once, all go on with the one that was registered first; each other one, which is
        empty, is deleted.

        Args:
            name: At most 255 characters. Upper and lower case differ.
            branch: A branch of a name that is there; None for the current one. The name goes on to stand for
                its current one.
            expires_in: A timedelta or seconds, after which the name expires unless it is opened or written
                to again; None for what was said before, or never. An expired name begins anew, without its
                metadata, and its conversations are left for the next sweep.
            metadata: Pairs to be kept with the name in the database, in the place of those that are kept
                with it; None to leave these. OpenAI does not see them.
            conversation_metadata: Pairs for OpenAI to keep with a conversation that this session creates,
                in place of those of `session_options`.
            **options: Further arguments of `OpenAIConversationsSession`, beside those of `session_options`.

        Raises:
            NameNotFoundError: There is no such name, or it has no such branch. Without a branch, never.
            TypeError: An argument is of the wrong type, or unknown.
            ValueError: An argument is over a limit.
            DirectorySchemaError: The tables are missing, or of another version.
            sqlalchemy.exc.SQLAlchemyError: The database cannot be reached, or refuses.
        """
        wanted = Wanted(checked_name(name), checked_lifetime(expires_in), checked_strings(metadata))
        if conversation_metadata is not None:
            options["metadata"] = checked_conversation_metadata(conversation_metadata)
        if branch is not None:
            checked_name(branch, "branch")
        checked_options(options)

        async def open_name(connection: AsyncConnection) -> Registration:
            entries = Entries(connection, self.tenant, self._database.clock())
            opening = entries.open(wanted) if branch is None else entries.open_branch(wanted, branch)
            return Registration(self._database, await opening)

        return self._session(await self._database.write(open_name), options)
