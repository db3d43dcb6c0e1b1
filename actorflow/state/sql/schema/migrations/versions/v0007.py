"""How often a run was taken over from an owner that was gone.

The steps in flight at each of these take-overs are in the event `run.resumed`.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0007"
down_revision = "0005"


def upgrade() -> None:
    """Add the count; runs from before have not been taken over, as far as it knows."""
    count = sa.Column("takeovers", sa.BigInteger, nullable=False, server_default="0")
    op.add_column("actorflow_runs", count)
