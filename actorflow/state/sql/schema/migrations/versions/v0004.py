"""PostgreSQL leaves room beside each row for its next version.

A run's row and a step's row change a few times, soon after they are made. A version that finds
room on the same page needs no new entries in the indexes; and what never changes, such as a run's
inputs, is kept apart and not copied along.
"""

from __future__ import annotations

from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Say how the two tables are stored; what is stored already stays where it is."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE actorflow_runs SET (fillfactor = 50, toast_tuple_target = 128)")
        op.execute("ALTER TABLE actorflow_steps SET (fillfactor = 60)")
