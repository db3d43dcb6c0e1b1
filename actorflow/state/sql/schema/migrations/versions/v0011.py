"""Links between runs and the steps that started them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0011"
down_revision = "0010"

_ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the columns of a run's parent, and an index to find the children of a run."""
    for name in ("parent_run_id", "parent_step_id", "root_run_id", "parent_call"):
        op.add_column("actorflow_runs", sa.Column(name, _ID))
    op.add_column("actorflow_runs", sa.Column("on_parent_end", sa.Text))
    some = sa.text("parent_run_id IS NOT NULL")
    op.create_index(
        "actorflow_runs_by_parent",
        "actorflow_runs",
        ("parent_run_id", "run_id"),
        postgresql_where=some,
        sqlite_where=some,
    )
