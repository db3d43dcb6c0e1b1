"""Deadlines that had passed while nothing was under way, and that nobody had noticed."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from actorflow.lifecycle import EventKind
from actorflow.testing.life import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.testing.life import Life, StepLife
    from actorflow.testing.lives import Lives
    from actorflow.testing.trace import Idle

__all__ = ["unnoticed_deadlines"]

_ROUNDING: Final = 1e-6
"""What sums of floating-point numbers may differ by, in seconds."""


def unnoticed_deadlines(lives: Lives) -> Iterator[str]:
    """Say which backoffs and timeouts were over at a moment when nothing could be delivered.

    Time moves on only when everything that is due has happened. So whenever nothing can be
    delivered and nothing waits to be recorded, whatever was due before has been noticed.
    """
    for step in lives.odd:
        for what, since, until, due in _deadlines(step):
            for lull in lives.trace.idle:
                if since < lull.events <= until and _shows(lull, step.life, due):
                    when = f"over at {due:g} s, and unnoticed at {lull.time:g} s"
                    yield f"{what} of {step} was {when}"


def _shows(lull: Idle, life: Life, due: float) -> bool:
    """Return whether something that was due had to be noticed by then."""
    counts = not lull.writes and lull.deliveries < min(life.until, life.torn_at)
    return counts and lull.time > due + _ROUNDING


def _deadlines(step: StepLife) -> Iterator[tuple[str, int, float, float]]:
    """Yield what is to be noticed: what it is, between which events, and when it is due."""
    timeout = None if _may_be_stopped(step) else step.plan.step.timeout
    places = itertools.pairwise([*step.at, NEVER])
    for (place, following), event in zip(places, step.events, strict=True):
        if event.kind is EventKind.STEP_RETRYING:
            yield "a backoff", int(place), following, event.time + event.data["delay"]
        elif event.kind is EventKind.STEP_STARTED and timeout is not None:
            yield "an attempt's time", int(place), following, event.time + timeout


def _may_be_stopped(step: StepLife) -> bool:
    """Return whether attempts may be stopped for other reasons, and their timeouts passed over."""
    end = step.life.end
    return bool(step.deaths) or end is None or end.kind is not EventKind.RUN_COMPLETED
