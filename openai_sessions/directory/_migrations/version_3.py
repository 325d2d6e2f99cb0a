"""Owners, titles and turns of names; erasures of users, their responses and keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations

revision = "3"
down_revision = "2"

NAME = sa.String(255).with_variant(sa.String(255, collation="C"), "postgresql")
TIME = sa.DateTime(timezone=True)


_COUNT_TURNS = """
UPDATE openai_sessions_branches AS counted SET turn_count = (
    SELECT max(used.turn) FROM openai_sessions_model_usage AS used
    WHERE used.tenant = counted.tenant AND used.entry_id = counted.entry_id AND used.branch = counted.branch
)
WHERE EXISTS (
    SELECT 1 FROM openai_sessions_model_usage AS used
    WHERE used.tenant = counted.tenant AND used.entry_id = counted.entry_id AND used.branch = counted.branch
)
"""
"""What is known of earlier turns: the number of the last one whose usage was stored."""


def upgrade(op: Operations) -> None:
    """Add the columns and tables."""
    _extend_tables(op)
    op.execute(_COUNT_TURNS)
    op.create_table(
        "openai_sessions_responses",
        sa.Column("tenant", NAME, primary_key=True),
        sa.Column("response_id", sa.String(255), primary_key=True),
        sa.Column("user_id", NAME, nullable=False),
        sa.Column("noted_at", TIME, nullable=False),
    )
    op.create_index("openai_sessions_responses_user", "openai_sessions_responses", ["tenant", "user_id"])
    op.create_table(
        "openai_sessions_erasures",
        sa.Column("tenant", NAME, primary_key=True),
        sa.Column("user_id", NAME, primary_key=True),
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("object_id", sa.Text, primary_key=True),
        sa.Column("conversation_id", sa.String(255)),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text),
    )
    op.create_table(
        "openai_sessions_keys",
        sa.Column("tenant", NAME, primary_key=True),
        sa.Column("user_id", NAME, primary_key=True),
        sa.Column("encrypted_key", sa.Text, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
    )


def _extend_tables(op: Operations) -> None:
    names, deletions = "openai_sessions_names", "openai_sessions_deletions"
    op.add_column(names, sa.Column("user_id", NAME))
    op.add_column(names, sa.Column("title", sa.String(255)))
    op.add_column(names, sa.Column("title_key", sa.Text))
    op.add_column(
        names, sa.Column("is_title_requested", sa.Boolean, nullable=False, server_default=sa.false())
    )
    op.create_index("openai_sessions_names_used", names, ["tenant", "used_at", "entry_id"])
    op.create_index("openai_sessions_names_user", names, ["tenant", "user_id", "used_at", "entry_id"])
    op.add_column(
        "openai_sessions_branches", sa.Column("turn_count", sa.Integer, nullable=False, server_default="0")
    )
    op.add_column(deletions, sa.Column("user_id", NAME))
    op.create_index("openai_sessions_deletions_user", deletions, ["tenant", "user_id"])
    op.add_column("openai_sessions_creations", sa.Column("user_id", NAME))
