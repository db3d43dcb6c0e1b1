"""How deep in its family a run is, so that a recursion without end is refused after a crash too."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Add the column."""
    op.add_column("actorflow_runs", sa.Column("generation", sa.BigInteger))
