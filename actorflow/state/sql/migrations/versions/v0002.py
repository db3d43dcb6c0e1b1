"""Owners have leases: one for all runs of an owner, in a table of their own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0002"
down_revision = "0001"

_ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_TIME = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    """Make the table of owners, and an index of the runs that somebody may have to take over."""
    op.create_table(
        "actorflow_owners",
        sa.Column("owner", _ID, primary_key=True),
        sa.Column("lease_until", _TIME, nullable=False),
    )
    op.drop_column("actorflow_runs", "lease_until")
    is_open = sa.text("finished_at IS NULL")
    op.create_index(
        "actorflow_runs_open",
        "actorflow_runs",
        (sa.text("priority DESC"), "created_at", "run_id"),
        postgresql_where=is_open,
        sqlite_where=is_open,
    )
