"""Leases of owners, parked runs, and idempotency keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0002"
down_revision = "0001"

_ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_TIME = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    """Create the tables of owners and keys, and an index of the runs in progress."""
    op.create_table(
        "actorflow_owners",
        sa.Column("owner", _ID, primary_key=True),
        sa.Column("lease_until", _TIME, nullable=False),
    )
    op.create_table(
        "actorflow_keys",
        sa.Column("workflow_id", _ID),
        sa.Column("idempotency_key", _ID),
        sa.Column("run_id", _ID, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("workflow_id", "idempotency_key", name="actorflow_keys_key"),
        sqlite_with_rowid=False,
    )
    op.create_index("actorflow_keys_by_time", "actorflow_keys", ("created_at",))
    op.drop_column("actorflow_runs", "lease_until")
    op.add_column("actorflow_runs", sa.Column("parked", sa.Text))
    is_open = sa.text("finished_at IS NULL")
    op.create_index(
        "actorflow_runs_open",
        "actorflow_runs",
        (sa.text("priority DESC"), "created_at", "run_id"),
        postgresql_where=is_open,
        sqlite_where=is_open,
    )
