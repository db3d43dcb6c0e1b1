"""Leases without a database: when one is due for renewal, and when it is over.

`actorflow.state.sql` reads and writes the rows of owners. What follows from them is decided here,
so that the simulation of several orchestrators decides in the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Claimant", "LeaseWatch", "renewal_interval"]

_RENEWALS: Final = 3
"""How many times a lease is renewed during its duration."""


def renewal_interval(seconds: float) -> float:
    """Return the seconds between two renewals of a lease that lasts for so many seconds."""
    return seconds / _RENEWALS


class Claimant(Protocol):
    """The row of an owner, as read by another one."""

    @property
    def owner(self) -> str:
        """The owner's id."""

    @property
    def beat(self) -> int | None:
        """A counter that each renewal increments."""

    @property
    def lease_until(self) -> Any:
        """When the lease ends, by the clock of the database."""

    @property
    def lease(self) -> float | None:
        """Seconds for which the lease lasts; None in rows of an earlier version."""

    @property
    def expired(self) -> bool:
        """Whether the lease has expired by the clock of the database."""


@attrs.frozen
class _Seen:
    """How an owner's row was when it was seen to have changed."""

    beat: tuple[int | None, Any]
    """The counter, and the end of the lease."""
    at: float
    """The monotonic time."""


class LeaseWatch:
    """Decides which owners are gone, from their rows at one moment after another.

    Args:
        has_ended: Returns whether the process of an owner has certainly ended.
        by_clock: Whether the clock of the database decides, as on PostgreSQL.
    """

    def __init__(self, has_ended: Callable[[Any], bool], *, by_clock: bool) -> None:
        self._has_ended = has_ended
        self._by_clock = by_clock
        self._seen: dict[str, _Seen] = {}
        self._undecided: dict[str, float] = {}

    def over(self, rows: Sequence[Any], now: float) -> list[Any]:
        """Return the rows of the owners that are gone.

        Args:
            rows: The rows of all other owners, each a `Claimant`.
            now: The monotonic time.
        """
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

    def _note(self, rows: Sequence[Claimant], now: float) -> None:
        """Note which counters have moved, and forget owners that have no lease."""
        before, self._seen = self._seen, {}
        for row in rows:
            seen, beat = before.get(row.owner), (row.beat, row.lease_until)
            same = seen is not None and seen.beat == beat
            self._seen[row.owner] = seen if seen is not None and same else _Seen(beat, now)

    def _seconds_left(self, row: Claimant, now: float) -> float | None:
        """Return after how many seconds the lease is over; None if the database's clock decides."""
        if self._has_ended(row):
            return 0.0
        if self._by_clock:
            return None
        if row.lease is None:
            return 0.0 if row.expired else None
        return self._seen[row.owner].at + row.lease - now
