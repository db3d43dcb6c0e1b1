"""Owners that are gone: their leases are ended, so that their runs can be taken over.

The owner of a run is gone when its process is known to have ended, which only a process of the same
machine can tell, or when it has not renewed its lease for as long as the lease lasts.

On SQLite, that is not told by the wall clock, which may be set: each renewal increments a counter,
and a manager that wants to take runs over watches the counters on its own monotonic clock. It takes
over from an owner whose counter it has seen stand still for the duration of the lease. On
PostgreSQL the clock of the server counts, which is one for all machines; see `leases.unowned`.
`actorflow.state.leases` decides; this module reads the rows, and deletes those that are over.

Rows of an earlier version have no counter; their leases count by the clock of the database.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import attrs
import sqlalchemy as sa

from actorflow.state.leases import LeaseWatch
from actorflow.state.sql.processes import Process
from actorflow.state.sql.schema.tables import owners

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["OwnerWatch", "columns_of"]

_PROCESS = tuple(field.name for field in attrs.fields(Process))


def columns_of(process: Process) -> dict[str, Any]:
    """Return the columns of an owner's row that name its process."""
    return attrs.asdict(process)


class OwnerWatch:
    """Watches the other owners; within transactions that write, on any thread.

    Args:
        owner: The id of the owner that watches.
        process: The process of this owner.
        expired: The condition that an owner's lease has expired by the clock of the database.
        now: Returns the monotonic time.
        by_clock: Whether the clock of the database decides, as on PostgreSQL.
    """

    def __init__(
        self,
        owner: str,
        process: Process,
        expired: sa.ColumnElement[bool],
        now: Callable[[], float],
        *,
        by_clock: bool,
    ) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._watch = LeaseWatch(
            lambda row: process.knows_as_ended(_process_of(row)), by_clock=by_clock
        )
        self._query = (
            sa.select(owners, expired.label("expired"))
            .where(owners.c.owner != owner)
            .order_by(owners.c.owner)
        )

    def end_leases(self, connection: sa.Connection) -> None:
        """Look at the other owners, and delete the leases of those that are gone."""
        rows = connection.execute(self._query).all()
        with self._lock:
            over = self._watch.over(rows, self._now())
        for row in over:
            connection.execute(_end(row))

    def undecided_for(self, owner: str) -> float | None:
        """Return for how many seconds an owner must still be watched, as of the last look.

        Returns None when there is no reason to think that it is gone.
        """
        return self._watch.undecided_for(owner)


def _process_of(row: Any) -> Process:
    """Return the process that an owner's row names."""
    return Process(**{name: getattr(row, name) for name in _PROCESS})


def _end(row: Any) -> sa.Delete:
    """Return the statement that deletes a lease, unless its owner has renewed it since."""
    same = (
        owners.c.owner == row.owner,
        owners.c.beat == row.beat,
        owners.c.lease_until == row.lease_until,
    )
    return sa.delete(owners).where(*same)
