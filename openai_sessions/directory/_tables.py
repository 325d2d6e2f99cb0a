"""The tables of a directory, and how values are kept in them."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

SCHEMA_VERSION = 1
"""What the tables below are. One more with each change of them."""

MAX_NAME = 255
"""Characters of a name, a branch and a tenant."""

USAGE_COLUMNS = (
    "requests",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "reasoning_tokens",
    "total_tokens",
)


class UtcDateTime(TypeDecorator[datetime]):
    """Aware datetimes, in UTC; also on SQLite, which keeps no time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return what is stored."""
        return None if value is None else value.astimezone(timezone.utc)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return what was stored."""
        if value is None or value.tzinfo is not None:
            return None if value is None else value.astimezone(timezone.utc)
        return value.replace(tzinfo=timezone.utc)


class Strings(TypeDecorator[dict[str, str]]):
    """A mapping of strings, as JSON in ASCII: PostgreSQL takes no NUL and no lone surrogate in a text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: dict[str, str] | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Return what is stored."""
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> dict[str, str] | None:  # noqa: ARG002
        """Return what was stored."""
        return None if value is None else json.loads(value)


def _named() -> String:
    """Return a text that compares by code points on every database: SQLite does so by itself."""
    text = String(MAX_NAME)
    return text.with_variant(String(MAX_NAME, collation="C"), "postgresql")


metadata = MetaData()

schema = Table(
    "openai_sessions_schema",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
)
"""One row, whose version says what the other tables are."""

names = Table(
    "openai_sessions_names",
    metadata,
    Column("tenant", _named(), primary_key=True),
    Column("entry_id", String(32), primary_key=True),
    Column("name", _named(), nullable=False),
    Column("branch", _named(), nullable=False),
    Column("metadata", Strings, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("lifetime", Float),
    UniqueConstraint("tenant", "name"),
    Index("openai_sessions_names_expiry", "tenant", "expires_at"),
)
"""A row for each name. An entry keeps its id when it is renamed; none is ever used again."""

branches = Table(
    "openai_sessions_branches",
    metadata,
    Column("tenant", _named(), primary_key=True),
    Column("entry_id", String(32), primary_key=True),
    Column("branch", _named(), primary_key=True),
    Column("conversation_id", String(MAX_NAME)),
    Column("created_at", UtcDateTime, nullable=False),
    ForeignKeyConstraint(["tenant", "entry_id"], [names.c.tenant, names.c.entry_id]),
    UniqueConstraint("tenant", "conversation_id"),
)
"""A row for each branch of a name, with its conversation once that exists."""

usage = Table(
    "openai_sessions_usage",
    metadata,
    Column("tenant", _named(), primary_key=True),
    Column("entry_id", String(32), primary_key=True),
    Column("branch", _named(), primary_key=True),
    Column("turn", Integer, primary_key=True, autoincrement=False),
    *(Column(column, BigInteger, nullable=False) for column in USAGE_COLUMNS),
    ForeignKeyConstraint(["tenant", "entry_id"], [names.c.tenant, names.c.entry_id]),
)
"""What each turn of a branch has used."""

leftovers = Table(
    "openai_sessions_leftovers",
    metadata,
    Column("tenant", _named(), primary_key=True),
    Column("conversation_id", String(MAX_NAME), primary_key=True),
    Column("name", _named(), nullable=False),
    Column("reason", String(32), nullable=False),
    Column("noted_at", UtcDateTime, nullable=False),
)
"""A row for each conversation that is to be deleted at OpenAI."""

creations = Table(
    "openai_sessions_creations",
    metadata,
    Column("tenant", _named(), primary_key=True),
    Column("creation_id", String(32), primary_key=True),
    Column("name", _named(), nullable=False),
    Column("branch", _named(), nullable=False),
    Column("metadata", Strings, nullable=False),
    Column("requested_at", UtcDateTime, nullable=False),
    Column("is_lost", Boolean, nullable=False),
)
"""A row for each conversation that was asked for and whose id is not known yet, or never will be."""
