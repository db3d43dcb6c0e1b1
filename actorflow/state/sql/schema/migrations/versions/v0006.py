"""Which process an owner is, that it is alive, and since when it owns a run.

Rows of owners that processes of an earlier version write have none of that: their leases count by
the clock of the database, as before.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0006"
down_revision = "0005"

_ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_TIME = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    """Add the columns; those of existing rows are null, and their beat is 0."""
    owners = "actorflow_owners"
    beat = sa.Column("beat", sa.BigInteger, nullable=False, server_default="0")
    op.add_column(owners, beat)
    op.add_column(owners, sa.Column("lease", sa.Double))
    op.add_column(owners, sa.Column("host", sa.Text))
    op.add_column(owners, sa.Column("boot_id", _ID))
    op.add_column(owners, sa.Column("pid_namespace", _ID))
    op.add_column(owners, sa.Column("pid", sa.BigInteger))
    op.add_column(owners, sa.Column("pid_started", sa.BigInteger))
    op.add_column("actorflow_runs", sa.Column("owned_since", _TIME))
