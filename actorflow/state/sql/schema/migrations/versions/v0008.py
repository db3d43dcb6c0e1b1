"""Attributes of runs, and since when a run is parked, waiting or paused."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0008"
down_revision = "0007"

_ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_TIME = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")
_NEWEST = (sa.text("created_at DESC"), "run_id")


def upgrade() -> None:
    """Add the columns of runs, the table of attributes, and indexes to find runs by them."""
    op.add_column("actorflow_runs", sa.Column("attributes", sa.Text))
    op.add_column("actorflow_runs", sa.Column("parked_since", _TIME))
    for name in ("waiting", "paused"):
        op.add_column("actorflow_runs", sa.Column(name, sa.Text))
        op.add_column("actorflow_runs", sa.Column(f"{name}_since", _TIME))
    for name in ("parked", "waiting", "paused"):
        some = sa.text(f"{name} IS NOT NULL")
        op.create_index(
            f"actorflow_runs_{name}",
            "actorflow_runs",
            _NEWEST,
            postgresql_where=some,
            sqlite_where=some,
        )
    op.create_table(
        "actorflow_attributes",
        sa.Column("run_id", _ID, sa.ForeignKey("actorflow_runs.run_id", ondelete="CASCADE")),
        sa.Column("name", _ID),
        sa.Column("value", _ID, nullable=False),
        sa.Column("type", _ID, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "name", name="actorflow_attributes_key"),
        sa.CheckConstraint(
            "type IN ('string', 'number', 'boolean')", name="actorflow_attributes_type"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "actorflow_attributes_by_value",
        "actorflow_attributes",
        ("name", "value", "type", *_NEWEST),
    )
