"""What a directory is connected to: a database, and OpenAI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from openai import AsyncOpenAI
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from openai_sessions import _agents
from openai_sessions._api.client import open_client
from openai_sessions._api.clients import AsyncCloseable, PerLoop
from openai_sessions._arguments import checked_conversation_id
from openai_sessions._conversation.writing import Progress
from openai_sessions._items.types import Metadata
from openai_sessions.directory._database import Database, GivenEngine, branches, engines_of, names
from openai_sessions.directory._registration import Deletions, Leftovers, Registration
from openai_sessions.directory._rows import Entries, Listing, Opened, Wanted
from openai_sessions.directory._session import NamedSession, checked_conversation_metadata
from openai_sessions.directory._values import (
    BranchEntry,
    LostCreation,
    SessionEntry,
    SessionPage,
    SweepReport,
    checked_age,
    checked_count,
    checked_lifetime,
    checked_name,
    checked_options,
    checked_strings,
    checked_text,
)
from openai_sessions.errors import (
    ConversationRegisteredError,
    CurrentBranchError,
    DeletionPendingError,
    NameNotFoundError,
    NameTakenError,
)
from openai_sessions.session import OpenAIConversationsSession, SessionOptions

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from sqlalchemy.engine import URL
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


_FOR_DELETION = ("requests", "lock", "include")
"""Options of a session that apply to the deletion of its conversation."""

_ATTEMPTS = 5
"""How often a transaction is begun whose conversation other processes register at that moment."""


async def _written(database: Database, register: Callable[[AsyncConnection], Awaitable[Opened]]) -> Opened:
    """Run the transaction; again where another one has registered the same since that was checked."""
    for _ in range(_ATTEMPTS - 1):
        with suppress(IntegrityError):
            return await database.write(register)
    return await database.write(register)


async def _check_is_free(entries: Entries, conversation_id: str) -> None:
    """Do nothing when a conversation may be registered.

    In this order: a transaction that takes a conversation from its name notes it as a leftover.

    Raises:
        ConversationRegisteredError: It is registered.
        DeletionPendingError: It is a leftover.
    """
    owner = await entries.owner_of(conversation_id)
    if owner is not None:
        raise ConversationRegisteredError(conversation_id, owner.name, owner.branch)
    if await entries.is_left(conversation_id):
        raise DeletionPendingError(conversation_id)


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


class SessionDirectory(AsyncCloseable):
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
        self._connect(database, client=openai_client, options=options)
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

    def _connect(self, database: Database, *, client: AsyncOpenAI | None, options: Mapping[str, Any]) -> None:
        """Keep what the directory is connected to."""
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
        client = self._given_client or _agents.default_client()
        given = SessionOptions.of({**self._options, **checked_options(options), "openai_client": client})
        return NamedSession(registration, options=given, shared=self._clients, keep_fork=keep_fork)

    async def _client(self) -> AsyncOpenAI:
        return self._given_client or _agents.default_client() or await self._clients.get()

    async def _delete(self, conversation_id: str, *, purge_items: bool = False) -> None:
        options = {name: self._options[name] for name in _FOR_DELETION if name in self._options}
        session = OpenAIConversationsSession(
            conversation_id=conversation_id, openai_client=await self._client(), **options
        )
        await session.clear_session(purge_items=purge_items)

    async def get(self, name: str) -> SessionEntry | None:
        """Return what the directory says of a name; None when it has none.

        Raises:
            ValueError: The name is empty or too long.
            DirectorySchemaError: The tables are missing, or of another version.
        """
        return await self._listing.get(checked_name(name))

    async def list(self, prefix: str = "", *, limit: int = 100, after: str | None = None) -> SessionPage:
        """Return names in the order of their code points, one page of them.

        Args:
            prefix: Only names that begin with it. No character is special; upper and lower case differ.
            limit: How many at most.
            after: The `next_after` of the page before.

        Raises:
            ValueError: The limit is not a number from 1.
            DirectorySchemaError: The tables are missing, or of another version.
        """
        checked_after = None if after is None else checked_text(after, "after")
        return await self._listing.page(
            checked_text(prefix, "prefix"), limit=checked_count(limit, "limit"), after=checked_after
        )

    async def rename(self, old: str, new: str) -> None:
        """Give a name another one. Its conversation, metadata and branches stay, and so do its sessions.

        Raises:
            NameNotFoundError: There is no name `old`.
            NameTakenError: There is a name `new`. Nothing was changed.
        """
        await self._listing.rename(checked_name(old), checked_name(new))

    async def set_metadata(self, name: str, metadata: Mapping[str, str]) -> None:
        """Put pairs in the place of those that the directory keeps with a name.

        They stay in the database. Those that OpenAI keeps with a conversation are changed by the session's
        `update_metadata()`.

        Raises:
            NameNotFoundError: There is no such name.
            TypeError: The pairs are not strings.
        """
        await self._listing.set_metadata(checked_name(name), checked_strings(metadata) or {})

    async def forget(self, name: str, *, delete: bool = False) -> bool:
        """Remove a name.

        Args:
            name: The name.
            delete: Delete its conversations at OpenAI too, those of all branches. They are noted before,
                so that a sweep makes up for what fails.

        Returns:
            Whether there was such a name.

        Raises:
            openai.OpenAIError: A conversation could not be deleted. The name is removed.
        """
        conversation_ids = await self._listing.remove(checked_name(name), delete=delete)
        for conversation_id in conversation_ids or ():
            await self._delete(conversation_id)
            await self._leftovers.forget(conversation_id)
        return conversation_ids is not None

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

    async def register(
        self,
        name: str,
        conversation_id: str,
        *,
        expires_in: timedelta | float | None = None,
        metadata: Mapping[str, str] | None = None,
        **options: Any,
    ) -> NamedSession:
        """Put an existing conversation under a name, and return the session of it.

        Makes no request to OpenAI: whether the conversation is there is told by the first one. A name that
        has no conversation yet takes it, and one that had expired begins anew with it. What has the
        conversation already is opened, as by `session()`. Of several processes that register at once, one
        is first. What other tenants have registered is not seen.

        What the conversation has used until now is not known to the directory: `set_session_usage()` of the
        session says it.

        Args:
            name: At most 255 characters.
            conversation_id: The conversation.
            expires_in: As for `session()`: once the name has expired, the next sweep deletes the
                conversation.
            metadata: As for `session()`.
            **options: Further arguments of `OpenAIConversationsSession`, beside those of `session_options`.

        Raises:
            NameTakenError: The current branch of the name has another conversation. Nothing was changed.
            ConversationRegisteredError: The conversation has another name, or is another branch of this
                one. Nothing was changed.
            DeletionPendingError: The conversation is to be deleted, or would be, as the name had it and has
                expired. Nothing was changed.
            TypeError: An argument is of the wrong type, or unknown.
            ValueError: An argument is over a limit, or the id is malformed.
            DirectorySchemaError: The tables are missing, or of another version.
            sqlalchemy.exc.SQLAlchemyError: The database cannot be reached, or refuses.
        """
        checked_text(checked_conversation_id(conversation_id), "conversation id")
        wanted = Wanted(checked_name(name), checked_lifetime(expires_in), checked_strings(metadata))
        checked_options(options)

        async def register(connection: AsyncConnection) -> Opened:
            entries = Entries(connection, self.tenant, self._database.clock())
            opened = await entries.open(wanted)
            if opened.conversation_id == conversation_id:
                return opened
            if opened.conversation_id is not None:
                raise NameTakenError(name)
            await _check_is_free(entries, conversation_id)
            return await entries.register(opened, conversation_id)

        opened = await _written(self._database, register)
        return self._session(Registration(self._database, opened), options)

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
