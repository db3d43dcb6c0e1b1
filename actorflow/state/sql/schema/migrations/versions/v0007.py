"""How often a run was taken over from an owner that was gone.

Only owners that have recorded something of the run count, so its last event at each claim is kept
too. The steps in flight at each of these take-overs are in the event `run.resumed`.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the two columns; runs from before have not been taken over, as far as they know."""
    for name in ("takeovers", "claimed_event"):
        column = sa.Column(name, sa.BigInteger, nullable=False, server_default="0")
        op.add_column("actorflow_runs", column)
