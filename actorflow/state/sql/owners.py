"""Owners of runs, as operators see them."""

from __future__ import annotations

import attrs

__all__ = ["Owner"]


@attrs.frozen(kw_only=True)
class Owner:
    """An owner of runs: a state manager of some process."""

    owner: str
    """Its name; empty for runs in progress that have no owner."""
    lease_until: float | None
    """When its lease runs out, by the clock of the database, in seconds since the epoch. None if it
    has no lease: others may take its runs.
    """
    runs: int
    """How many runs it has in progress."""
