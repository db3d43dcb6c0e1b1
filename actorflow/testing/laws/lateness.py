"""Deadlines that had passed while nothing was under way, and that nobody had noticed."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from actorflow.lifecycle import EventKind
from actorflow.testing.life import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.events import Event
    from actorflow.testing.life import Life, StepLife
    from actorflow.testing.lives import Lives
    from actorflow.testing.trace import Idle

    _Deadline = tuple[str, int, float, float]
    """What is to be noticed, between which events, and when it is due."""

__all__ = ["unnoticed_deadlines"]

_ROUNDING: Final = 1e-6
"""What sums of floating-point numbers may differ by, in seconds."""


def unnoticed_deadlines(lives: Lives) -> Iterator[str]:
    """Say which backoffs and timeouts were over at a moment when nothing could be delivered.

    Time moves on only when everything that is due has happened. So whenever nothing can be
    delivered and nothing waits to be recorded, whatever was due before has been noticed.
    """
    for step in lives.odd:
        deadlines = _backoffs(step)
        if not _may_be_stopped(step):
            deadlines += _timeouts(step)
        for what, since, until, due in deadlines:
            for lull in lives.trace.idle:
                if since < lull.events <= until and _shows(lull, step.life, due):
                    when = f"over at {due:g} s, and unnoticed at {lull.time:g} s"
                    yield f"{what} of {step} was {when}"


def _shows(lull: Idle, life: Life, due: float) -> bool:
    """Return whether something that was due had to be noticed by then."""
    counts = not lull.writes and lull.deliveries < min(life.until, life.torn_at)
    return counts and lull.time > due + _ROUNDING


def _backoffs(step: StepLife) -> list[_Deadline]:
    return [
        ("a backoff", place, following, event.time + event.data["delay"])
        for place, following, event in _told(step)
        if event.kind is EventKind.STEP_RETRYING
    ]


def _timeouts(step: StepLife) -> list[_Deadline]:
    options, told = step.plan.step, list(_told(step))
    deadlines: list[_Deadline] = []
    starts = [one for one in told if one[2].kind is EventKind.STEP_STARTED]
    if options.timeout is not None:
        for place, following, event in starts:
            deadlines.append(("an attempt's time", place, following, event.time + options.timeout))
    if options.total_timeout is not None and starts:
        place, _, first = starts[0]
        noticed = [at for at, _, event in told if event.data.get("limit") == "total"]
        until, due = min([step.end_at, *noticed]), first.time + options.total_timeout
        # While an attempt is being stopped because its own time is over, nothing comes of it.
        deadlines += [
            ("the whole time", at, min(following, until), due)
            for at, following, event in told
            if at >= place and event.kind is not EventKind.STEP_TIMED_OUT
        ]
    return deadlines


def _told(step: StepLife) -> Iterator[tuple[int, float, Event]]:
    """Yield the events of a step, each with its place and that of the next one."""
    places = itertools.pairwise([*step.at, NEVER])
    for (place, following), event in zip(places, step.events, strict=True):
        yield int(place), following, event


def _may_be_stopped(step: StepLife) -> bool:
    """Return whether attempts may be stopped for other reasons, and their timeouts passed over."""
    end = step.life.end
    return bool(step.deaths) or end is None or end.kind is not EventKind.RUN_COMPLETED
