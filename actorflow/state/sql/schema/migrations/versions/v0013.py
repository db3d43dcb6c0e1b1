"""Pauses: whether a paused run's clocks stand still, and whether its events say that it is paused.

`paused` says what is wanted of a run; its owner hears of it by the index.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the columns, and an index to find the pauses that owners have not recorded."""
    for name in ("frozen", "pause_heard"):
        op.add_column("actorflow_runs", sa.Column(name, sa.Boolean))
    unheard = sa.text("(paused IS NULL) != (pause_heard IS NULL)")
    op.create_index(
        "actorflow_runs_pauses",
        "actorflow_runs",
        ("owner",),
        postgresql_where=unheard,
        sqlite_where=unheard,
    )
