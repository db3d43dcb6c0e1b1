"""Schedules: a table with a row for each.

A row has the definition of a schedule and where it stands.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0010"
down_revision = "0009"

_ID: Final = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_TIME: Final = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "actorflow_schedules",
        sa.Column("name", _ID, primary_key=True),
        sa.Column("workflow_id", _ID, nullable=False),
        sa.Column("workflow_version", _ID, nullable=False),
        sa.Column("cron", sa.Text),
        sa.Column("every", sa.Double),
        sa.Column("tz", sa.Text, nullable=False),
        sa.Column("serializer", sa.Text, nullable=False),
        sa.Column("inputs", sa.Text, nullable=False),
        sa.Column("overlap", _ID, nullable=False),
        sa.Column("catch_up", sa.Double, nullable=False),
        sa.Column("missed", _ID, nullable=False),
        sa.Column("jitter", sa.Double, nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("decided_until", _TIME, nullable=False),
        sa.Column("pending", sa.Text, nullable=False),
        sa.Column("requested", sa.Text, nullable=False),
        sa.Column("queued_at", _TIME),
        sa.Column("last_at", _TIME),
        sa.Column("last_run_id", _ID),
        sa.Column("fired_count", sa.BigInteger, nullable=False),
        sa.Column("skipped_count", sa.BigInteger, nullable=False),
        sa.Column("missed_count", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.CheckConstraint(
            "(cron IS NULL) != (every IS NULL)", name="actorflow_schedules_one_timetable"
        ),
    )
