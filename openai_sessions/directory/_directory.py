"""The directory of sessions by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, get_args

from openai import AsyncOpenAI
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from openai_sessions import _agents
from openai_sessions._api.client import open_client
from openai_sessions._api.clients import AsyncCloseable, PerLoop, clients_for
from openai_sessions._arguments import checked_choice, checked_conversation_id, checked_strings
from openai_sessions._conversation.lazy import LazyConversation
from openai_sessions._conversation.usage import Usage
from openai_sessions._conversation.writing import Progress
from openai_sessions._items.types import Metadata
from openai_sessions.directory._database import Database, GivenEngine, engines_of
from openai_sessions.directory._erasure import Erasure, ErasureRows, ErasureScope, erasure_report
from openai_sessions.directory._keys import DirectoryKeyStore
from openai_sessions.directory._registration import (
    DeletionRun,
    PendingDeletions,
    Registration,
    forget_creation,
    lost_creations,
)
from openai_sessions.directory._rows import (
    DirectoryTransaction,
    NameFilter,
    NameOptions,
    NameRows,
    OpenedBranch,
    UsageRows,
)
from openai_sessions.directory._session import KeepFork, NamedSession, checked_conversation_metadata
from openai_sessions.directory._values import (
    BranchEntry,
    ErasureReport,
    LostCreation,
    Order,
    SessionEntry,
    SessionPage,
    SweepReport,
    TitleWriter,
    checked_age,
    checked_column,
    checked_count,
    checked_lifetime,
    checked_name,
    checked_optional,
    checked_options,
    search_key,
)
from openai_sessions.encryption._keys import KeyStore, is_key_store
from openai_sessions.errors import (
    ConversationRegisteredError,
    DeletionPendingError,
    NameNotFoundError,
    NameTakenError,
)
from openai_sessions.session import OpenAIConversationsSession, SessionOptions

if TYPE_CHECKING:
    from sqlalchemy.engine import URL
    from sqlalchemy.ext.asyncio import AsyncEngine

_FOR_DELETION = ("requests", "lock", "include")
"""Session options that apply to the deletion of a conversation."""

_ATTEMPTS = 5
"""How often a registration is tried while other processes register the same conversation."""


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


class SessionDirectory(AsyncCloseable):
    """Sessions by application-defined names, stored in SQLite or PostgreSQL.

    Any number of processes, tasks and event loops may share a directory. Use it as a context manager, or
    close it with `aclose()`. Its sessions need not be closed separately, and must not be used after that.

    Args:
        url: The database: `sqlite+aiosqlite:///file.db` or `postgresql+asyncpg://user:password@host/name`;
            the driver is optional. No error, log line or `repr` shows it.
        engine: An `AsyncEngine` of SQLAlchemy to use instead of the URL; the caller keeps ownership of it.
        tenant: Separates customers: a directory reads and changes only the entries of its tenant.
        openai_client: The client of all sessions; the caller keeps ownership of it. Without one: the default
            client of the Agents SDK, if that is imported and has one; otherwise one per event loop,
            configured from the environment at its first request and closed by `aclose()`.
        session_options: Arguments of `OpenAIConversationsSession` for every session, such as `history` and
            `lock`. Its `metadata` is stored by OpenAI with each conversation: at most 13 pairs, because this
            library needs three.
        title_with: Called once for each name without a title, after the first write, of whichever process,
            that ends a turn with an answer of the assistant. It gets the items of that turn as a model
            request accepts them, the newest 100 at most, read in one request. It returns the title, of which
            the first 255 characters are stored, or None; may be a coroutine function. The write waits for it,
            or the last event of a stream of `client()`. If it raises, that is logged, and the name has no
            title until `set_title()`; a cancellation reaches the caller, and the turn stays stored.
            `clear_session()` removes a generated title. Items of an `EncryptedSession` end no turn.
        clock: Returns the current time as an aware datetime. The clocks of processes that share a directory
            should agree to the precision that `expires_in` needs.

    Raises:
        ValueError: The URL, the tenant or an option is invalid.
        TypeError: An argument is of the wrong type.
        ImportError: The database driver is not installed; names the extra that installs it.
    """

    def __init__(  # noqa: PLR0913 -- each configures an independent part of the directory
        self,
        url: str | URL = "sqlite+aiosqlite:///openai_sessions.db",
        *,
        engine: AsyncEngine | None = None,
        tenant: str = "",
        openai_client: AsyncOpenAI | None = None,
        session_options: Mapping[str, Any] | None = None,
        title_with: TitleWriter | None = None,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        engines = engines_of(url) if engine is None else GivenEngine(engine)
        self._database = Database(engines, tenant=checked_column(tenant, "tenant"), clock=clock)
        self._names = NameRows(self._database)
        self._pending = PendingDeletions(self._database)
        self._options = checked_options(session_options or {})
        checked_conversation_metadata(self._options.get("metadata"))
        if title_with is not None and not callable(title_with):
            raise TypeError(f"title_with must be a function, not {title_with!r}")
        self._title_with = title_with
        self._given_client = openai_client
        self._clients = PerLoop(open_client, AsyncOpenAI.close)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} tenant={self.tenant!r}>"

    @property
    def tenant(self) -> str:
        """The tenant whose names this directory contains."""
        return self._database.tenant

    async def create_tables(self, *, dry_run: bool = False) -> int | None:
        """Create the tables if they are missing, or upgrade those of an earlier release.

        All is done in one transaction: if it fails, or its process is killed, nothing was changed. Several
        processes may call it at once; one of them does the work, and the others wait for it.

        Args:
            dry_run: Only return the version. Nothing is changed.

        Returns:
            The version of the tables that was found; None if there were none.

        Raises:
            DirectorySchemaError: The database has tables of a newer release. Nothing was changed.
            sqlalchemy.exc.SQLAlchemyError: The database is unreachable or raised an error.
        """
        return await self._database.create_tables(dry_run=dry_run)

    async def aclose(self) -> None:
        """Close the connections to the database and to OpenAI that this directory opened.

        A later operation opens new ones.
        """
        try:
            await self._clients.aclose()
        finally:
            await self._database.aclose()

    async def session(  # noqa: PLR0913 -- each is stored or used on its own
        self,
        name: str,
        branch: str | None = None,
        *,
        user: str | None = None,
        title: str | None = None,
        expires_in: timedelta | float | None = None,
        metadata: Mapping[str, str] | None = None,
        conversation_metadata: Metadata | None = None,
        **options: Any,
    ) -> NamedSession:
        """Return the session of a name or of one of its branches; create the name if it is new.

        Makes no request to OpenAI. A new name is stored at once; the first write creates its conversation,
        and registers it before its first item is written. If several processes do so at once, all use the
        conversation that was registered first; the others are empty, and are deleted.

        An existing name of which nothing is to be changed is opened by reading the database.

        Args:
            name: At most 255 characters, case-sensitive.
            branch: An existing branch of an existing name; None for the current one. The current branch of
                the name does not change.
            user: The owner of a new name, and the required owner of an existing one; at most 255 characters,
                not sent to OpenAI. None gives a new name no owner, and opens any existing one. An application
                that takes names from its users passes it.
            title: The title to store, of at most 255 characters; None to keep the stored one.
            expires_in: A timedelta or seconds after which the name expires unless it is opened or written to
                again; None to keep the stored value (initially never). A write starts it again; opening does
                so once a tenth of it has passed. Using an expired name resets it: its owner, title and
                metadata are removed, and the next sweep deletes its conversations.
            metadata: Pairs to store with the name in the database, replacing the stored ones; None to keep
                them. OpenAI does not see them.
            conversation_metadata: Pairs that OpenAI stores with a conversation created by this session,
                instead of those of `session_options`.
            **options: Further arguments of `OpenAIConversationsSession`, which override `session_options`.

        Raises:
            NameNotFoundError: The name or the branch does not exist. Not raised without a branch.
            UserMismatchError: The name exists, and has another owner than `user`, or none. Nothing was
                changed.
            TypeError: An argument is of the wrong type, or unknown.
            ValueError: An argument exceeds a limit.
            DirectorySchemaError: The tables are missing, or of another version.
            sqlalchemy.exc.SQLAlchemyError: The database is unreachable or raised an error.
        """
        wanted = _name_options(name, user, title, expires_in, metadata)
        if conversation_metadata is not None:
            options["metadata"] = checked_conversation_metadata(conversation_metadata)
        if branch is not None:
            checked_name(branch, "branch")
        checked_options(options)

        async def find(connection: AsyncConnection) -> OpenedBranch | None:
            return await self._transaction(connection).opened_unchanged(wanted, branch)

        async def open_name(connection: AsyncConnection) -> OpenedBranch:
            transaction = self._transaction(connection)
            if branch is None:
                return await transaction.open(wanted)
            return await transaction.open_branch(wanted, branch)

        opened = await self._database.read(find)
        if opened is None:
            opened = await self._database.write(open_name)
        return self._session(opened, options)

    async def register(  # noqa: PLR0913 -- as session()
        self,
        name: str,
        conversation_id: str,
        *,
        user: str | None = None,
        title: str | None = None,
        expires_in: timedelta | float | None = None,
        metadata: Mapping[str, str] | None = None,
        **options: Any,
    ) -> NamedSession:
        """Register an existing conversation under a name, and return its session.

        Makes no request to OpenAI: the first request of the session shows whether the conversation exists. A
        name without a conversation takes it, and an expired name is reset and takes it. A name that has this
        conversation already is opened, as by `session()`. If several processes register at once, one of them
        is first. Conversations registered by other tenants are not checked.

        The directory does not know the conversation's usage until now: set it with the session's
        `set_session_usage()`.

        Args:
            name: At most 255 characters.
            conversation_id: The conversation.
            user: As for `session()`.
            title: As for `session()`.
            expires_in: As for `session()`: once the name has expired, the next sweep deletes the
                conversation.
            metadata: As for `session()`.
            **options: Further arguments of `OpenAIConversationsSession`, which override `session_options`.

        Raises:
            NameTakenError: The current branch of the name has another conversation. Nothing was changed.
            UserMismatchError: As for `session()`.
            ConversationRegisteredError: The conversation is registered under another name, or as another
                branch of this one. Nothing was changed.
            DeletionPendingError: The conversation is to be deleted, or would be, because it belongs to this
                name, which has expired. Nothing was changed.
            TypeError: An argument is of the wrong type, or unknown.
            ValueError: An argument exceeds a limit, or the id is malformed.
            DirectorySchemaError: The tables are missing, or of another version.
            sqlalchemy.exc.SQLAlchemyError: The database is unreachable or raised an error.
        """
        checked_column(checked_conversation_id(conversation_id), "conversation id")
        wanted = _name_options(name, user, title, expires_in, metadata)
        checked_options(options)

        async def register(connection: AsyncConnection) -> OpenedBranch:
            transaction = self._transaction(connection)
            opened = await transaction.open(wanted)
            if opened.conversation_id == conversation_id:
                return opened
            if opened.conversation_id is not None:
                raise NameTakenError(name)
            await _check_unregistered(transaction, conversation_id)
            return await transaction.register(opened, conversation_id)

        return self._session(await self._register(register), options)

    async def _register(self, register: Callable[[AsyncConnection], Awaitable[OpenedBranch]]) -> OpenedBranch:
        """Run the transaction; retry if another one registered the conversation after our check."""
        for _ in range(_ATTEMPTS - 1):
            with suppress(IntegrityError):
                return await self._database.write(register)
        return await self._database.write(register)

    async def get(self, name: str, user: str | None = None) -> SessionEntry | None:
        """Return the entry of a name, or None if the name does not exist.

        Args:
            name: The name.
            user: A name of another owner counts as missing; None for any owner.

        Raises:
            ValueError: The name or the user is empty or too long.
            DirectorySchemaError: The tables are missing, or of another version.
        """
        return await self._names.get(checked_name(name), checked_optional(user, "user"))

    async def conversations(  # noqa: PLR0913 -- each selects entries by another of their values
        self,
        user: str | None = None,
        *,
        prefix: str = "",
        order: Order = "-used_at",
        search: str | None = None,
        metadata: Mapping[str, str] | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> SessionPage:
        """Return a page of names, most recently used first, as an application lists them in a sidebar.

        Pages are stable while others write: a name that is not written to meanwhile is on exactly one page. A
        name that is moves to the start of the order by use.

        A page by time of use is read from an index, for all users and for one; `prefix`, `search` and
        `metadata` are compared with each entry that comes before the end of the page.

        Args:
            user: Return only the names of this owner; None for those of all owners and of none.
            prefix: Return only names that start with it. No character is special; case-sensitive.
            order: "-used_at" and "used_at" by time of use, "name" and "-name" by the code points of the name;
                the minus sign reverses the order.
            search: Return only names whose title contains this text. Case, width and composition of
                characters do not matter, and no character is special. None or "" for all.
            metadata: Return only names that have all these pairs of metadata.
            limit: The maximum number of names. With `metadata`, a page may have fewer although more follow.
            after: The `next_after` of the previous page, which had the same order. In the orders by name, it
                is the name.

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: The limit is less than 1, the order is unknown, a text is too long, or `after` is not
                a cursor of this order.
            DirectorySchemaError: The tables are missing, or of another version.
        """
        checked_choice("order", order, get_args(Order))
        condition = NameFilter(
            user=checked_optional(user, "user"),
            prefix=checked_column(prefix, "prefix"),
            search="" if search is None else search_key(checked_column(search, "search")),
            metadata=checked_strings(metadata) or {},
        )
        return await self._names.page(
            condition,
            order=order,
            limit=checked_count(limit, "limit"),
            after=None if after is None else checked_column(after, "after"),
        )

    async def get_turn_usage(self, name: str) -> dict[int, Usage]:
        """Return the usage of each turn of the current branch of a name, by the turn's number.

        Unlike `session(name)`, this does not record that the name is used.

        Returns:
            Nothing if no usage is stored, or the name does not exist.

        Raises:
            ValueError: The name is empty or too long.
            DirectorySchemaError: The tables are missing, or of another version.
        """
        return await UsageRows(self._database).by_turn_of(checked_name(name))

    async def rename(self, old: str, new: str) -> None:
        """Rename a name. It keeps its conversations, metadata, branches and open sessions.

        Raises:
            NameNotFoundError: The name `old` does not exist.
            NameTakenError: The name `new` exists. Nothing was changed.
        """
        await self._names.rename(checked_name(old), checked_name(new))

    async def set_title(self, name: str, title: str | None, *, user: str | None = None) -> None:
        """Replace the title of a name.

        Args:
            name: The name.
            title: At most 255 characters; None for no title.
            user: A name of another owner counts as missing; None for any owner.

        Raises:
            NameNotFoundError: The name does not exist.
            ValueError: The title is empty, too long, or contains NUL or a lone surrogate.
        """
        await self._names.set_title(
            checked_name(name), checked_optional(title, "title"), user=checked_optional(user, "user")
        )

    async def set_user(self, name: str, user: str | None) -> None:
        """Give a name to another owner, or to none.

        Open sessions of the name are not affected. Conversations of the name that wait for their deletion
        stay those of the previous owner.

        Args:
            name: The name.
            user: At most 255 characters; None for no owner.

        Raises:
            NameNotFoundError: The name does not exist.
            ValueError: The user is empty, too long, or contains NUL or a lone surrogate.
        """
        await self._names.set_user(checked_name(name), checked_optional(user, "user"))

    async def set_metadata(
        self, name: str, metadata: Mapping[str, str], *, expected: Mapping[str, str] | None = None
    ) -> None:
        """Replace the metadata that the directory stores with a name.

        The metadata that OpenAI stores with a conversation is changed by the session's `update_metadata()`.

        Args:
            name: The name.
            metadata: The new pairs.
            expected: The pairs to replace, as `get()` returned them: of several writers that have read the
                same pairs, one succeeds. None replaces any.

        Raises:
            NameNotFoundError: The name does not exist.
            NameChangedError: Its metadata is not `expected`. Nothing was changed.
            TypeError: The pairs are not strings.
        """
        pairs = checked_strings(metadata) or {}
        await self._names.set_metadata(checked_name(name), pairs, expected=checked_strings(expected))

    async def forget(
        self,
        name: str,
        *,
        delete: bool = False,
        purge_items: bool = True,
        expected: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> bool:
        """Remove a name.

        Args:
            name: The name.
            delete: Also delete the conversations of all its branches at OpenAI. Their deletion is recorded
                first, so that a sweep repeats failed deletions.
            purge_items: Delete the items of these conversations first, which OpenAI keeps otherwise, out of
                reach.
            expected: Remove the name only if its metadata has these pairs, as `get()` returned them. None
                removes it with any.
            user: A name of another owner counts as missing; None for any owner.

        Returns:
            Whether the name existed.

        Raises:
            NameChangedError: Its metadata is not `expected`. Nothing was changed.
            openai.OpenAIError: A conversation could not be deleted. The name is removed.
        """
        conversation_ids = await self._names.remove(
            checked_name(name),
            delete=delete,
            expected=checked_strings(expected),
            user=checked_optional(user, "user"),
        )
        for conversation_id in conversation_ids or ():
            await self._delete_pending(conversation_id, purge_items=purge_items)
        return conversation_ids is not None

    async def branches(self, name: str) -> tuple[BranchEntry, ...]:
        """Return the branches of a name, oldest first. A new name has one branch, `main`.

        Raises:
            NameNotFoundError: The name does not exist.
        """
        found = await self._names.branches(checked_name(name))
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
        """Create a branch of a name from its current branch, and return the session of the new branch.

        The current branch does not change: see `switch()`. All or nothing, as
        `OpenAIConversationsSession.fork()`; a sweep deletes what a killed process leaves.

        Args:
            name: The name.
            branch: The new branch; at most 255 characters.
            before_turn: The number of a turn; the items before it are copied.
            after_item: The id of a stored item; the items up to and including it are copied. Without either
                argument all items are copied.
            **options: Further arguments of `OpenAIConversationsSession`.

        Raises:
            NameNotFoundError: The name does not exist.
            NameTakenError: The branch exists. Nothing is left of the fork.
            ConversationNotCreatedError: The current branch has no conversation yet.
            Exception: Any error of `OpenAIConversationsSession.fork()`.
        """
        opened = await self._open_to_fork(checked_name(name), checked_name(branch, "branch"))
        registration = Registration(self._database, opened)
        forked: list[OpenedBranch | None] = []

        async def keep(conversation_id: str, creation_id: str | None, turn_count: int) -> None:
            forked.append(await registration.add_branch(branch, conversation_id, creation_id, turn_count))

        session = self._session(opened, options, registration=registration, keep_fork=keep)
        fork = await session.fork(before_turn=before_turn, after_item=after_item)
        if forked[0] is None:
            await self._delete_pending(fork.session_id)
            raise NameTakenError(name, branch)
        return self._session(forked[0], options)

    async def _open_to_fork(self, name: str, branch: str) -> OpenedBranch:
        """Open the current branch of a name that must not have the new branch yet."""

        async def open_name(connection: AsyncConnection) -> OpenedBranch:
            transaction = self._transaction(connection)
            row = await transaction.locked_row_of(name)
            opened = await transaction.renew(
                row, row["branch"], user=row["user_id"], values={"used_at": transaction.now}
            )
            if branch in await transaction.branches_of(row["entry_id"]):
                raise NameTakenError(name, branch)
            return opened

        return await self._database.write(open_name)

    async def switch(self, name: str, branch: str) -> None:
        """Make a branch the current one of its name. Open sessions keep their branch.

        Raises:
            NameNotFoundError: The name or the branch does not exist. Nothing was changed.
        """
        await self._names.switch(checked_name(name), checked_name(branch, "branch"))

    async def forget_branch(
        self, name: str, branch: str, *, delete: bool = False, purge_items: bool = True
    ) -> bool:
        """Remove a branch of a name, which must not be the current one, with its usage.

        Open sessions of the branch keep using its conversation. If that is deleted or not created yet, their
        next write creates the branch again.

        Args:
            name: The name.
            branch: A branch of the name other than the current one.
            delete: Also delete its conversation at OpenAI. The deletion is recorded first, so that a sweep
                repeats it if it fails.
            purge_items: Delete the items of the conversation first, as `forget()` does.

        Returns:
            Whether the branch existed.

        Raises:
            CurrentBranchError: It is the current branch of the name. Nothing was changed.
            openai.OpenAIError: The conversation could not be deleted. The branch is removed.
        """
        was_there, conversation_id = await self._names.remove_branch(
            checked_name(name), checked_name(branch, "branch"), delete=delete
        )
        if conversation_id is not None:
            await self._delete_pending(conversation_id, purge_items=purge_items)
        return was_there

    async def sweep(
        self,
        *,
        limit: int = 1000,
        on_progress: Progress | None = None,
        purge_items: bool = True,
        dry_run: bool = False,
    ) -> SweepReport:
        """Delete expired conversations and pending deletions of this tenant at OpenAI.

        Pending are conversations that lost a race, and those whose deletion was interrupted. A sweep may be
        stopped at any point and repeated: deletions are recorded before they are made, and deleting a
        conversation that is gone succeeds. Several sweeps may run at once. A name that is used again before
        its turn is not swept.

        Args:
            limit: The maximum number of expired names to remove, and of conversations to delete.
            on_progress: Called with the number of conversations done and the total.
            purge_items: Delete the items of each conversation first, which OpenAI keeps otherwise, out of
                reach.
            dry_run: Change nothing, and return what a sweep would do: `expired` and `deleted` up to the
                limit, `remaining` beyond it.

        Returns:
            The results. Single failed deletions are counted and left for the next sweep.

        Raises:
            openai.AuthenticationError: The key was refused; likewise other errors that every deletion would
                raise. Deletions made before remain.
        """
        checked_count(limit, "limit")
        if dry_run:
            return await self._planned_sweep(limit)
        expired = await self._pending.add_expired(limit)
        run = DeletionRun(
            self._pending, lambda conversation_id: self._delete(conversation_id, purge_items=purge_items)
        )
        await run.run(limit, on_progress)
        return SweepReport(
            expired=expired,
            deleted=run.deleted,
            failed=run.failed,
            remaining=await self._pending.count(),
            lost_creations=await self.lost_creations(),
        )

    async def _planned_sweep(self, limit: int) -> SweepReport:
        expired, conversations = await self._pending.count_expired()
        total = conversations + await self._pending.count()
        deleted = min(limit, total)
        return SweepReport(
            expired=min(limit, expired),
            deleted=deleted,
            failed=0,
            remaining=total - deleted,
            lost_creations=await self.lost_creations(),
        )

    async def erase(  # noqa: PLR0913 -- each names a kind of objects
        self,
        user: str,
        *,
        conversations: bool = True,
        items: bool = True,
        responses: bool = True,
        files: bool = False,
        key_store: KeyStore | None = None,
        dry_run: bool = False,
    ) -> ErasureReport:
        """Delete everything of a user, and return what became of each object.

        First the user's names are removed, so that nobody opens them, and the user's key (`key_store()`), so
        that nobody can read what remains. Then the conversations of all their branches are deleted, and
        those of earlier names of the user whose deletion is pending; each after its items.

        Each object is noted in the database before its deletion is requested. If the process ends or a
        deletion fails, call this again: the report then includes what the earlier calls deleted. Once
        nothing is left, the notes are removed. Several calls may run at once.

        A session that is still open in another process creates its name again at its next write: sign the
        user out first. Names without a user, and conversations that no name had, are not found.

        Args:
            user: The user.
            conversations: Delete the names and their conversations, and the key. Without, these stay.
            items: Delete the items of the conversations, which OpenAI keeps otherwise, out of reach.
            responses: Delete the stored responses that `store_run_usage()` has recorded for the user's names.
            files: Delete the files that messages and outputs of tools name by `file_id`, which may be named
                by other users' conversations too. Citations are not followed.
            key_store: A store outside of the directory, whose keys of the user are destroyed with the key.
            dry_run: Change nothing, and return what would be deleted, except in `key_store`. Reads the items
                of each conversation.

        Returns:
            The report. Failed deletions are in it, and not raised; after a refused key, a rate limit or a
            lost connection the rest is not tried.

        Raises:
            ValueError: The user is empty or too long.
            TypeError: The user is not a string, or the store has not the methods of a `KeyStore`.
            openai.OpenAIError: The environment has no credentials. Nothing was changed.
            DirectorySchemaError: The tables are missing, or of another version.
            sqlalchemy.exc.SQLAlchemyError: The database is unreachable or raised an error.
        """
        checked_name(user, "user")
        if key_store is not None and not is_key_store(key_store):
            raise TypeError(f"key_store must have the methods of a KeyStore, not {type(key_store).__name__}")
        options = await self._options_for_deletion()
        clients = clients_for(options.openai_client, options.requests, options.include)
        erasure = Erasure(
            ErasureRows(self._database, user),
            ErasureScope(conversations=conversations, items=items, responses=responses, files=files),
            client=await clients.client(),
            open_conversation=lambda conversation_id: LazyConversation(
                clients, conversation_id=conversation_id, metadata=None, hooks=options.hooks
            ),
            key_store=key_store,
        )
        notes = await (erasure.plan() if dry_run else erasure.run())
        lost = [each for each in await self.lost_creations() if each.user == user]
        return erasure_report(user, notes, dry_run=dry_run, at=self._database.clock(), lost_creations=lost)

    async def lost_creations(self, *, older_than: timedelta | float = 600) -> tuple[LostCreation, ...]:
        """Return conversations that may exist at OpenAI and whose ids are unknown, oldest first.

        OpenAI's API lists no conversations, so that they can be deleted only by looking them up manually.

        Args:
            older_than: A timedelta or seconds. A creation without an outcome counts as lost after this time,
                because its process has ended. A creation whose response was lost counts at once.
        """
        return await lost_creations(self._database, checked_age(older_than))

    async def forget_lost_creation(self, creation_id: str) -> bool:
        """Remove the record of a lost creation that was looked up; return whether it existed."""
        return await forget_creation(self._database, checked_name(creation_id, "creation_id"))

    def key_store(self, master_key: str | bytes | Sequence[str | bytes]) -> DirectoryKeyStore:
        """Return a store with a key for each user, in this database: `EncryptedSession(…, store, user=…)`.

        Args:
            master_key: Encrypts the keys. As `encryption_key` of an `EncryptedSession`: random, and kept
                apart from the database; or a list with the newest first.

        Raises:
            ImportError: The package cryptography is not installed.
            TypeError: It is not a key or a list of keys.
            ValueError: It is too weak.
        """
        return DirectoryKeyStore(self._database, master_key)

    def _transaction(self, connection: AsyncConnection) -> DirectoryTransaction:
        return DirectoryTransaction.on(self._database, connection)

    def _session(
        self,
        opened: OpenedBranch,
        options: Mapping[str, Any],
        *,
        registration: Registration | None = None,
        keep_fork: KeepFork | None = None,
    ) -> NamedSession:
        """Return a session of a branch.

        Raises:
            TypeError: An option is unknown.
        """
        client = self._given_client or _agents.default_client()
        given = SessionOptions.of({**self._options, **checked_options(options), "openai_client": client})
        return NamedSession(
            registration or Registration(self._database, opened),
            options=given,
            shared=self._clients,
            keep_fork=keep_fork,
            title_with=self._title_with,
        )

    async def _delete_pending(self, conversation_id: str, *, purge_items: bool = True) -> None:
        """Delete a conversation whose deletion is recorded."""
        await self._delete(conversation_id, purge_items=purge_items)
        await self._pending.remove(conversation_id)

    async def _delete(self, conversation_id: str, *, purge_items: bool) -> None:
        options = await self._options_for_deletion()
        session = OpenAIConversationsSession(conversation_id=conversation_id, **options.as_arguments())
        await session.clear_session(purge_items=purge_items)

    async def _options_for_deletion(self) -> SessionOptions:
        client = self._given_client or _agents.default_client() or await self._clients.get()
        options = {name: self._options[name] for name in _FOR_DELETION if name in self._options}
        return SessionOptions.of({**options, "openai_client": client})


def _name_options(
    name: object, user: object, title: object, expires_in: object, metadata: object
) -> NameOptions:
    """Return the arguments of `session()` and `register()` that are stored with a name.

    Raises:
        TypeError, ValueError: One is of the wrong type, or exceeds a limit.
    """
    return NameOptions(
        name=checked_name(name),
        user=checked_optional(user, "user"),
        title=checked_optional(title, "title"),
        lifetime=checked_lifetime(expires_in),
        metadata=checked_strings(metadata),
    )


async def _check_unregistered(transaction: DirectoryTransaction, conversation_id: str) -> None:
    """Check that a conversation may be registered.

    In this order, because a transaction that takes a conversation from its name schedules its deletion.

    Raises:
        ConversationRegisteredError: It is registered.
        DeletionPendingError: It is to be deleted.
    """
    owner = await transaction.owner_of(conversation_id)
    if owner is not None:
        raise ConversationRegisteredError(conversation_id, owner.name, owner.branch)
    if await transaction.is_deletion_pending(conversation_id):
        raise DeletionPendingError(conversation_id)
