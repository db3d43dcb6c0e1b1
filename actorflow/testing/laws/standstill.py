"""What keeps a run from ending when nothing is left to happen, and must not."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from actorflow.model.lifecycle import EventKind
from actorflow.testing.laws.evidence.life import KEEPS, NEVER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.definition.step import Step
    from actorflow.model.events import Event
    from actorflow.testing.laws.evidence.life import Life, StepLife
    from actorflow.testing.laws.evidence.lives import Lives
    from actorflow.testing.trace.trace import Idle

    _Deadline = tuple[str, int, float, float]
    """What is to be noticed, between which events, and when it is due."""

__all__ = ["stuck_runs", "unnoticed_deadlines"]


def stuck_runs(lives: Lives) -> Iterator[str]:
    """Say which runs have not ended, at the end of everything, and what they cannot wait for.

    They can wait for an attempt that nothing limits and that never ends by itself, or for
    what somebody holds who waits for such an attempt: a lease, or a place.
    """
    left = [life for life in lives.latest.values() if life.run_id not in lives.trace.results]
    crowded = len(left) > lives.trace.settings.max_active_runs
    for life in left:
        if life.cut:
            continue
        waits = crowded and not any(step.events for step in life.steps.values())
        if life.end is None and _is_undone(life):
            yield from _stuck_undoing(life, lives)
        elif life.end is not None or life.torn:
            yield f"{life} has ended, and nobody was told how"
        elif not (waits and _undoable(life)):
            yield from _overdue(life) if _is_to_end(life) else _stuck_steps(life, waits=waits)


def _is_undone(life: Life) -> bool:
    """Return whether a run is being undone, or may be without a record of it."""
    return life.compensates or (life.torn and _undoable(life))


def _undoable(life: Life) -> bool:
    return any(plan.compensation is not None for plan in life.plan.steps)


def _is_to_end(life: Life) -> bool:
    return bool(life.cancels) or life.start.deadline is not None


def _overdue(life: Life) -> Iterator[str]:
    if life.cancels:
        yield f"{life} was told to end at {life.cancels[0][1]:g} s, and has not ended"
    else:
        yield f"{life} was to end at {life.start.deadline:g} s, and has not ended"


# ── Steps ────────────────────────────────────────────────────────────────────────────────────


def _stuck_steps(life: Life, *, waits: bool) -> Iterator[str]:
    for step in life.steps.values():
        if step.end is None and step.events:
            yield from _stuck_step(step, step.events[-1])
        elif step.end is None and not waits and _could_begin(step, life):
            yield f"{step} never became ready, although all that it waits for has settled"


def _could_begin(step: StepLife, life: Life) -> bool:
    known = [life.steps[name].end for name in step.plan.dependencies]
    return all(end is not None and end.kind in KEEPS for end in known)


def _stuck_step(step: StepLife, last: Event) -> Iterator[str]:
    if last.kind is EventKind.STEP_RETRYING:
        yield f"{step} waits since {last.time:g} s for an attempt that never comes"
    elif last.kind is not EventKind.STEP_READY:
        if all(body.finished_at is not None for body in step.bodies):
            yield f"an attempt of {step} has ended, and nothing has come of it"
        elif _is_limited(step.plan.step):
            yield f"an attempt of {step} goes on for ever, and has a timeout"


def _is_limited(step: Step) -> bool:
    return step.timeout is not None or step.total_timeout is not None


# ── Undoing ──────────────────────────────────────────────────────────────────────────────────


def _stuck_undoing(life: Life, lives: Lives) -> Iterator[str]:
    trace = lives.trace
    mine = [one for one in trace.compensations if one.run_id == life.run_id]
    in_flight = [one.step_id for one in mine if one.finished_at is None]
    for step_id in in_flight:
        undo = life.plan.by_id[step_id].compensation
        if undo is not None and _is_limited(undo.step):
            what = f"an attempt to undo step {step_id!r} of {life}"
            yield f"{what} goes on for ever, and has a timeout"
    if not in_flight and trace.idle[-1].in_flight < trace.settings.async_workers:
        yield f"{life} is being undone, and nothing of that is in flight"


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
