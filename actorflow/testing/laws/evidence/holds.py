"""Pauses of runs: between which events nothing of a run may start, and when its clocks stood still.

A run whose pause is over may have to wait for a place, which no event shows. Where places are
scarce, the laws about order therefore ask nothing of a run from its first pause on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from actorflow.model.lifecycle import EventKind
from actorflow.testing.laws.evidence.life import BEFORE, NEVER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorflow.testing.laws.evidence.life import Life

__all__ = ["Hold", "clock", "holds_of", "is_frozen", "is_held", "moment"]


class Hold(NamedTuple):
    """A pause of a run in one of its lives, by the events."""

    since: float
    """The index of `run.paused` among the events of the trace; `BEFORE` if the life began so."""
    since_at: float
    until: float
    """The index of `run.unpaused`, or of the run's end; `NEVER` if there was neither."""
    until_at: float
    freeze: bool


def holds_of(life: Life) -> Sequence[Hold]:
    """Return the pauses of a run in a life, in order."""
    holds: list[Hold] = []
    pausing = life.start.pausing
    if pausing is not None and pausing.recorded and pausing.wanted is not None:
        holds.append(Hold(BEFORE, life.began_at, NEVER, NEVER, pausing.wanted.freeze))
    for place, event in life.events:
        lasts = bool(holds) and holds[-1].until == NEVER
        if event.kind is EventKind.RUN_PAUSED and not lasts:
            holds.append(Hold(place, event.time, NEVER, NEVER, event.data["freeze"]))
        elif lasts and (event.kind is EventKind.RUN_UNPAUSED or event is life.end):
            holds[-1] = holds[-1]._replace(until=place, until_at=event.time)
    return tuple(holds)


def is_held(life: Life, events: float, *, scarce: bool) -> bool:
    """Return whether a run may be kept from starting anything after a number of events."""
    return any(hold.since < events and (scarce or events <= hold.until) for hold in life.holds)


# ── Clocks ───────────────────────────────────────────────────────────────────────────────────


def is_frozen(life: Life) -> bool:
    """Return whether clocks of a run stood still for a time."""
    return any(hold.freeze for hold in life.holds)


def clock(life: Life, time: float) -> float:
    """Return how a clock of a run stood at a moment that pauses can freeze."""
    stood = time
    for hold in life.holds:
        if hold.freeze and hold.since_at < time:
            stood -= min(time, hold.until_at) - hold.since_at
    return stood


def moment(life: Life, stood: float) -> float:
    """Return by when a clock of a run has stood so; `NEVER` if it still stands still."""
    for hold in life.holds:
        if hold.freeze and hold.since_at <= stood:
            stood += hold.until_at - hold.since_at
    return stood
