"""Which runs can still end, when steps keep what other runs need.

It is reckoned as a banker does who lends out what he has: whoever can end with what is free ends,
gives back what it keeps, and so lets others end. Whoever is left at the last never will.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Standing", "can_end"]


@attrs.frozen(kw_only=True)
class Standing:
    """What a run keeps, and what it needs."""

    active: bool
    """Whether it has its place among the runs in progress."""
    needs_a_worker: bool
    """Whether an async step of it has yet to start."""
    keeps_workers: int
    """How many of its async steps wait."""
    awaits: frozenset[str | None]
    """The runs that its steps wait for; None stands for any run's end, which lets another in."""


def can_end(runs: Mapping[str, Standing], *, places: int, workers: int) -> frozenset[str]:
    """Return those of the runs that can end, if no step of theirs that waits is cut.

    Args:
        runs: All accepted runs.
        places: How many places among the runs in progress are free.
        workers: How many async workers are free.
    """
    ended: set[str] = set()
    while True:
        able = [
            run_id
            for run_id, run in runs.items()
            if run_id not in ended
            and (run.active or places > 0)
            and (not run.needs_a_worker or workers > 0)
            and all(_has_come(awaited, ended, runs) for awaited in run.awaits)
        ]
        if not able:
            return frozenset(ended)
        ended.update(able)
        places += sum(runs[run_id].active for run_id in able)
        workers += sum(runs[run_id].keeps_workers for run_id in able)


def _has_come(awaited: str | None, ended: set[str], runs: Mapping[str, Standing]) -> bool:
    if awaited is None:
        return bool(ended)
    return awaited in ended or awaited not in runs
