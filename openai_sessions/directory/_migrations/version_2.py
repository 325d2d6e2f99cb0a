"""The tables of the first release: names, branches, usage, deletions and creations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations

revision = "2"
down_revision = None

NAME = sa.String(255).with_variant(sa.String(255, collation="C"), "postgresql")
TIME = sa.DateTime(timezone=True)

COUNTS = (
    "requests",
    "input_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "total_tokens",
)


def upgrade(op: Operations) -> None:
    """Create the tables."""
    op.create_table(
        "openai_sessions_names",
        sa.Column("tenant", NAME, primary_key=True),
        sa.Column("entry_id", sa.String(32), primary_key=True),
        sa.Column("name", NAME, nullable=False),
        sa.Column("branch", NAME, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("used_at", TIME, nullable=False),
        sa.Column("expires_at", TIME),
        sa.Column("lifetime", sa.Float),
        sa.UniqueConstraint("tenant", "name"),
    )
    op.create_index("openai_sessions_names_expiry", "openai_sessions_names", ["tenant", "expires_at"])
    op.create_table(
        "openai_sessions_branches",
        sa.Column("tenant", NAME, primary_key=True),
        sa.Column("entry_id", sa.String(32), primary_key=True),
        sa.Column("branch", NAME, primary_key=True),
        sa.Column("conversation_id", sa.String(255)),
        sa.Column("created_at", TIME, nullable=False),
        _of_a_name(),
        sa.UniqueConstraint("tenant", "conversation_id"),
    )
    op.create_table(
        "openai_sessions_model_usage",
        sa.Column("tenant", NAME, primary_key=True),
        sa.Column("entry_id", sa.String(32), primary_key=True),
        sa.Column("branch", NAME, primary_key=True),
        sa.Column("turn", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("model", sa.String(100), primary_key=True),
        sa.Column("long_input", sa.Boolean, primary_key=True),
        *(sa.Column(count, sa.BigInteger, nullable=False) for count in COUNTS),
        _of_a_name(),
    )
    op.create_table(
        "openai_sessions_deletions",
        sa.Column("tenant", NAME, primary_key=True),
        sa.Column("conversation_id", sa.String(255), primary_key=True),
        sa.Column("name", NAME, nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("noted_at", TIME, nullable=False),
    )
    op.create_table(
        "openai_sessions_creations",
        sa.Column("tenant", NAME, primary_key=True),
        sa.Column("creation_id", sa.String(32), primary_key=True),
        sa.Column("name", NAME, nullable=False),
        sa.Column("branch", NAME, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("requested_at", TIME, nullable=False),
        sa.Column("is_lost", sa.Boolean, nullable=False),
    )


def _of_a_name() -> sa.ForeignKeyConstraint:
    names = "openai_sessions_names"
    return sa.ForeignKeyConstraint(["tenant", "entry_id"], [f"{names}.tenant", f"{names}.entry_id"])
