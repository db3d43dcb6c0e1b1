"""The laws about whole runs: how they end, when they must, and what they leave behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from actorflow.errors.running import DeadlineExceeded, TakenOverTooOften
from actorflow.model.lifecycle import EventKind
from actorflow.testing.laws.evidence.life import KEEPS, NEVER, RUN_ENDS
from actorflow.testing.laws.evidence.waits import may_wait_to_be_undone
from actorflow.testing.laws.law import of_the_runtime
from actorflow.testing.laws.standstill import stuck_runs, unnoticed_deadlines
from actorflow.testing.simulation.account import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorflow.model.events import Event
    from actorflow.testing.laws.evidence.life import Life, StepLife
    from actorflow.testing.laws.evidence.lives import Lives
    from actorflow.testing.trace.trace import Trace

__all__ = [
    "cancels_are_kept",
    "failures_spread_no_further",
    "nothing_is_left",
    "runs_come_to_an_end",
    "runs_end_once",
    "stops_are_bounded",
]

_LAST_SECONDS: Final = 0.5 + 1e-6
"""Seconds that a compensator gets when it is cut, plus a tolerance for floating-point sums."""
_OF_RUNS: Final = (DeadlineExceeded, TakenOverTooOften)
"""Errors with which a run fails although none of its steps has failed."""
_FAILED: Final = EventKind.STEP_FAILED
_CANCELLED: Final = EventKind.STEP_CANCELLED
_STARTED: Final = EventKind.STEP_STARTED
_CONTINUED: Final = EventKind.STEP_CONTINUED
_GOES_ON: Final = frozenset({_STARTED, _CONTINUED})


@of_the_runtime(7, "Exactly one terminal event per run, after all of its steps' events.")
def runs_end_once(lives: Lives) -> Iterator[str]:
    """Count the terminal events of each life of a run, and compare them with the steps' ends.

    A run has completed when each step has completed or was skipped. It has failed when a step has
    failed or its timeout has passed. It was cancelled when it was told to be. What comes first
    counts: nothing overrules a failure that ends its run, and of several failures the first is
    reported.
    """
    for life in lives.all:
        ends = [event.kind.value for _, event in life.events if event.kind in RUN_ENDS]
        if ends[1:]:
            yield f"{life} had {len(ends)} terminal events: {', '.join(ends)}"
        if life.end is not None:
            yield from _later_events(life)
            if not _is_justified(life, life.end, lives.trace.marks):
                yield f"{life} ended with {life.end.kind.value}, which its steps do not justify"
            yield from _wrong_reason(life, life.end)


def _later_events(life: Life) -> Iterator[str]:
    for step in life.steps.values():
        if step.at and step.at[-1] > life.end_at:
            yield f"{step.events[-1].kind.value} happened to {step} after the end of its run"


def _wrong_reason(life: Life, end: Event) -> Iterator[str]:
    """Yield what is wrong with the reason for a run's end, if one of its steps has failed."""
    failed = [step for step in life.odd if step.end is not None and step.end.kind is _FAILED]
    if not failed or life.torn or life.goes_on:
        return
    first = min(failed, key=lambda step: step.end_at)
    told, error = end.data.get("failed_step"), end.data.get("error")
    if first.kept:
        # It had failed before the run was taken over; of several, the trace of this life does not
        # show which one was the first.
        if told not in {step.id for step in failed if step.kept}:
            yield f"{first} had failed before, but {life} ended because of {told!r}"
    elif first.end is not None and (told != first.id or error is not first.end.data["error"]):
        yield f"{first} was the first to fail, but {life} ended because of {told!r}"
    elif life.plan.fail_fast and end.kind is EventKind.RUN_CANCELLED:
        yield f"{first} had failed, but {life} ended as if it had been cancelled before"


def _is_justified(life: Life, end: Event, marks: Sequence[int]) -> bool:
    if end.kind is EventKind.RUN_CANCELLED:
        return life.of_undone or any(
            count <= marks[int(life.end_at)] for count, _, _ in life.reasons_to_end
        )
    kinds = [step.end.kind for step in life.steps.values() if step.end is not None]
    if end.kind is EventKind.RUN_COMPLETED:
        return len(kinds) == len(life.steps) and all(kind in KEEPS for kind in kinds)
    return _FAILED in kinds or isinstance(end.data.get("error"), _OF_RUNS)


@of_the_runtime(
    14,
    "Fail-fast: no start after the failure is recorded. Otherwise only transitive dependents are "
    "cancelled.",
)
def failures_spread_no_further(lives: Lives) -> Iterator[str]:
    """Look for starts after a failure, and for steps cancelled without reason.

    To continue a suspended attempt counts as a start. A cancellation of the run and its timeout are
    reasons too.
    """
    for life in lives.all:
        failed = [step for step in life.odd if step.end is not None and step.end.kind is _FAILED]
        if failed and life.plan.fail_fast:
            yield from _later_starts(life, min(failed, key=lambda step: step.end_at), lives)
        for step in life.odd:
            if step.end is not None and step.end.kind is _CANCELLED and not step.kept:
                yield from _unfounded(step, step.end, failed, lives.trace.marks)


def _later_starts(life: Life, failed: StepLife, lives: Lives) -> Iterator[str]:
    mark = lives.trace.marks[int(failed.end_at)]
    for step in life.steps.values():
        for place, event in zip(step.at, step.events, strict=True):
            if event.kind in _GOES_ON and place > failed.end_at:
                went_on = "started" if event.kind is _STARTED else "continued"
                yield f"{step} was {went_on} at {event.time:g} s, after {failed} had failed"
        yield from _bodies_after(step, mark, f"after {failed} had failed")


def _bodies_after(step: StepLife, count: int, when: str) -> Iterator[str]:
    """Yield the attempts of a step that began after a number of deliveries."""
    for body in step.bodies:
        if body.begun > count and body.outcome is not Outcome.NOT_BEGUN:
            yield f"attempt {body.attempt} of {step} began at {body.started_at:g} s, {when}"


def _unfounded(
    step: StepLife, end: Event, failed: Sequence[StepLife], marks: Sequence[int]
) -> Iterator[str]:
    life = step.life
    if life.start.poison is not None:
        return
    if any(count <= marks[int(step.end_at)] for count, _, _ in life.cancels):
        return
    if life.start.deadline is not None and end.time >= life.start.deadline:
        return
    causes = [one for one in failed if one.end_at < step.end_at]
    if life.plan.fail_fast:
        if not causes:
            yield f"{step} was cancelled at {end.time:g} s, but nothing had failed"
    elif not any(_leads_to(one, step) for one in causes):
        yield f"{step} was cancelled at {end.time:g} s, but depends on nothing that had failed"


def _leads_to(step: StepLife, other: StepLife) -> bool:
    """Return whether another step depends on this one, directly or indirectly."""
    seen: set[str] = set()
    line = list(step.plan.dependents)
    while line:
        name = line.pop()
        if name not in seen:
            seen.add(name)
            line += step.life.steps[name].plan.dependents
    return other.id in seen


@of_the_runtime(
    18,
    "No lost wake-up: when every attempt ends, the run ends, in bounded steps and virtual time.",
)
def runs_come_to_an_end(lives: Lives) -> Iterator[str]:
    """Look for runs that stand still without good reason.

    A run may wait only for an attempt in flight, for a backoff, or for other runs to give up the
    workers or the place that it needs. When nothing is left to happen, only an attempt counts that
    has no timeout and never ends on its own. A message that could not be handled is a lost wake-up.
    """
    trace = lives.trace
    yield from trace.defects
    if trace.endless:
        yield f"the schedule had not come to an end at {trace.now:g} s{_unfinished(trace)}"
    yield from lives.turns.still
    yield from unnoticed_deadlines(lives)
    if lives.at_rest:
        yield from stuck_runs(lives)


def _unfinished(trace: Trace) -> str:
    """Return which attempts may be the cause, and the cure."""
    bodies = (*trace.attempts, *trace.compensations)
    left = [f"{one.step_id}#{one.attempt}" for one in bodies if one.finished_at is None]
    cure = "Give a timeout to a step that never ends on its own"
    return f", and {', '.join(left)} had not ended. {cure}" if left else ""


@of_the_runtime(20, "No start after a cancel is acknowledged; cancelling twice is cancelling once.")
def cancels_are_kept(lives: Lives) -> Iterator[str]:
    """Look for attempts that began or continued after the cancellation, and check the run's end.

    It ends for the reason that was given first.
    """
    for life in lives.all:
        for count, time, _ in life.cancels[:1]:
            for step in life.steps.values():
                yield from _bodies_after(step, count, f"and {life} was cancelled at {time:g} s")
            if lives.waits is not None:
                yield from _continued_after(life, count, lives)
        if life.reasons_to_end and life.end is not None and not life.decided_elsewhere:
            yield from _wrongly_ended(life, life.end, life.reasons_to_end[0])


def _continued_after(life: Life, count: int, lives: Lives) -> Iterator[str]:
    """Yield the suspended attempts that were continued after a number of deliveries."""
    marks, late = lives.trace.marks, lives.late
    for step in life.steps.values():
        for place, event in zip(step.at, step.events, strict=True):
            if event.kind is _CONTINUED and late.get(place, marks[place]) >= count:
                yield f"{step} continued at {event.time:g} s, after {life} had been cancelled"


def _wrongly_ended(life: Life, end: Event, first: tuple[int, float, Any]) -> Iterator[str]:
    _, time, message = first
    if end.kind is EventKind.RUN_COMPLETED and end.time > time:
        yield f"{life} was cancelled at {time:g} s, but completed at {end.time:g} s"
    reason = life.why_undone or message.reason
    if end.kind is EventKind.RUN_CANCELLED and end.data["reason"] != reason:
        yield f"{life} was cancelled because of {reason!r}, not of {end.data['reason']!r}"


@of_the_runtime(
    31, "After N runs actors, timers, mailboxes, tasks and threads are back where they began."
)
def nothing_is_left(lives: Lives) -> Iterator[str]:
    """Look for leftovers when nothing is left to happen and every run has ended.

    The task of an abandoned coroutine that nothing ends is not counted: the step's author is
    responsible for it.
    """
    if not (lives.at_rest and lives.all_over):
        return
    left = lives.trace.leftovers
    if left.tasks:
        abandoned = sum(body.outcome is Outcome.ABANDONED for body in lives.trace.attempts)
        left = attrs.evolve(left, tasks=max(0, left.tasks - abandoned))
    if not left.nothing:
        counts = attrs.asdict(left)
        counts["workers"] = counts.pop("leases")
        yield ", ".join(f"{count} {what}" for what, count in counts.items() if count) + " were left"


@of_the_runtime(32, "Shutdown is bounded; later calls fail clearly; nothing acknowledged is lost.")
def stops_are_bounded(lives: Lives) -> Iterator[str]:
    """Check how long cancelled runs take to end, and that each result is recorded.

    A trace has no shutdown, but has its parts: a run that is told to end has ended when its grace
    or the orchestrator's own has passed, whichever is longer. Compensation takes as long as it
    needs, unless a grace limits it; then it is cut, with half a second to clean up. A result that
    was handed out is in the record, through every crash.
    """
    for life in lives.all:
        for cancel in life.cancels[:1]:
            yield from _overdue(life, cancel, lives)
    for run_id in lives.trace.results:
        life = _recorded(lives.latest[run_id])
        if life.end is None and not life.torn:
            yield f"the result of {life} was handed out, but its end is not recorded"


def _recorded(life: Life) -> Life:
    """Return a life, or the latest earlier one, skipping those that ended without a record.

    They crashed or were left. A life that could not be recorded has left no record, and its result
    says so.
    """
    while _left_no_record(life) and life.former is not None:
        life = life.former
    return life


def _left_no_record(life: Life) -> bool:
    interrupted = life.cut or life.handed_back != NEVER
    return interrupted and not (life.events or life.torn)


def _due(life: Life, lives: Lives) -> float:
    """Return when a cancelled run must have ended, or when its compensation is cut.

    Each grace counts from its own cancellation. A shutdown that is to leave the run gives it
    another one, to end in.
    """
    usual = lives.trace.settings.stop_grace
    graces = [(at, one.grace) for _, at, one in life.cancels if one.grace is not None]
    if life.compensates:
        return max((at + grace for at, grace in graces), default=NEVER)
    first = life.cancels[0][1] + usual
    return max([first, life.left_until, *(at + max(grace, usual) for at, grace in graces)])


def _overdue(life: Life, cancel: tuple[int, float, Any], lives: Lives) -> Iterator[str]:
    count, time, _ = cancel
    due, cuts = _due(life, lives), life.compensates
    if life.torn or due == NEVER:
        return
    if not cuts and may_wait_to_be_undone(life, lives):
        return
    said = f"{life} was told to end at {time:g} s, but had not ended"
    slow = lives.trace.settings.faults.delays > 0
    for moment, events, deliveries, _, _, _, writes in lives.trace.lulls:
        if deliveries < count or moment <= due or writes or deliveries >= life.left_at:
            continue  # a run that is left ends within the grace of that
        if life.end_at < events or deliveries >= life.until:
            return
        if not (cuts or slow):
            yield f"{said} at {moment:g} s"
            return
        # With slow messages this may become known only now, and what is cut gets its last seconds.
        due, cuts, slow = moment + _LAST_SECONDS * cuts, False, False
    if life.compensates and lives.at_rest and life.end is None and life.until == NEVER:
        yield f"{said} when nothing was left to happen"
