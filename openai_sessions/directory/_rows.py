"""Statements on names, branches and usage, inside of a transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import (
    ColumnElement,
    RowMapping,
    Select,
    Table,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from openai_sessions._conversation.usage import Usage
from openai_sessions.directory._database import (
    USAGE_COLUMNS,
    Database,
    branches,
    insert_into,
    leftovers,
    names,
    usage,
)
from openai_sessions.directory._values import MAIN, SessionEntry, SessionPage
from openai_sessions.errors import NameNotFoundError, NameTakenError


@dataclass(frozen=True, slots=True)
class Opened:
    """A branch of a name as it was found.

    Attributes:
        entry_id: The entry, whatever it is named later.
        name: Its name.
        branch: The branch.
        conversation_id: The conversation of the branch, or None.
        created_at: When the name was first opened, or began anew after it had expired.
        expires_at: When the name expires, or None.
    """

    entry_id: str
    name: str
    branch: str
    conversation_id: str | None
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a name is to be opened.

    Attributes:
        name: The name.
        lifetime: Seconds until it expires; None for what it has already, or never.
        metadata: The pairs to be kept with it; None for those it has already, or none.
    """

    name: str
    lifetime: float | None = None
    metadata: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Entries:
    """Names and branches as one transaction sees them.

    Attributes:
        connection: The transaction.
        tenant: Part of every key.
        now: The time.
    """

    connection: AsyncConnection
    tenant: str
    now: datetime

    async def locked(self, *, name: str | None = None, entry_id: str | None = None) -> RowMapping | None:
        """Return the row of a name, which no other transaction changes meanwhile, or None without one."""
        wanted = names.c.name == name if entry_id is None else names.c.entry_id == entry_id
        statement = select(names).where(names.c.tenant == self.tenant, wanted)
        result = await self.connection.execute(statement.with_for_update())
        row: RowMapping | None = result.mappings().first()
        return row

    async def locked_by_name(self, name: str) -> RowMapping:
        """Return the row of a name as `locked` does.

        Raises:
            NameNotFoundError: There is none.
        """
        row = await self.locked(name=name)
        if row is None:
            raise NameNotFoundError(name)
        return row

    async def open(self, wanted: Wanted) -> Opened:
        """Return the current branch of a name, which is made if need be, and begun anew if it had expired."""
        while True:
            await self._insert(wanted)
            row = await self.locked(name=wanted.name)
            if row is not None:  # else it was removed in between
                return await self.renewed(row, row["branch"], wanted)

    async def open_branch(self, wanted: Wanted, branch: str) -> Opened:
        """Return a branch of a name, which both must be there.

        Raises:
            NameNotFoundError: There is no such name, or it has no such branch.
        """
        opened = await self.renewed(await self.locked_by_name(wanted.name), branch, wanted)
        if opened.branch != branch:
            raise NameNotFoundError(wanted.name, branch)
        return opened

    async def reopened(self, opened: Opened) -> Opened | None:
        """Note that a name is used, and return a branch as it is now; None when it was forgotten.

        Of a name that has begun anew since, return the current branch.
        """
        row = await self.locked(entry_id=opened.entry_id)
        if row is None:
            return None
        found = await self.renewed(row, opened.branch)
        return None if _is_forgotten(opened, found) else found

    async def begun_again(self, opened: Opened) -> Opened:
        """Return a name or a branch that was forgotten, made again."""
        row = await self.locked(entry_id=opened.entry_id)
        if row is None:
            return await self.open(Wanted(opened.name))
        await self.add_branch(opened.entry_id, opened.branch, None)
        return await self.renewed(row, opened.branch)

    async def renewed(self, row: RowMapping, branch: str, wanted: Wanted | None = None) -> Opened:
        """Note that a name is used, and return one of its branches; the first one if it had expired.

        Return the current one when there is no such branch.
        """
        values: dict[str, Any] = {"used_at": self.now}
        if row["expires_at"] is not None and row["expires_at"] <= self.now:
            branch = MAIN
            await self._begin_anew(row)
            values |= {"created_at": self.now, "branch": MAIN, "metadata": {}, "lifetime": None}
        values |= _given(wanted)
        lifetime = values.get("lifetime", row["lifetime"])
        values["expires_at"] = None if lifetime is None else self.now + timedelta(seconds=lifetime)
        await self.connection.execute(update(names).where(self._is(names, row["entry_id"])).values(values))
        found = await self.branches_of(row["entry_id"])
        branch = branch if branch in found else row["branch"]
        created_at = values.get("created_at", row["created_at"])
        return Opened(row["entry_id"], row["name"], branch, found[branch], created_at, values["expires_at"])

    async def look_up(self, opened: Opened) -> Opened | None:
        """Return a branch as it is now; None when it was forgotten; change nothing.

        Of a name that has begun anew since, return the current branch. In one statement, so that no other
        transaction comes between.
        """
        rows = await self._joined(or_(names.c.entry_id == opened.entry_id, names.c.name == opened.name))
        own = [row for row in rows if row["entry_id"] == opened.entry_id] or rows
        same = [row for row in own if (row["entry_id"], row["branch"]) == (opened.entry_id, opened.branch)]
        for row in same or [row for row in own if row["branch"] == row["current"]]:
            found = _opened(row)
            return None if _is_forgotten(opened, found) else found
        return None

    async def owner_of(self, conversation_id: str) -> Opened | None:
        """Return the branch that a conversation is registered as, or None."""
        rows = await self._joined(branches.c.conversation_id == conversation_id)
        return _opened(rows[0]) if rows else None

    async def _joined(self, condition: ColumnElement[bool]) -> Sequence[RowMapping]:
        """Return branches with what is known of their names."""
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

    async def register(self, opened: Opened, conversation_id: str) -> Opened:
        """Give a branch its conversation."""
        statement = update(branches).where(
            self._is(branches, opened.entry_id), branches.c.branch == opened.branch
        )
        await self.connection.execute(statement.values(conversation_id=conversation_id))
        return replace(opened, conversation_id=conversation_id)

    async def branches_of(self, entry_id: str) -> dict[str, str | None]:
        """Return the branches of a name, each with its conversation or None."""
        statement = select(branches.c.branch, branches.c.conversation_id)
        result = await self.connection.execute(statement.where(self._is(branches, entry_id)))
        return {row[0]: row[1] for row in result}

    async def conversations_of(self, entry_id: str) -> list[str]:
        """Return the conversations of all branches of a name."""
        found = await self.branches_of(entry_id)
        return [conversation_id for conversation_id in found.values() if conversation_id is not None]

    async def remove(self, entry_id: str) -> None:
        """Remove a name with its branches and their usage."""
        for table in (branches, usage, names):
            await self.connection.execute(delete(table).where(self._is(table, entry_id)))

    async def remove_branch(self, entry_id: str, branch: str) -> None:
        """Remove a branch with its usage."""
        for table in (branches, usage):
            is_branch = and_(self._is(table, entry_id), table.c.branch == branch)
            await self.connection.execute(delete(table).where(is_branch))

    async def leave(self, conversation_ids: Collection[str], *, name: str, reason: str) -> None:
        """Note that conversations are to be deleted at OpenAI."""
        for conversation_id in conversation_ids:
            statement = insert_into(self.connection, leftovers).values(
                tenant=self.tenant,
                conversation_id=conversation_id,
                name=name,
                reason=reason,
                noted_at=self.now,
            )
            await self.connection.execute(statement.on_conflict_do_nothing())

    async def is_left(self, conversation_id: str) -> bool:
        """Tell whether a conversation is to be deleted."""
        statement = select(leftovers.c.reason).where(
            leftovers.c.tenant == self.tenant, leftovers.c.conversation_id == conversation_id
        )
        return (await self.connection.execute(statement)).first() is not None

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

    async def _insert(self, wanted: Wanted) -> None:
        """Add a name, unless it is there."""
        entry_id = uuid4().hex
        statement = insert_into(self.connection, names).values(
            tenant=self.tenant,
            entry_id=entry_id,
            name=wanted.name,
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

    async def _begin_anew(self, row: RowMapping) -> None:
        """Have one branch without a conversation; those of all branches are to be deleted."""
        entry_id = row["entry_id"]
        conversation_ids = await self.conversations_of(entry_id)
        for table in (branches, usage):
            await self.connection.execute(delete(table).where(self._is(table, entry_id)))
        await self.leave(conversation_ids, name=row["name"], reason="expired")
        await self.add_branch(entry_id, MAIN, None)

    def _is(self, table: Table, entry_id: str) -> ColumnElement[bool]:
        return and_(table.c.tenant == self.tenant, table.c.entry_id == entry_id)


def _opened(row: RowMapping) -> Opened:
    return Opened(**{name: row[name] for name in Opened.__dataclass_fields__})


def _is_forgotten(opened: Opened, found: Opened) -> bool:
    """Tell whether another branch was found as this one was removed, and its name did not begin anew."""
    is_same_name = (found.entry_id, found.created_at) == (opened.entry_id, opened.created_at)
    return is_same_name and found.branch != opened.branch


def _given(wanted: Wanted | None) -> dict[str, Any]:
    """Return the columns that whoever opens a name wants otherwise."""
    if wanted is None:
        return {}
    given = {"lifetime": wanted.lifetime, "metadata": wanted.metadata}
    return {column: value for column, value in given.items() if value is not None}


_KEY = ("tenant", "entry_id", "branch", "turn")

BEFORE_ALL_TURNS = 0
"""The turn of usage of which it is not known which turn it is of."""


class UsageRows:
    """The usage of the branches of a directory.

    Args:
        database: The directory.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, opened: Opened, turn: int, used: Usage) -> bool:
        """Add to what a turn has used; return whether the branch still has the conversation that was seen."""

        async def add(connection: AsyncConnection) -> bool:
            if not await self._is_current(connection, opened):
                return False
            row = self._row(opened, turn, used)
            statement = insert_into(connection, usage).values(row)
            sums = {name: usage.c[name] + statement.excluded[name] for name in USAGE_COLUMNS}
            await connection.execute(statement.on_conflict_do_update(index_elements=_KEY, set_=sums))
            return True

        return await self._database.write(add)

    async def replace(self, opened: Opened, used: Usage) -> bool:
        """Put a total in the place of what all turns have used; return as `add` does."""

        async def replace(connection: AsyncConnection) -> bool:
            if not await self._is_current(connection, opened):
                return False
            await connection.execute(delete(usage).where(self._is_of(opened)))
            await connection.execute(insert(usage).values(self._row(opened, BEFORE_ALL_TURNS, used)))
            return True

        return await self._database.write(replace)

    async def total(self, opened: Opened) -> Usage | None:
        """Return what all turns have used; None when nothing was counted."""
        sums = [func.sum(usage.c[name]) for name in USAGE_COLUMNS]

        async def total(connection: AsyncConnection) -> Usage | None:
            row = (await connection.execute(select(*sums).where(self._is_of(opened)))).one()
            return None if row[0] is None else Usage(*map(int, row))

        return await self._database.read(total)

    async def by_turn(self, opened: Opened) -> dict[int, Usage]:
        """Return what each turn has used, by its number."""
        columns = [usage.c.turn, *(usage.c[name] for name in USAGE_COLUMNS)]
        statement = select(*columns).where(self._is_of(opened)).order_by(usage.c.turn)

        async def by_turn(connection: AsyncConnection) -> dict[int, Usage]:
            return {row[0]: Usage(*row[1:]) for row in await connection.execute(statement)}

        return await self._database.read(by_turn)

    async def _is_current(self, connection: AsyncConnection, opened: Opened) -> bool:
        entries = Entries(connection, self._database.tenant, self._database.clock())
        if await entries.locked(entry_id=opened.entry_id) is None:
            return False
        found = await entries.look_up(opened)
        return found is not None and found.conversation_id == opened.conversation_id

    def _row(self, opened: Opened, turn: int, used: Usage) -> dict[str, object]:
        key = (self._database.tenant, opened.entry_id, opened.branch, turn)
        return {**dict(zip(_KEY, key, strict=True)), **asdict(used)}

    def _is_of(self, opened: Opened) -> ColumnElement[bool]:
        return and_(
            usage.c.tenant == self._database.tenant,
            usage.c.entry_id == opened.entry_id,
            usage.c.branch == opened.branch,
        )


_LAST_CODE_POINT = 0x10FFFF


class Listing:
    """The names of a directory.

    Args:
        database: The directory.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: str) -> SessionEntry | None:
        """Return a name, or None when there is none."""

        async def get(connection: AsyncConnection) -> SessionEntry | None:
            row = (await connection.execute(self._select().where(names.c.name == name))).mappings().first()
            return None if row is None else _entry(row)

        return await self._database.read(get)

    async def page(self, prefix: str, *, limit: int, after: str | None) -> SessionPage:
        """Return at most `limit` names that begin with a prefix, and come after a name."""
        statement = self._select().where(_begins_with(prefix)).order_by(names.c.name).limit(limit + 1)
        if after is not None:
            statement = statement.where(names.c.name > after)

        async def page(connection: AsyncConnection) -> list[SessionEntry]:
            return [_entry(row) for row in (await connection.execute(statement)).mappings()]

        entries = await self._database.read(page)
        has_more = len(entries) > limit
        return SessionPage(tuple(entries[:limit]), entries[limit - 1].name if has_more else None)

    async def rename(self, old: str, new: str) -> None:
        """Give a name another one.

        Raises:
            NameNotFoundError: There is no such name.
            NameTakenError: The other one is there already.
        """
        try:
            await self._update(old, {"name": new})
        except IntegrityError:
            raise NameTakenError(new) from None

    async def set_metadata(self, name: str, metadata: dict[str, str]) -> None:
        """Put pairs in the place of those that are kept with a name.

        Raises:
            NameNotFoundError: There is no such name.
        """
        await self._update(name, {"metadata": metadata})

    async def remove(self, name: str, *, delete: bool) -> list[str] | None:
        """Remove a name, and note its conversations as leftovers if they are to be deleted.

        Returns:
            The conversations that are to be deleted; None when there is no such name.
        """

        async def remove(connection: AsyncConnection) -> list[str] | None:
            entries = Entries(connection, self._database.tenant, self._database.clock())
            row = await entries.locked(name=name)
            if row is None:
                return None
            conversation_ids = await entries.conversations_of(row["entry_id"]) if delete else []
            await entries.remove(row["entry_id"])
            await entries.leave(conversation_ids, name=name, reason="forgotten")
            return conversation_ids

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


def _begins_with(prefix: str) -> ColumnElement[bool]:
    """Return a condition that the key of the table answers, and in which no character is special.

    What begins with a prefix comes from the prefix on, and before the prefix with its last character
    raised by one. One that cannot be raised is left out.
    """
    raisable = prefix.rstrip(chr(_LAST_CODE_POINT))
    condition = names.c.name >= prefix
    if not raisable:
        return condition
    code_point = ord(raisable[-1]) + 1
    if 0xD800 <= code_point <= 0xDFFF:
        code_point = 0xE000  # no text holds a surrogate
    return and_(condition, names.c.name < raisable[:-1] + chr(code_point))


def _entry(row: RowMapping) -> SessionEntry:
    return SessionEntry(**{field: row[field] for field in SessionEntry.__dataclass_fields__})
