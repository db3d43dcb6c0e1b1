"""Marks for runs that are being purged and for runs that should be cancelled."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0003"
down_revision = "0002"

_TIME = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    """Add the two marks, and indexes to find them and the oldest runs."""
    op.add_column("actorflow_runs", sa.Column("purged_at", _TIME))
    op.add_column("actorflow_runs", sa.Column("cancel_asked", sa.Text))
    _index("actorflow_runs_by_end", ("finished_at", "run_id"), "finished_at IS NOT NULL")
    _index("actorflow_runs_purged", ("run_id",), "purged_at IS NOT NULL")
    _index("actorflow_runs_asked", ("owner",), "cancel_asked IS NOT NULL")


def _index(name: str, columns: tuple[str, ...], where: str) -> None:
    some = sa.text(where)
    op.create_index(name, "actorflow_runs", columns, postgresql_where=some, sqlite_where=some)
