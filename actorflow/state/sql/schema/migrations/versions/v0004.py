"""Free space on PostgreSQL's pages for new versions of rows.

The rows of a run and of a step change a few times soon after they are inserted. A version that fits
on the same page needs no new index entries. Values that never change, such as a run's inputs, are
stored out of line and are not copied along.
"""

from __future__ import annotations

from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Change the storage parameters of the two tables; existing rows stay where they are."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE actorflow_runs SET (fillfactor = 50, toast_tuple_target = 128)")
        op.execute("ALTER TABLE actorflow_steps SET (fillfactor = 60)")
