"""Messages of runs, and runs that wait for them outside of any memory.

There is a table of messages, with a column of runs that says which is the latest one. A run that
waits is left out of the index in which orchestrators look for runs.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0012"
down_revision = "0011"

_ID: Final = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_TIME: Final = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    """Create the table, add the columns, and change the index."""
    op.create_table(
        "actorflow_messages",
        sa.Column("run_id", _ID, sa.ForeignKey("actorflow_runs.run_id", ondelete="CASCADE")),
        sa.Column("number", sa.BigInteger),
        sa.Column("name", _ID, nullable=False),
        sa.Column("message_id", _ID),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("sent_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "number", name="actorflow_messages_key"),
        sa.CheckConstraint("number >= 1", name="actorflow_messages_number"),
        sqlite_with_rowid=False,
    )
    named = sa.text("message_id IS NOT NULL")
    op.create_index(
        "actorflow_messages_by_id",
        "actorflow_messages",
        ("run_id", "name", "message_id"),
        unique=True,
        postgresql_where=named,
        sqlite_where=named,
    )
    op.add_column("actorflow_runs", sa.Column("last_message", sa.BigInteger))
    some = sa.text("last_message IS NOT NULL AND finished_at IS NULL")
    op.create_index(
        "actorflow_runs_addressed",
        "actorflow_runs",
        ("owner",),
        postgresql_where=some,
        sqlite_where=some,
    )
    for name in ("wake_at", "deadline_at"):
        op.add_column("actorflow_runs", sa.Column(name, _TIME))
    asleep = sa.text("wake_at IS NOT NULL")
    op.create_index(
        "actorflow_runs_wake",
        "actorflow_runs",
        ("wake_at",),
        postgresql_where=asleep,
        sqlite_where=asleep,
    )
    op.drop_index("actorflow_runs_open", "actorflow_runs")
    is_open = sa.text("finished_at IS NULL AND waiting IS NULL")
    op.create_index(
        "actorflow_runs_open",
        "actorflow_runs",
        (sa.text("priority DESC"), "created_at", "run_id"),
        postgresql_where=is_open,
        sqlite_where=is_open,
    )
