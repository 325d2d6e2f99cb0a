"""Queries on names, branches and usage.

`DirectoryTransaction` contains the statements that run inside a larger transaction. `NameRows` and
`UsageRows` run one transaction per method.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import uuid4

from sqlalchemy import (
    ColumnElement,
    RowMapping,
    Select,
    Table,
    and_,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
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
    names,
    usage,
)
from openai_sessions.directory._values import MAIN, BranchEntry, SessionEntry, SessionPage
from openai_sessions.errors import CurrentBranchError, NameChangedError, NameNotFoundError, NameTakenError


@dataclass(frozen=True, slots=True)
class OpenedBranch:
    """A branch of a name, as it was read from the database.

    Attributes:
        entry_id: The id of the entry, which does not change when the name does.
        name: The name.
        branch: The branch.
        conversation_id: The conversation of the branch, or None.
        created_at: When the name was first opened, or reset after it had expired.
        expires_at: When the name expires, or None.
    """

    entry_id: str
    name: str
    branch: str
    conversation_id: str | None
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class NameOptions:
    """A name and the values to store when it is opened.

    Attributes:
        name: The name.
        lifetime: Seconds until it expires; None to keep the stored lifetime.
        metadata: The pairs to store with the name; None to keep the stored ones.
    """

    name: str
    lifetime: float | None = None
    metadata: dict[str, str] | None = None

    def columns(self) -> dict[str, Any]:
        """Return the columns to change."""
        given = {"lifetime": self.lifetime, "metadata": self.metadata}
        return {column: value for column, value in given.items() if value is not None}


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
        """Open the current branch of a name: create the name if it is missing, reset it if it has expired."""
        while True:
            await self._insert(options)
            row = await self.locked_row(name=options.name)
            if row is not None:  # otherwise another transaction removed it in between
                return await self.renew(row, row["branch"], options)

    async def open_branch(self, options: NameOptions, branch: str) -> OpenedBranch:
        """Open an existing branch of an existing name.

        Raises:
            NameNotFoundError: The name or the branch does not exist.
        """
        opened = await self.renew(await self.locked_row_of(options.name), branch, options)
        if opened.branch != branch:
            raise NameNotFoundError(options.name, branch)
        return opened

    async def reopen(self, opened: OpenedBranch) -> OpenedBranch | None:
        """Record that a name is in use, and return its branch as it is now; None if it was forgotten.

        If the name was reset since, return its current branch.
        """
        row = await self.locked_row(entry_id=opened.entry_id)
        if row is None:
            return None
        found = await self.renew(row, opened.branch)
        return None if _is_forgotten(opened, found) else found

    async def recreate(self, opened: OpenedBranch) -> OpenedBranch:
        """Create a forgotten name or branch again."""
        row = await self.locked_row(entry_id=opened.entry_id)
        if row is None:
            return await self.open(NameOptions(opened.name))
        await self.add_branch(opened.entry_id, opened.branch, None)
        return await self.renew(row, opened.branch)

    async def renew(self, row: RowMapping, branch: str, options: NameOptions | None = None) -> OpenedBranch:
        """Record that a name is in use, reset it if it has expired, and return one of its branches.

        Return the current branch if the requested one does not exist.
        """
        values: dict[str, Any] = {"used_at": self.now}
        if row["expires_at"] is not None and row["expires_at"] <= self.now:
            branch = MAIN
            await self._reset_branches(row)
            values |= {"created_at": self.now, "branch": MAIN, "metadata": {}, "lifetime": None}
        if options is not None:
            values |= options.columns()
        lifetime = values.get("lifetime", row["lifetime"])
        values["expires_at"] = None if lifetime is None else self.now + timedelta(seconds=lifetime)
        await self.connection.execute(update(names).where(self._is(names, row["entry_id"])).values(values))
        found = await self.branches_of(row["entry_id"])
        branch = branch if branch in found else row["branch"]
        created_at = values.get("created_at", row["created_at"])
        return OpenedBranch(
            row["entry_id"], row["name"], branch, found[branch], created_at, values["expires_at"]
        )

    async def look_up(self, opened: OpenedBranch) -> OpenedBranch | None:
        """Return a branch as it is now, or None if it was forgotten, without changing anything.

        If the name was reset since, return its current branch. Uses a single statement, so that no other
        transaction can come between.
        """
        rows = await self._joined(or_(names.c.entry_id == opened.entry_id, names.c.name == opened.name))
        own = [row for row in rows if row["entry_id"] == opened.entry_id] or rows
        same = [row for row in own if (row["entry_id"], row["branch"]) == (opened.entry_id, opened.branch)]
        for row in same or [row for row in own if row["branch"] == row["current"]]:
            found = _opened(row)
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

    async def branches_of(self, entry_id: str) -> dict[str, str | None]:
        """Return the branches of a name, each with its conversation or None."""
        statement = select(branches.c.branch, branches.c.conversation_id)
        result = await self.connection.execute(statement.where(self._is(branches, entry_id)))
        return {row[0]: row[1] for row in result}

    async def conversations_of(self, entry_id: str) -> list[str]:
        """Return the conversations of all branches of a name."""
        found = await self.branches_of(entry_id)
        return [conversation_id for conversation_id in found.values() if conversation_id is not None]

    async def add_branch(self, entry_id: str, branch: str, conversation_id: str | None) -> None:
        """Add a branch to a name."""
        await self.connection.execute(
            insert(branches).values(
                tenant=self.tenant,
                entry_id=entry_id,
                branch=branch,
                conversation_id=conversation_id,
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

    async def schedule_deletions(self, conversation_ids: Collection[str], *, name: str, reason: str) -> None:
        """Record that conversations are to be deleted at OpenAI."""
        for conversation_id in conversation_ids:
            statement = insert_into(self.connection, deletions).values(
                tenant=self.tenant,
                conversation_id=conversation_id,
                name=name,
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
        """Return branches joined with their names."""
        statement = (
            select(
                names.c.entry_id,
                names.c.name,
                names.c.branch.label("current"),
                names.c.created_at,
                names.c.expires_at,
                branches.c.branch,
                branches.c.conversation_id,
            )
            .join(
                branches, and_(branches.c.tenant == names.c.tenant, branches.c.entry_id == names.c.entry_id)
            )
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
        await self.schedule_deletions(conversation_ids, name=row["name"], reason="expired")
        await self.add_branch(entry_id, MAIN, None)

    def _is(self, table: Table, entry_id: str) -> ColumnElement[bool]:
        return and_(table.c.tenant == self.tenant, table.c.entry_id == entry_id)


def _opened(row: RowMapping) -> OpenedBranch:
    return OpenedBranch(**{name: row[name] for name in OpenedBranch.__dataclass_fields__})


def _is_forgotten(opened: OpenedBranch, found: OpenedBranch) -> bool:
    """Return whether another branch was found because this one was removed, and the name was not reset."""
    is_same_name = (found.entry_id, found.created_at) == (opened.entry_id, opened.created_at)
    return is_same_name and found.branch != opened.branch


class NameRows:
    """The names of a directory and their branches.

    Args:
        database: The database of the directory.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: str) -> SessionEntry | None:
        """Return a name, or None if it does not exist."""

        async def get(connection: AsyncConnection) -> SessionEntry | None:
            row = (await connection.execute(self._select().where(names.c.name == name))).mappings().first()
            return None if row is None else _entry(row)

        return await self._database.read(get)

    async def page(self, prefix: str, *, limit: int, after: str | None) -> SessionPage:
        """Return at most `limit` names that start with a prefix and come after a name."""
        statement = self._select().where(_starts_with(prefix)).order_by(names.c.name).limit(limit + 1)
        if after is not None:
            statement = statement.where(names.c.name > after)

        async def page(connection: AsyncConnection) -> list[SessionEntry]:
            return [_entry(row) for row in (await connection.execute(statement)).mappings()]

        entries = await self._database.read(page)
        has_more = len(entries) > limit
        return SessionPage(tuple(entries[:limit]), entries[limit - 1].name if has_more else None)

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

    async def remove(self, name: str, *, delete: bool, expected: dict[str, str] | None) -> list[str] | None:
        """Remove a name, and schedule the deletion of its conversations if `delete` is true.

        Returns:
            The conversations to delete; None if the name does not exist.

        Raises:
            NameChangedError: Its metadata is not `expected`.
        """

        async def remove(connection: AsyncConnection) -> list[str] | None:
            transaction = DirectoryTransaction.on(self._database, connection)
            row = await transaction.locked_row(name=name)
            if row is None:
                return None
            _check_expected(row, expected)
            conversation_ids = await transaction.conversations_of(row["entry_id"]) if delete else []
            await transaction.remove(row["entry_id"])
            await transaction.schedule_deletions(conversation_ids, name=name, reason="forgotten")
            return conversation_ids

        return await self._database.write(remove)

    async def branches(self, name: str) -> tuple[BranchEntry, ...]:
        """Return the branches of a name, oldest first; none if the name does not exist."""
        statement = (
            select(branches, names.c.branch.label("current"))
            .join(names, (names.c.tenant == branches.c.tenant) & (names.c.entry_id == branches.c.entry_id))
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
                await transaction.schedule_deletions([conversation_id], name=name, reason="forgotten")
            return True, conversation_id

        return await self._database.write(remove)

    async def _update(self, name: str, values: dict[str, Any]) -> None:
        statement = update(names).where(names.c.tenant == self._database.tenant, names.c.name == name)

        async def change(connection: AsyncConnection) -> int:
            return (await connection.execute(statement.values(values))).rowcount

        if not await self._database.write(change):
            raise NameNotFoundError(name)

    def _select(self) -> Select[Any]:
        """Select the names of the tenant, each with the conversation of its current branch."""
        is_current = and_(
            branches.c.tenant == names.c.tenant,
            branches.c.entry_id == names.c.entry_id,
            branches.c.branch == names.c.branch,
        )
        statement = select(names, branches.c.conversation_id).join(branches, is_current)
        return statement.where(names.c.tenant == self._database.tenant)


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
