"""Runs that stand still, and deadlines that pass unnoticed: the evidence for law 18."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from actorflow.model.lifecycle import EventKind
from actorflow.testing.laws.evidence.holds import clock, is_frozen, is_held, moment
from actorflow.testing.laws.evidence.life import KEEPS, NEVER
from actorflow.testing.laws.evidence.waits import ROUNDING, may_wait_to_be_undone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from actorflow.definition.step import Step
    from actorflow.model.events import Event
    from actorflow.testing.laws.evidence.life import Life, StepLife
    from actorflow.testing.laws.evidence.lives import Lives
    from actorflow.testing.laws.evidence.waits import Waits
    from actorflow.testing.trace.trace import Idle

    _Deadline = tuple[str, int, float, float]
    """A deadline: its name, the events between which it applies, and its moment."""

__all__ = ["stuck_runs", "unnoticed_deadlines"]


def stuck_runs(lives: Lives) -> Iterator[str]:
    """Yield the runs that have not ended when nothing is left to happen, without good reason.

    A run may wait for an attempt that has no timeout and never ends on its own, or for a worker or
    a place held by a run that waits for such an attempt.
    """
    evicted = {life for _, life in lives.evicted}  # law 38 says when these go on
    open_runs = [life for life in lives.latest.values() if life.run_id not in lives.trace.results]
    left = [life for life in open_runs if life not in evicted]
    crowded = len(left) > lives.trace.settings.max_active_runs
    for life in left:
        waits = crowded and not any(_has_begun(step) for step in life.steps.values())
        again = crowded and may_wait_to_be_undone(life, lives)
        if life.undone and life.end is None and not life.cut and not _holds_on(left, lives):
            yield f"{life} waits for a place to be undone, and nothing is in flight"
            continue
        if life.cut or (life.end is None and (again or is_held(life, NEVER, scarce=crowded))):
            continue
        if life.end is None and _is_compensating(life):
            yield from _stuck_compensation(life, lives)
        elif life.end is not None or life.torn:
            yield f"{life} has ended, but its result was not handed out"
        elif not (waits and _has_compensators(life)):
            yield from _overdue(life) if _has_to_end(life) else _stuck_steps(life, waits=waits)


def _holds_on(left: Iterable[Life], lives: Lives) -> bool:
    """Return whether one of the runs has an attempt in flight, which may hold a place for good."""
    since = {life.run_id: life.since for life in left}
    bodies = itertools.chain(lives.trace.attempts, lives.trace.compensations)
    return any(
        body.finished_at is None and body.begun >= since.get(body.run_id, NEVER) for body in bodies
    )


def _has_begun(step: StepLife) -> bool:
    """Return whether a step was ready; a run without a place may still have its steps cancelled."""
    return any(event.kind is not EventKind.STEP_CANCELLED for event in step.events)


def _is_compensating(life: Life) -> bool:
    """Return whether a run is being compensated, or may be without a record of it."""
    return life.compensates or (life.torn and _has_compensators(life))


def _has_compensators(life: Life) -> bool:
    return any(plan.compensation is not None for plan in life.plan.steps)


def _has_to_end(life: Life) -> bool:
    return bool(life.cancels) or life.start.deadline is not None


def _overdue(life: Life) -> Iterator[str]:
    if life.cancels:
        yield f"{life} was told to end at {life.cancels[0][1]:g} s, but has not ended"
    else:
        yield f"{life} had to end at {life.start.deadline:g} s, but has not ended"


# ── Steps ────────────────────────────────────────────────────────────────────────────────────


def _stuck_steps(life: Life, *, waits: bool) -> Iterator[str]:
    for step in life.steps.values():
        if step.end is None and step.events:
            yield from _stuck_step(step, step.events[-1])
        elif step.end is None and not waits and _could_begin(step, life):
            yield f"{step} never became ready, although all its dependencies have settled"


def _could_begin(step: StepLife, life: Life) -> bool:
    known = [life.steps[name].end for name in step.plan.dependencies]
    return all(end is not None and end.kind in KEEPS for end in known)


def _stuck_step(step: StepLife, last: Event) -> Iterator[str]:
    last = next((it for it in reversed(step.events) if it.kind not in _ABOUT_MESSAGES), last)
    if last.kind is EventKind.STEP_RETRYING:
        yield f"{step} has waited since {last.time:g} s for an attempt that never begins"
    elif last.kind is not EventKind.STEP_READY:
        if all(body.finished_at is not None for body in step.bodies):
            yield f"an attempt of {step} has ended without effect"
        elif last.kind is EventKind.STEP_SUSPENDED:
            return  # its timeouts stand still; law 33 says whether it has to continue
        elif _is_limited(step.plan.step):
            yield f"an attempt of {step} never ends, although it has a timeout"


_ABOUT_MESSAGES: Final = frozenset(
    {EventKind.STEP_AWAITING, EventKind.STEP_RECEIVED, EventKind.STEP_EXPIRED}
)
"""Events that change nothing about what an attempt holds."""


def _is_limited(step: Step) -> bool:
    return step.timeout is not None or step.total_timeout is not None


# ── Compensation ─────────────────────────────────────────────────────────────────────────────


def _stuck_compensation(life: Life, lives: Lives) -> Iterator[str]:
    trace = lives.trace
    mine = [one for one in trace.compensations if one.run_id == life.run_id]
    in_flight = [one.step_id for one in mine if one.finished_at is None]
    for step_id in in_flight:
        undo = life.plan.by_id[step_id].compensation
        waits = any(one.step_id == step_id and one.until is None for one in trace.waits)
        if undo is not None and _is_limited(undo.step) and not waits:
            what = f"an attempt to compensate step {step_id!r} of {life}"
            yield f"{what} never ends, although it has a timeout"
    if any(child.end is None for child in lives.children_of(life.run_id)):
        return  # it waits for a child that is undone
    if not in_flight and trace.idle[-1].in_flight < trace.settings.async_workers:
        yield f"{life} is being compensated, but no compensator is in flight"


def unnoticed_deadlines(lives: Lives) -> Iterator[str]:
    """Yield the backoffs and timeouts that were overdue when nothing could be delivered.

    Time moves on only when everything that is due has happened. So whenever nothing can be
    delivered and no write is in progress, everything that was due earlier has been noticed.
    """
    for step in lives.odd:
        deadlines = _backoffs(step)
        if not _may_be_stopped(step):
            deadlines += _timeouts(step, lives)
        for what, since, until, due in deadlines:
            for idle in lives.trace.idle:
                if since < idle.events <= until and _must_have_noticed(idle, step.life, due):
                    when = f"over at {due:g} s, but not noticed by {idle.time:g} s"
                    yield f"{what} of {step} was {when}"


def _must_have_noticed(idle: Idle, life: Life, due: float) -> bool:
    """Return whether something due must have been noticed by an idle moment."""
    counts = not idle.writes and idle.deliveries < min(life.until, life.torn_at, life.left_at)
    # A clock that had run out may stand still before that is noticed.
    frozen = [it.until_at for it in life.holds if it.freeze and it.since < idle.events]
    return counts and idle.time > max([due, *frozen]) + ROUNDING


def _backoffs(step: StepLife) -> list[_Deadline]:
    return [
        ("a backoff", place, following, _after(step.life, event.time, event.data["delay"]))
        for place, following, event in _told(step)
        if event.kind is EventKind.STEP_RETRYING
    ]


def _after(life: Life, time: float, seconds: float) -> float:
    """Return when seconds have passed by a clock that pauses can freeze."""
    return moment(life, clock(life, time) + seconds) if life.holds else time + seconds


def _timeouts(step: StepLife, lives: Lives) -> list[_Deadline]:
    options, told = step.plan.step, list(_told(step))
    deadlines: list[_Deadline] = []
    following = {place: until for place, until, _ in told}
    if options.timeout is not None:
        for one in step.tries:
            due = lives.granted_by(one) + options.timeout
            deadlines.append(("a timeout", one.place, following[one.place], due))
    if lives.waits is not None:
        deadlines += _timeouts_after_waits(step, lives, lives.waits, following)
    if is_frozen(step.life) and lives.waits is not None and step in lives.waits.of:
        return deadlines  # which of both clocks stood still is not reckoned
    if options.total_timeout is not None and step.tries:
        first = step.tries[0]
        noticed = [at for at, _, event in told if event.data.get("limit") == "total"]
        until = min([step.end_at, *noticed])
        due = _after(step.life, lives.granted_by(first), options.total_timeout)
        # While an attempt is being stopped after its own timeout, the total timeout has no effect.
        deadlines += [
            ("the total timeout", at, min(later, until), _postponed(due, step, at, None, lives))
            for at, later, event in told
            if at >= first.place and event.kind not in _STANDS_STILL
        ]
    return deadlines


_STANDS_STILL: Final = frozenset({EventKind.STEP_TIMED_OUT, EventKind.STEP_SUSPENDED})
"""Events after which the total timeout has no effect."""


def _timeouts_after_waits(
    step: StepLife, lives: Lives, waits: Waits, following: dict[int, float]
) -> Iterator[_Deadline]:
    """Yield the timeouts of attempts that continued: the time while they waited does not count."""
    limit = step.plan.step.timeout
    for pause in waits.of.get(step, ()) if limit is not None else ():
        if pause.continued and limit is not None:
            place, one = int(pause.until), step.tries[(pause.attempt or 1) - 1 - step.before]
            due = _postponed(lives.granted_by(one) + limit, step, place, pause.attempt, lives)
            yield "a timeout", place, following[place], due


def _postponed(due: float, step: StepLife, place: int, attempt: int | None, lives: Lives) -> float:
    """Return when a timeout passes that stood still during the suspensions before an event."""
    waits = lives.waits
    return due if waits is None else waits.postponed(due, step, place, attempt, at_most=True)


def _told(step: StepLife) -> Iterator[tuple[int, float, Event]]:
    """Yield the events of a step, each with its index and the index of the next one."""
    places = itertools.pairwise([*step.at, NEVER])
    for (place, following), event in zip(places, step.events, strict=True):
        yield int(place), following, event


def _may_be_stopped(step: StepLife) -> bool:
    """Return whether attempts may be stopped for other reasons, so that timeouts have no effect."""
    end = step.life.end
    return bool(step.deaths) or end is None or end.kind is not EventKind.RUN_COMPLETED
