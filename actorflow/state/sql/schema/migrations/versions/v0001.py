"""The first tables: runs, steps and events.

A migration is self-contained because it describes the past: a later change of a table is made in
`tables.py` and in a new migration.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0001"
down_revision = None

_ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_TIME = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    """Create the tables."""
    _runs()
    _indexes()
    _steps()
    _events()


def _runs() -> None:
    op.create_table(
        "actorflow_runs",
        sa.Column("run_id", _ID, primary_key=True),
        sa.Column("workflow_id", _ID, nullable=False),
        sa.Column("workflow_version", _ID, nullable=False),
        sa.Column("status", _ID, nullable=False),
        sa.Column("priority", sa.BigInteger, nullable=False),
        sa.Column("timeout", sa.Double),
        sa.Column("serializer", sa.Text, nullable=False),
        sa.Column("step_ids", sa.Text, nullable=False),
        sa.Column("last_steps", sa.Text, nullable=False),
        sa.Column("inputs", sa.Text, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("trace_id", _ID),
        sa.Column("correlation_id", _ID),
        sa.Column("business_id", _ID),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("started_at", _TIME),
        sa.Column("finished_at", _TIME),
        sa.Column("error", sa.Text),
        sa.Column("failed_step", _ID),
        sa.Column("reason", sa.Text),
        sa.Column("compensations", sa.Text, nullable=False, server_default="[]"),
        sa.Column("last_event", sa.BigInteger, nullable=False),
        sa.Column("owner", _ID, nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("lease_until", _TIME),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'compensating', 'completed', 'failed', 'cancelled')",
            name="actorflow_runs_status",
        ),
        sa.CheckConstraint(
            "(status IN ('completed', 'failed', 'cancelled')) = (finished_at IS NOT NULL)",
            name="actorflow_runs_finished",
        ),
        sa.CheckConstraint("last_event >= 0", name="actorflow_runs_last_event"),
        sa.CheckConstraint("fence >= 1", name="actorflow_runs_fence"),
    )


def _indexes() -> None:
    newest = (sa.text("created_at DESC"), "run_id")
    table = "actorflow_runs"
    op.create_index("actorflow_runs_by_time", table, newest)
    op.create_index("actorflow_runs_by_status", table, ("status", *newest))
    op.create_index("actorflow_runs_by_workflow", table, ("workflow_id", *newest))
    for name in ("trace_id", "correlation_id", "business_id"):
        given = sa.text(f"{name} IS NOT NULL")
        op.create_index(
            f"actorflow_runs_by_{name}",
            table,
            (name, *newest),
            postgresql_where=given,
            sqlite_where=given,
        )


def _steps() -> None:
    op.create_table(
        "actorflow_steps",
        sa.Column("run_id", _ID, sa.ForeignKey("actorflow_runs.run_id", ondelete="CASCADE")),
        sa.Column("step_id", _ID),
        sa.Column("status", _ID, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("output", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("started_at", _TIME),
        sa.Column("finished_at", _TIME),
        sa.PrimaryKeyConstraint("run_id", "step_id", name="actorflow_steps_key"),
        sa.CheckConstraint(
            "status IN ('pending', 'ready', 'running', 'retrying', 'completed', 'failed', "
            "'skipped', 'cancelled', 'compensated', 'compensation_failed')",
            name="actorflow_steps_status",
        ),
        sa.CheckConstraint("attempts >= 0", name="actorflow_steps_attempts"),
        sqlite_with_rowid=False,
    )


def _events() -> None:
    op.create_table(
        "actorflow_events",
        sa.Column("run_id", _ID, sa.ForeignKey("actorflow_runs.run_id", ondelete="CASCADE")),
        sa.Column("number", sa.BigInteger),
        sa.Column("kind", _ID, nullable=False),
        sa.Column("step_id", _ID),
        sa.Column("attempt", sa.Integer),
        sa.Column("time", _TIME, nullable=False),
        sa.Column("data", sa.Text),
        sa.PrimaryKeyConstraint("run_id", "number", name="actorflow_events_key"),
        sa.CheckConstraint("number >= 1", name="actorflow_events_number"),
        sqlite_with_rowid=False,
    )
