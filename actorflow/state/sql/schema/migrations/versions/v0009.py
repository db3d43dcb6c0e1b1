"""Runs for later, runs with keys, and idempotency keys that expire."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0009"
down_revision = "0008"

_TIME = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")
_ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the columns, and the indexes that admit one run a slot and find what is due."""
    op.add_column("actorflow_runs", sa.Column("start_at", _TIME))
    op.add_column("actorflow_runs", sa.Column("run_key", _ID))
    op.add_column("actorflow_runs", sa.Column("key_slot", _ID))
    op.add_column("actorflow_runs", sa.Column("debounce", sa.Double))
    op.add_column("actorflow_keys", sa.Column("expires_at", _TIME))
    _index("actorflow_runs_slots", ("workflow_id", "run_key", "key_slot"), "key_slot", unique=True)
    _index("actorflow_runs_due", ("start_at",), "start_at", "finished_at IS NULL")


def _index(
    name: str, columns: tuple[str, ...], given: str, also: str = "", *, unique: bool = False
) -> None:
    where = sa.text(f"{given} IS NOT NULL" + (f" AND {also}" if also else ""))
    op.create_index(
        name, "actorflow_runs", columns, unique=unique, postgresql_where=where, sqlite_where=where
    )
