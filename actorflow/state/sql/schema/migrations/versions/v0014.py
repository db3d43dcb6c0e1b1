"""Families: an index to find their runs, and which children belong to compensators."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add the column and the index."""
    op.add_column("actorflow_runs", sa.Column("parent_compensates", sa.Boolean))
    some = sa.text("root_run_id IS NOT NULL")
    op.create_index(
        "actorflow_runs_by_root",
        "actorflow_runs",
        ("root_run_id", sa.text("created_at DESC"), "run_id"),
        postgresql_where=some,
        sqlite_where=some,
    )
