"""Queries on names, branches and usage.

`DirectoryTransaction` contains the statements that run inside a larger transaction. `NameRows` and
`UsageRows` run one transaction per method.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta, timezone
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    ColumnElement,
    Integer,
    RowMapping,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    type_coerce,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from openai_sessions._conversation.usage import COUNTS, ModelUsage, Usage
from openai_sessions.directory._database import (
    Database,
    branches,
    deletions,
    insert_into,
    is_branch_of_name,
    names,
    usage,
)
from openai_sessions.directory._values import (
    MAIN,
    BranchEntry,
    Order,
    SessionEntry,
    SessionPage,
    search_key,
)
from openai_sessions.errors import (
    CurrentBranchError,
    NameChangedError,
    NameNotFoundError,
    NameTakenError,
    UserMismatchError,
)


@dataclass(frozen=True, slots=True)
class OpenedBranch:
    """A branch of a name, as it was read from the database.

    Attributes:
        entry_id: The id of the entry, which does not change when the name does.
        name: The name.
        user: The owner of the name, or None.
        branch: The branch.
        conversation_id: The conversation of the branch, or None.
        created_at: When the name was first opened, or reset after it had expired.
        expires_at: When the name expires, or None.
    """

    entry_id: str
    name: str
    user: str | None
    branch: str
    conversation_id: str | None
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class NameOptions:
    """A name and the values to store when it is opened.

    Attributes:
        name: The name.
        user: The owner of a new name, and of an existing one that is not to be another user's; None for none
            of a new name, and any of an existing one.
        title: The title to store; None to keep the stored one.
        lifetime: Seconds until it expires; None to keep the stored lifetime.
        metadata: The pairs to store with the name; None to keep the stored ones.
    """

    name: str
    user: str | None = None
    title: str | None = None
    lifetime: float | None = None
    metadata: dict[str, str] | None = None

    def columns(self) -> dict[str, Any]:
        """Return the columns to change."""
        title = {} if self.title is None else title_columns(self.title)
        given = {"lifetime": self.lifetime, "metadata": self.metadata}
        return {**title, **{column: value for column, value in given.items() if value is not None}}

    def check_user(self, row: RowMapping) -> None:
        """Check that a name that has not expired is not another user's.

        Raises:
            UserMismatchError: It is.
        """
        if self.user is not None and row["user_id"] != self.user:
            raise UserMismatchError(self.name)


def title_columns(title: str | None) -> dict[str, str | None]:
    """Return the columns of a title."""
    return {"title": title, "title_key": None if title is None else search_key(title)}


_RENEWED_AFTER = 0.1
"""The part of its lifetime after which opening a name renews it; writing always does."""


@dataclass(frozen=True, slots=True)
class DirectoryTransaction:
    """A transaction on the names and branches of a tenant.

    Attributes:
        connection: The connection of the transaction.
        tenant: Part of every key.
        now: The time of the transaction.
    """

    connection: AsyncConnection
    tenant: str
    now: datetime

    @classmethod
    def on(cls, database: Database, connection: AsyncConnection) -> DirectoryTransaction:
        """Return a transaction of a directory on a connection."""
        return cls(connection, database.tenant, database.clock())

    async def open(self, options: NameOptions) -> OpenedBranch:
        """Open the current branch of a name: create the name if it is missing, reset it if it has expired.

        Raises:
            UserMismatchError: The name is another user's.
        """
        while True:
            await self._insert(options)
            row = await self.locked_row(name=options.name)
            if row is not None:  # otherwise another transaction removed it in between
                return await self._open_row(row, row["branch"], options)

    async def open_branch(self, options: NameOptions, branch: str) -> OpenedBranch:
        """Open an existing branch of an existing name.

        Raises:
            NameNotFoundError: The name or the branch does not exist.
            UserMismatchError: The name is another user's.
        """
        opened = await self._open_row(await self.locked_row_of(options.name), branch, options)
        if opened.branch != branch:
            raise NameNotFoundError(options.name, branch)
        return opened

    async def opened_unchanged(self, options: NameOptions, branch: str | None) -> OpenedBranch | None:
        """Return a branch of a name, the current one by default, if opening it stores nothing; or None.

        Raises:
            UserMismatchError: The name is another user's.
        """
        rows = await self._joined(names.c.name == options.name)
        if not rows or self._is_expired(rows[0]):
            return None
        options.check_user(rows[0])
        if self._is_renewal_due(rows[0]) or any(
            rows[0][column] != value for column, value in options.columns().items()
        ):
            return None
        wanted = branch or rows[0]["current"]
        return next((_opened(row) for row in rows if row["branch"] == wanted), None)

    async def reopen(self, opened: OpenedBranch) -> OpenedBranch | None:
        """Record that a name is written to, and return its branch as it is now; None if it was forgotten.

        If the name was reset since, return its current branch.

        Raises:
            UserMismatchError: It was reset for another user.
        """
        row = await self.locked_row(entry_id=opened.entry_id)
        if row is None:
            return None
        user = opened.user
        if row["created_at"] == opened.created_at:
            user = row["user_id"]
        elif not self._is_expired(row) and row["user_id"] != user:
            raise UserMismatchError(row["name"])
        found = await self.renew(row, opened.branch, user=user, values={"used_at": self.now})
        return None if _is_forgotten(opened, found) else found

    async def recreate(self, opened: OpenedBranch) -> OpenedBranch:
        """Create a forgotten name or branch again, for the same user.

        Raises:
            UserMismatchError: The name was created for another user since.
        """
        row = await self.locked_row(entry_id=opened.entry_id)
        if row is None:
            found = await self.open(NameOptions(opened.name, user=opened.user))
            _check_same_user(opened, found)
            return found
        await self.add_branch(opened.entry_id, opened.branch, None)
        return await self.renew(row, opened.branch, user=row["user_id"], values={"used_at": self.now})

    async def _open_row(self, row: RowMapping, branch: str, options: NameOptions) -> OpenedBranch:
        if not self._is_expired(row):
            options.check_user(row)
        return await self.renew(row, branch, user=options.user, values=options.columns())

    async def renew(
        self, row: RowMapping, branch: str, *, user: str | None, values: Mapping[str, Any]
    ) -> OpenedBranch:
        """Renew the lifetime of a name, or reset it if it has expired, and return one of its branches.

        Args:
            row: The row of the name, which is locked.
            branch: The branch; if it does not exist, the current one is returned.
            user: The owner of the name if it is reset.
            values: Other columns to change.
        """
        changed = dict(values)
        if self._is_expired(row):
            branch = MAIN
            await self._reset_branches(row)
            changed = {**_RESET, "created_at": self.now, "used_at": self.now, "user_id": user, **values}
        lifetime = changed.get("lifetime", row["lifetime"])
        changed["expires_at"] = None if lifetime is None else self.now + timedelta(seconds=lifetime)
        await self.connection.execute(update(names).where(self._is(names, row["entry_id"])).values(changed))
        found = await self.branches_of(row["entry_id"])
        branch = branch if branch in found else row["branch"]
        now = {**row, **changed}
        return OpenedBranch(
            entry_id=now["entry_id"],
            name=now["name"],
            user=now["user_id"],
            branch=branch,
            conversation_id=found[branch],
            created_at=now["created_at"],
            expires_at=now["expires_at"],
        )

    def _is_expired(self, row: RowMapping) -> bool:
        return row["expires_at"] is not None and row["expires_at"] <= self.now

    def _is_renewal_due(self, row: RowMapping) -> bool:
        """Return whether a tenth of the lifetime has passed since it was renewed."""
        lifetime, expires_at = row["lifetime"], row["expires_at"]
        return lifetime is not None and expires_at <= self.now + timedelta(
            seconds=lifetime * (1 - _RENEWED_AFTER)
        )

    async def look_up(self, opened: OpenedBranch) -> OpenedBranch | None:
        """Return a branch as it is now, or None if it was forgotten, without changing anything.

        If the name was reset since, return its current branch. Uses a single statement, so that no other
        transaction can come between.

        Raises:
            UserMismatchError: The name was reset, or created again, for another user.
        """
        rows = await self._joined(or_(names.c.entry_id == opened.entry_id, names.c.name == opened.name))
        own = [row for row in rows if row["entry_id"] == opened.entry_id] or rows
        same = [row for row in own if (row["entry_id"], row["branch"]) == (opened.entry_id, opened.branch)]
        for row in same or [row for row in own if row["branch"] == row["current"]]:
            found = _opened(row)
            _check_same_user(opened, found)
            return None if _is_forgotten(opened, found) else found
        return None

    async def owner_of(self, conversation_id: str) -> OpenedBranch | None:
        """Return the branch that a conversation is registered as, or None."""
        rows = await self._joined(branches.c.conversation_id == conversation_id)
        return _opened(rows[0]) if rows else None

    async def register(self, opened: OpenedBranch, conversation_id: str) -> OpenedBranch:
        """Register a conversation for a branch."""
        statement = update(branches).where(
            self._is(branches, opened.entry_id), branches.c.branch == opened.branch
        )
        await self.connection.execute(statement.values(conversation_id=conversation_id))
        return replace(opened, conversation_id=conversation_id)

    async def locked_row(self, *, name: str | None = None, entry_id: str | None = None) -> RowMapping | None:
        """Lock the row of a name against other transactions, and return it; None if there is none."""
        wanted = names.c.name == name if entry_id is None else names.c.entry_id == entry_id
        statement = select(names).where(names.c.tenant == self.tenant, wanted)
        result = await self.connection.execute(statement.with_for_update())
        row: RowMapping | None = result.mappings().first()
        return row

    async def locked_row_of(self, name: str) -> RowMapping:
        """Lock the row of a name that must exist, and return it.

        Raises:
            NameNotFoundError: The name does not exist.
        """
        row = await self.locked_row(name=name)
        if row is None:
            raise NameNotFoundError(name)
        return row

    async def user_of(self, entry_id: str) -> str | None:
        """Return the owner of a name."""
        statement = select(names.c.user_id).where(self._is(names, entry_id))
        user: str | None = (await self.connection.execute(statement)).scalar()
        return user

    async def branches_of(self, entry_id: str) -> dict[str, str | None]:
        """Return the branches of a name, each with its conversation or None."""
        statement = select(branches.c.branch, branches.c.conversation_id)
        result = await self.connection.execute(statement.where(self._is(branches, entry_id)))
        return {row[0]: row[1] for row in result}

    async def conversations_of(self, entry_id: str) -> list[str]:
        """Return the conversations of all branches of a name."""
        found = await self.branches_of(entry_id)
        return [conversation_id for conversation_id in found.values() if conversation_id is not None]

    async def add_branch(
        self, entry_id: str, branch: str, conversation_id: str | None, *, turn_count: int = 0
    ) -> None:
        """Add a branch to a name."""
        await self.connection.execute(
            insert(branches).values(
                tenant=self.tenant,
                entry_id=entry_id,
                branch=branch,
                conversation_id=conversation_id,
                turn_count=turn_count,
                created_at=self.now,
            )
        )

    async def remove(self, entry_id: str) -> None:
        """Remove a name with its branches and their usage."""
        for table in (branches, usage, names):
            await self.connection.execute(delete(table).where(self._is(table, entry_id)))

    async def remove_branch(self, entry_id: str, branch: str) -> None:
        """Remove a branch with its usage."""
        for table in (branches, usage):
            is_branch = and_(self._is(table, entry_id), table.c.branch == branch)
            await self.connection.execute(delete(table).where(is_branch))

    async def schedule_deletions(
        self, conversation_ids: Collection[str], *, name: str, user: str | None, reason: str
    ) -> None:
        """Record that conversations of a name and its user are to be deleted at OpenAI."""
        for conversation_id in conversation_ids:
            statement = insert_into(self.connection, deletions).values(
                tenant=self.tenant,
                conversation_id=conversation_id,
                name=name,
                user_id=user,
                reason=reason,
                noted_at=self.now,
            )
            await self.connection.execute(statement.on_conflict_do_nothing())

    async def is_deletion_pending(self, conversation_id: str) -> bool:
        """Return whether a conversation is to be deleted."""
        statement = select(deletions.c.reason).where(
            deletions.c.tenant == self.tenant, deletions.c.conversation_id == conversation_id
        )
        return (await self.connection.execute(statement)).first() is not None

    async def _joined(self, condition: ColumnElement[bool]) -> Sequence[RowMapping]:
        """Return branches joined with their names, and the columns of the names that can be changed."""
        statement = (
            select(
                names.c.entry_id,
                names.c.name,
                names.c.user_id,
                names.c.user_id.label("user"),
                names.c.title,
                names.c.title_key,
                names.c.metadata,
                names.c.lifetime,
                names.c.branch.label("current"),
                names.c.created_at,
                names.c.expires_at,
                branches.c.branch,
                branches.c.conversation_id,
            )
            .join(branches, is_branch_of_name)
            .where(names.c.tenant == self.tenant, condition)
        )
        rows: Sequence[RowMapping] = (await self.connection.execute(statement)).mappings().all()
        return rows

    async def _insert(self, options: NameOptions) -> None:
        """Insert a name unless it exists."""
        entry_id = uuid4().hex
        statement = insert_into(self.connection, names).values(
            tenant=self.tenant,
            entry_id=entry_id,
            name=options.name,
            user_id=options.user,
            branch=MAIN,
            metadata={},
            created_at=self.now,
            used_at=self.now,
        )
        inserted = await self.connection.execute(
            statement.on_conflict_do_nothing(index_elements=["tenant", "name"])
        )
        if inserted.rowcount:
            await self.add_branch(entry_id, MAIN, None)

    async def _reset_branches(self, row: RowMapping) -> None:
        """Replace all branches by an empty one, and schedule the deletion of their conversations."""
        entry_id = row["entry_id"]
        conversation_ids = await self.conversations_of(entry_id)
        for table in (branches, usage):
            await self.connection.execute(delete(table).where(self._is(table, entry_id)))
        await self.schedule_deletions(
            conversation_ids, name=row["name"], user=row["user_id"], reason="expired"
        )
        await self.add_branch(entry_id, MAIN, None)

    def _is(self, table: Table, entry_id: str) -> ColumnElement[bool]:
        return and_(table.c.tenant == self.tenant, table.c.entry_id == entry_id)


_RESET: Mapping[str, Any] = {
    "branch": MAIN,
    "metadata": {},
    "lifetime": None,
    **title_columns(None),
    "is_title_requested": False,
}
"""What an expired name loses when it is used again."""


def _opened(row: RowMapping) -> OpenedBranch:
    return OpenedBranch(**{name: row[name] for name in OpenedBranch.__dataclass_fields__})


def _is_forgotten(opened: OpenedBranch, found: OpenedBranch) -> bool:
    """Return whether another branch was found because this one was removed, and the name was not reset."""
    is_same_name = (found.entry_id, found.created_at) == (opened.entry_id, opened.created_at)
    return is_same_name and found.branch != opened.branch


def _check_same_user(opened: OpenedBranch, found: OpenedBranch) -> None:
    """Check that a name that was reset or created again is not another user's now.

    Raises:
        UserMismatchError: It is.
    """
    is_same = (found.entry_id, found.created_at) == (opened.entry_id, opened.created_at)
    if not is_same and found.user != opened.user:
        raise UserMismatchError(found.name)


class NameRows:
    """The names of a directory and their branches.

    Args:
        database: The database of the directory.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: str, user: str | None) -> SessionEntry | None:
        """Return a name, or None if it does not exist, or a user is given and it is not this user's."""
        statement = self._select().where(names.c.name == name, *_is_of(user))

        async def get(connection: AsyncConnection) -> SessionEntry | None:
            row = (await connection.execute(statement)).mappings().first()
            return None if row is None else _entry(row)

        return await self._database.read(get)

    async def page(
        self, condition: NameFilter, *, order: Order, limit: int, after: str | None
    ) -> SessionPage:
        """Return at most `limit` names that meet a condition and come after a cursor."""
        statement = self._select().where(*condition.clauses(), *_is_after(after, order))
        # A literal: a generic plan, which PostgreSQL may choose, otherwise expects many rows, and sorts them.
        row_limit = bindparam(None, limit + 1, Integer, literal_execute=True)
        statement = statement.order_by(*_ordering(order)).limit(row_limit)

        async def page(connection: AsyncConnection) -> list[RowMapping]:
            return list((await connection.execute(statement)).mappings())

        rows = await self._database.read(page)
        found = [_entry(row) for row in rows[:limit] if condition.has_metadata(row["metadata"])]
        return SessionPage(tuple(found), _cursor(rows[limit - 1], order) if len(rows) > limit else None)

    async def rename(self, old: str, new: str) -> None:
        """Rename a name.

        Raises:
            NameNotFoundError: The old name does not exist.
            NameTakenError: The new name exists.
        """
        try:
            await self._update(old, {"name": new})
        except IntegrityError:
            raise NameTakenError(new) from None

    async def set_title(self, name: str, title: str | None, *, user: str | None) -> None:
        """Replace the title of a name.

        Raises:
            NameNotFoundError: The name does not exist, or a user is given and it is not this user's.
        """
        given = {"is_title_requested": False} if title is not None else {}
        await self._update(name, {**title_columns(title), **given}, user=user)

    async def set_user(self, name: str, user: str | None) -> None:
        """Replace the owner of a name.

        Raises:
            NameNotFoundError: The name does not exist.
        """
        await self._update(name, {"user_id": user})

    async def set_metadata(
        self, name: str, metadata: dict[str, str], *, expected: dict[str, str] | None
    ) -> None:
        """Replace the metadata of a name.

        Raises:
            NameNotFoundError: The name does not exist.
            NameChangedError: Its metadata is not `expected`.
        """

        async def replace_metadata(connection: AsyncConnection) -> None:
            transaction = DirectoryTransaction.on(self._database, connection)
            row = await transaction.locked_row_of(name)
            _check_expected(row, expected)
            is_row = (names.c.tenant == self._database.tenant) & (names.c.entry_id == row["entry_id"])
            await connection.execute(update(names).where(is_row).values(metadata=metadata))

        await self._database.write(replace_metadata)

    async def remove(
        self, name: str, *, delete: bool, expected: dict[str, str] | None, user: str | None
    ) -> list[str] | None:
        """Remove a name, and schedule the deletion of its conversations if `delete` is true.

        Returns:
            The conversations to delete; None if the name does not exist, or a user is given and it is not
            this user's.

        Raises:
            NameChangedError: Its metadata is not `expected`.
        """

        async def remove(connection: AsyncConnection) -> list[str] | None:
            transaction = DirectoryTransaction.on(self._database, connection)
            row = await transaction.locked_row(name=name)
            if row is None or user not in {None, row["user_id"]}:
                return None
            _check_expected(row, expected)
            conversation_ids = await transaction.conversations_of(row["entry_id"]) if delete else []
            await transaction.remove(row["entry_id"])
            await transaction.schedule_deletions(
                conversation_ids, name=name, user=row["user_id"], reason="forgotten"
            )
            return conversation_ids

        return await self._database.write(remove)

    async def branches(self, name: str) -> tuple[BranchEntry, ...]:
        """Return the branches of a name, oldest first; none if the name does not exist."""
        statement = (
            select(branches, names.c.branch.label("current"))
            .join(names, is_branch_of_name)
            .where(names.c.tenant == self._database.tenant, names.c.name == name)
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

        return await self._database.read(read)

    async def switch(self, name: str, branch: str) -> None:
        """Make a branch the current one of its name.

        Raises:
            NameNotFoundError: The name or the branch does not exist.
        """

        async def switch(connection: AsyncConnection) -> None:
            transaction = DirectoryTransaction.on(self._database, connection)
            row = await transaction.locked_row_of(name)
            if branch not in await transaction.branches_of(row["entry_id"]):
                raise NameNotFoundError(name, branch)
            is_row = (names.c.tenant == self._database.tenant) & (names.c.entry_id == row["entry_id"])
            await connection.execute(update(names).where(is_row).values(branch=branch))

        await self._database.write(switch)

    async def remove_branch(self, name: str, branch: str, *, delete: bool) -> tuple[bool, str | None]:
        """Remove a branch, and schedule the deletion of its conversation if `delete` is true.

        Returns:
            Whether the branch existed, and the conversation to delete, or None.

        Raises:
            CurrentBranchError: It is the current branch of the name.
        """

        async def remove(connection: AsyncConnection) -> tuple[bool, str | None]:
            transaction = DirectoryTransaction.on(self._database, connection)
            row = await transaction.locked_row(name=name)
            found = {} if row is None else await transaction.branches_of(row["entry_id"])
            if row is None or branch not in found:
                return False, None
            if branch == row["branch"]:
                raise CurrentBranchError(name, branch)
            await transaction.remove_branch(row["entry_id"], branch)
            conversation_id = found[branch] if delete else None
            if conversation_id is not None:
                await transaction.schedule_deletions(
                    [conversation_id], name=name, user=row["user_id"], reason="forgotten"
                )
            return True, conversation_id

        return await self._database.write(remove)

    async def _update(self, name: str, values: Mapping[str, Any], *, user: str | None = None) -> None:
        is_row = and_(names.c.tenant == self._database.tenant, names.c.name == name, *_is_of(user))
        statement = update(names).where(is_row).values(dict(values))

        async def change(connection: AsyncConnection) -> int:
            return (await connection.execute(statement)).rowcount

        if not await self._database.write(change):
            raise NameNotFoundError(name)

    def _select(self) -> Select[Any]:
        """Select the names of the tenant, each with the conversation of its current branch."""
        is_current = and_(is_branch_of_name, branches.c.branch == names.c.branch)
        statement: Any = select(  # its type differs between SQLAlchemy 2.0 and 2.1
            names.c.entry_id,
            names.c.name,
            names.c.user_id.label("user"),
            names.c.title,
            names.c.metadata,
            names.c.created_at,
            names.c.used_at,
            names.c.expires_at,
            names.c.branch,
            branches.c.conversation_id,
            branches.c.turn_count,
        )
        selected: Select[Any] = statement.join(branches, is_current)
        return selected.where(names.c.tenant == self._database.tenant)


def _is_of(user: str | None) -> list[ColumnElement[bool]]:
    """Return the condition that a name is a user's; none if no user is given."""
    return [] if user is None else [names.c.user_id == user]


@dataclass(frozen=True, slots=True, kw_only=True)
class NameFilter:
    """Which names a page contains.

    Attributes:
        user: Those of this user; None for all.
        prefix: Those that start with it.
        search: Those whose title contains it, as searches compare it; empty for all.
        metadata: Those that have all these pairs.
    """

    user: str | None
    prefix: str
    search: str
    metadata: Mapping[str, str]

    def clauses(self) -> list[ColumnElement[bool]]:
        """Return the conditions of the statement."""
        clauses = _is_of(self.user)
        if self.prefix:
            clauses.append(_starts_with(self.prefix))
        if self.search:
            clauses.append(_contains(names.c.title_key, self.search))
        pairs = type_coerce(names.c.metadata, Text)
        return [
            *clauses,
            *(_contains(pairs, json.dumps({key: self.metadata[key]})[1:-1]) for key in self.metadata),
        ]

    def has_metadata(self, pairs: Mapping[str, str]) -> bool:
        """Return whether a name that the statement has found has the pairs, and not only their text."""
        return self.metadata.items() <= pairs.items()


def _contains(column: ColumnElement[str], text: str) -> ColumnElement[bool]:
    """Return the condition that a column contains a text, in which no character is special."""
    found: ColumnElement[bool] = func.replace(column, text, "") != column
    return found


def _ordering(order: Order) -> list[ColumnElement[Any]]:
    """Return the columns by which a page is ordered; those of times are unique with the id of the entry."""
    columns = [names.c.name] if order.endswith("name") else [names.c.used_at, names.c.entry_id]
    return [column.desc() for column in columns] if order.startswith("-") else [*columns]


def _cursor(row: RowMapping, order: Order) -> str:
    """Return the cursor behind a row: its name, or where the order is by time, its place as Base64."""
    if order.endswith("name"):
        return str(row["name"])
    place = json.dumps([order, row["used_at"].isoformat(), row["entry_id"]])
    return base64.urlsafe_b64encode(place.encode()).decode()


def _is_after(after: str | None, order: Order) -> list[ColumnElement[bool]]:
    """Return the condition that a row comes after a cursor; none without one.

    Raises:
        ValueError: It is not a cursor of this order.
    """
    if after is None:
        return []
    if order.endswith("name"):
        return [names.c.name < after if order.startswith("-") else names.c.name > after]
    used_at, entry_id = _place(after, order)
    place = tuple_(names.c.used_at, names.c.entry_id)
    limit = tuple_(literal(used_at, names.c.used_at.type), literal(entry_id, names.c.entry_id.type))
    return [place < limit if order.startswith("-") else place > limit]


def _place(after: str, order: Order) -> tuple[datetime, str]:
    try:
        found, used_at, entry_id = json.loads(base64.b64decode(after, altchars=b"-_", validate=True))
        place = datetime.fromisoformat(used_at).astimezone(timezone.utc), UUID(entry_id).hex
    except (ValueError, TypeError, AttributeError, OverflowError):
        found, place = None, None
    if place is None or found != order:
        raise ValueError(
            f"after={after!r} is not the next_after of a page in the order {order!r}: give that of the "
            "previous page, or None for the first page"
        )
    return place


def _check_expected(row: RowMapping, expected: dict[str, str] | None) -> None:
    """Check the metadata of a name, whose row is locked.

    Raises:
        NameChangedError: It is not `expected`.
    """
    if expected is not None and row["metadata"] != expected:
        raise NameChangedError(row["name"])


_LAST_CODE_POINT = 0x10FFFF


def _starts_with(prefix: str) -> ColumnElement[bool]:
    """Return a condition on names that uses the index, and in which no character is special.

    A name starts with a prefix if it is at least the prefix, and less than the prefix with its last character
    incremented. Trailing characters that cannot be incremented are dropped from the upper bound.
    """
    incrementable = prefix.rstrip(chr(_LAST_CODE_POINT))
    condition = names.c.name >= prefix
    if not incrementable:
        return condition
    code_point = ord(incrementable[-1]) + 1
    if 0xD800 <= code_point <= 0xDFFF:
        code_point = 0xE000  # text contains no surrogates
    return and_(condition, names.c.name < incrementable[:-1] + chr(code_point))


def _entry(row: RowMapping) -> SessionEntry:
    return SessionEntry(**{field: row[field] for field in SessionEntry.__dataclass_fields__})


_USAGE_KEY = ("tenant", "entry_id", "branch", "turn", "model", "long_input")

UNKNOWN_TURN = 0
"""The turn of usage that cannot be attributed to one."""


class UsageRows:
    """The usage of the branches of a directory.

    Args:
        database: The database of the directory.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, opened: OpenedBranch, turn: int, used: Usage) -> bool:
        """Add to the usage of a turn.

        Returns:
            Whether it was added; it is not if the branch has another conversation now.
        """

        async def add(connection: AsyncConnection) -> bool:
            if not await self._is_current(connection, opened):
                return False
            statement = insert_into(connection, usage).values(self._rows(opened, turn, used))
            sums = {name: usage.c[name] + statement.excluded[name] for name in COUNTS}
            await connection.execute(statement.on_conflict_do_update(index_elements=_USAGE_KEY, set_=sums))
            return True

        return await self._database.write(add)

    async def replace(self, opened: OpenedBranch, used: Usage) -> bool:
        """Replace the usage of all turns by a total.

        Returns:
            Whether it was replaced; it is not if the branch has another conversation now.
        """

        async def replace(connection: AsyncConnection) -> bool:
            if not await self._is_current(connection, opened):
                return False
            await connection.execute(delete(usage).where(self._is_of(opened)))
            await connection.execute(insert(usage).values(self._rows(opened, UNKNOWN_TURN, used)))
            return True

        return await self._database.write(replace)

    async def total(self, opened: OpenedBranch) -> Usage | None:
        """Return the total usage of all turns; None if no usage is stored."""
        key = (usage.c.model, usage.c.long_input)
        sums = [func.sum(usage.c[name]).label(name) for name in COUNTS]
        statement = select(*key, *sums).where(self._is_of(opened)).group_by(*key)

        async def total(connection: AsyncConnection) -> Usage | None:
            rows = (await connection.execute(statement)).mappings()
            parts = [ModelUsage(**{**row, **{name: int(row[name]) for name in COUNTS}}) for row in rows]
            return Usage.of_models(parts) if parts else None

        return await self._database.read(total)

    async def by_turn(self, opened: OpenedBranch) -> dict[int, Usage]:
        """Return the usage of each turn by its number."""
        return await self._by_turn(self._is_of(opened))

    async def by_turn_of(self, name: str) -> dict[int, Usage]:
        """Return the usage of each turn of the current branch of a name, by its number."""
        is_current = (names.c.entry_id == usage.c.entry_id) & (names.c.branch == usage.c.branch)
        is_named = and_(names.c.tenant == self._database.tenant, names.c.name == name)
        is_of_tenant = usage.c.tenant == self._database.tenant
        return await self._by_turn(and_(is_of_tenant, exists().where(is_named, is_current)))

    async def _by_turn(self, condition: ColumnElement[bool]) -> dict[int, Usage]:
        columns = [usage.c.turn, *(usage.c[name] for name in (*COUNTS, "model", "long_input"))]
        statement = select(*columns).where(condition).order_by(usage.c.turn)

        async def by_turn(connection: AsyncConnection) -> dict[int, Usage]:
            rows = groupby(await connection.execute(statement), key=itemgetter(0))
            return {turn: Usage.of_models(ModelUsage(*row[1:]) for row in group) for turn, group in rows}

        return await self._database.read(by_turn)

    async def _is_current(self, connection: AsyncConnection, opened: OpenedBranch) -> bool:
        transaction = DirectoryTransaction.on(self._database, connection)
        if await transaction.locked_row(entry_id=opened.entry_id) is None:
            return False
        found = await transaction.look_up(opened)
        return found is not None and found.conversation_id == opened.conversation_id

    def _rows(self, opened: OpenedBranch, turn: int, used: Usage) -> list[dict[str, object]]:
        key = {"entry_id": opened.entry_id, "branch": opened.branch, "turn": turn}
        parts = used.parts() or (ModelUsage(),)
        return [{"tenant": self._database.tenant, **key, **asdict(part)} for part in parts]

    def _is_of(self, opened: OpenedBranch) -> ColumnElement[bool]:
        return and_(
            usage.c.tenant == self._database.tenant,
            usage.c.entry_id == opened.entry_id,
            usage.c.branch == opened.branch,
        )
