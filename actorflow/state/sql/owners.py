"""Owners that are gone: their leases are ended, so that their runs can be taken over.

The owner of a run is gone when its process is known to have ended, which only a process of the same
machine can tell, or when it has not renewed its lease for as long as the lease lasts.

On SQLite, that is not told by the wall clock, which may be set: each renewal increments a counter,
and a manager that wants to take runs over watches the counters on its own monotonic clock. It takes
over from an owner whose counter it has seen stand still for the duration of the lease. On
PostgreSQL the clock of the server counts, which is one for all machines; see `leases.unowned`.

Rows of an earlier version have no counter; their leases count by the clock of the database.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import attrs
import sqlalchemy as sa

from actorflow.state.sql.processes import Process
from actorflow.state.sql.schema.tables import owners

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["OwnerWatch", "columns_of"]

_PROCESS = tuple(field.name for field in attrs.fields(Process))


def columns_of(process: Process) -> dict[str, Any]:
    """Return the columns of an owner's row that name its process."""
    return attrs.asdict(process)


@attrs.frozen
class _Seen:
    """How an owner's row was when it was seen to have changed."""

    beat: tuple[int, Any]
    """The counter, and the end of the lease."""
    at: float
    """The monotonic time."""


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
        self._process = process
        self._now = now
        self._lock = threading.Lock()
        self._by_clock = by_clock
        self._query = (
            sa.select(owners, expired.label("expired"))
            .where(owners.c.owner != owner)
            .order_by(owners.c.owner)
        )
        self._seen: dict[str, _Seen] = {}
        self._undecided: dict[str, float] = {}

    def end_leases(self, connection: sa.Connection) -> None:
        """Look at the other owners, and delete the leases of those that are gone."""
        rows = connection.execute(self._query).all()
        for row in self._over(rows):
            connection.execute(_end(row))

    def _over(self, rows: Sequence[Any]) -> list[Any]:
        """Return the rows of the owners that are gone."""
        with self._lock:
            now = self._now()
            self._note(rows, now)
            left = {row.owner: self._seconds_left(row, now) for row in rows}
            over = [row for row in rows if (it := left[row.owner]) is not None and it <= 0.0]
            self._undecided = {
                row.owner: it
                for row in rows
                if (it := left[row.owner]) is not None and it > 0.0 and row.expired
            }
            return over

    def undecided_for(self, owner: str) -> float | None:
        """Return for how many seconds an owner must still be watched, as of the last look.

        Returns None when there is no reason to think that it is gone.
        """
        return self._undecided.get(owner)

    def _note(self, rows: Any, now: float) -> None:
        """Note which counters have moved, and forget owners that have no lease."""
        before, self._seen = self._seen, {}
        for row in rows:
            seen, beat = before.get(row.owner), (row.beat, row.lease_until)
            same = seen is not None and seen.beat == beat
            self._seen[row.owner] = seen if seen is not None and same else _Seen(beat, now)

    def _seconds_left(self, row: Any, now: float) -> float | None:
        """Return after how many seconds the lease is over; None if the database's clock decides."""
        if self._process.knows_as_ended(Process(**{it: getattr(row, it) for it in _PROCESS})):
            return 0.0
        if self._by_clock:
            return None
        if row.lease is None:
            return 0.0 if row.expired else None
        left: float = self._seen[row.owner].at + row.lease - now
        return left


def _end(row: Any) -> sa.Delete:
    """Return the statement that deletes a lease, unless its owner has renewed it since."""
    same = (
        owners.c.owner == row.owner,
        owners.c.beat == row.beat,
        owners.c.lease_until == row.lease_until,
    )
    return sa.delete(owners).where(*same)
