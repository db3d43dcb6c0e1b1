"""The laws about one step: what it waits for, how often it is attempted, how it ends."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from actorflow.errors.running import StepTimeout
from actorflow.errors.storage import RecordedError
from actorflow.model.attempts import AttemptOutcome
from actorflow.model.lifecycle import RUN_MOVES, STEP_MOVES, EventKind, RunStatus, StepStatus
from actorflow.support.class_names import dotted_name
from actorflow.support.safe_text import text_of
from actorflow.testing.laws.evidence.life import (
    COMPENSATIONS,
    KEEPS,
    NEVER,
    NOTHING,
    RUN_ENDS,
    STEP_ENDS,
    tries_of,
)
from actorflow.testing.laws.law import of_the_runtime
from actorflow.testing.simulation.account import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorflow.model.attempts import AttemptResult
    from actorflow.model.events import Event
    from actorflow.model.results import RunResult, StepResult
    from actorflow.testing.laws.evidence.life import Life, StepLife, Try
    from actorflow.testing.laws.evidence.lives import Lives
    from actorflow.testing.trace.trace import AttemptTrace

__all__ = [
    "attempts_are_limited",
    "attempts_follow_each_other",
    "dependencies_come_first",
    "ends_are_final",
    "moves_are_legal",
    "skipped_steps_stay_out",
    "steps_end_once",
]

_STARTED: Final = EventKind.STEP_STARTED
_STAYS_OUT: Final = frozenset({EventKind.STEP_SKIPPED, EventKind.STEP_CANCELLED})


@of_the_runtime(3, "A step starts only after each of its dependencies has settled.")
def dependencies_come_first(lives: Lives) -> Iterator[str]:
    """Compare each step with its dependencies, by the events and by the executors' account.

    A dependency has settled here when it completed, or when it was optional and skipped. Becoming
    ready before that is as wrong as starting, even if it has no effect.
    """
    for life in lives.all:
        for step in life.steps.values():
            for name in step.plan.dependencies:
                known = life.steps[name]
                ready = min(step.ready_at, step.first_start)
                if ready < NEVER and not _had_settled(known, ready):
                    yield f"{step} was ready before its dependency {name!r} had settled"
                if known.over >= step.begun != NEVER:
                    yield f"{step} began while its dependency {name!r} was in flight"


def _had_settled(step: StepLife, place: float) -> bool:
    return step.end is not None and step.end_at < place and step.end.kind in KEEPS


@of_the_runtime(4, "A step is attempted at most `max_attempts` times.")
def attempts_are_limited(lives: Lives) -> Iterator[str]:
    """Count the recorded starts, and the attempts that the executors know.

    A step that a resumed run runs again is counted from zero. In a run that was taken over, the
    attempts of all lives count that ended by an error or a timeout; those that a crash or a
    hand-over cut do not.
    """
    for step in lives.attempted:
        retry = step.plan.step.retry
        most = 1 if retry is None else retry.max_attempts
        starts = sum(event.kind is _STARTED for event in step.events)
        attempts = step.before - step.cut + max(starts, len(step.bodies))
        if attempts > most:
            yield f"{step} was attempted {attempts} times, but may be attempted {most} times"


@of_the_runtime(
    5,
    "A step's attempts are numbered 1, 2, 3 … without gaps and never overlap (an abandoned one is "
    "over when it is abandoned), over all lives of a run that is taken over.",
)
def attempts_follow_each_other(lives: Lives) -> Iterator[str]:
    """Check the numbers of the starts, and when the executors had each attempt in flight."""
    marks = lives.trace.marks
    for life in lives.all:
        for step in life.odd if life.former is None else life.steps.values():
            yield from _misnumbered(step)
            yield from _untimely_bodies(step, marks)
    for undo in lives.undoings:
        yield from _misnumbered(undo)
        yield from _untimely_bodies(undo, marks)


def _misnumbered(step: StepLife) -> Iterator[str]:
    starts = [event.attempt for event in step.events if event.kind is _STARTED]
    if starts != list(range(step.before + 1, step.before + len(starts) + 1)):
        yield f"the attempts of {step} were numbered {starts}"


def _untimely_bodies(step: StepLife, marks: Sequence[int]) -> Iterator[str]:
    started = {
        event.attempt: marks[place]
        for place, event in zip(step.at, step.events, strict=True)
        if event.kind is _STARTED
    }
    former = step.life.former and step.life.former.steps.get(step.id)
    before = former.bodies[-1] if former and former.bodies else None
    number = 0
    for body in step.bodies:
        if body.outcome is Outcome.NOT_BEGUN:
            continue
        if body.attempt <= number:
            yield f"{_named(body, step)} began again"
        elif before is not None and not _is_over(before, body):
            yield f"{_named(body, step)} began while the one before it was in flight"
        elif body.begun <= step.life.torn_at and started.get(body.attempt, NEVER) >= body.begun:
            yield f"{_named(body, step)} began before its start was recorded"
        before, number = body, body.attempt


def _is_over(before: AttemptTrace, body: AttemptTrace) -> bool:
    if before.over is None or before.finished_at is None:
        return False
    return before.over <= body.begun and before.finished_at <= body.started_at


def _named(body: AttemptTrace, step: StepLife) -> str:
    return f"attempt {body.attempt} of {step}, at {body.started_at:g} s,"


@of_the_runtime(6, "Exactly one terminal event per step.")
def steps_end_once(lives: Lives) -> Iterator[str]:
    """Count the terminal events in each life: one in a life that has ended, else at most one.

    A step that had its outcome before a resumed life began gets none in it.
    """
    for step in lives.odd:
        ends = sum(event.kind in STEP_ENDS for event in step.events)
        due = 0 if step.kept else 1
        if ends > due or (ends < due and step.life.end is not None):
            yield f"{step} had {ends} terminal events, but should have {due}"


@of_the_runtime(8, "Terminal states absorb.")
def ends_are_final(lives: Lives) -> Iterator[str]:
    """Look for events of a step after its end, and compare results with the record.

    A run's result says what was recorded: each status, output and error, when each step ended, and
    after which attempts. A step that was kept when its run was resumed keeps those of its earlier
    life. For a compensated run, only its own status, error and end are compared.
    """
    for step in lives.odd:
        for place, event in zip(step.at, step.events, strict=True):
            if place > step.end_at and event.kind not in COMPENSATIONS:
                yield f"{event.kind.value} happened to {step} at {event.time:g} s, after its end"
    for life in lives.latest.values():
        result = lives.trace.results.get(life.run_id)
        if result is not None and life.end is not None:
            yield from _run_differences(result, life, life.end)
            if not life.compensates:
                yield from _differences(result, life)


def _is_same(
    known: BaseException | None, recorded: BaseException | None, *, restored: bool
) -> bool:
    """Return whether two errors are the same, or one is the recorded form of the other."""
    if known is recorded or not restored:
        return known is recorded
    kind = type(recorded)
    if type(known) is kind:
        return text_of(known) == text_of(recorded)
    return isinstance(known, RecordedError) and known.type_name == dotted_name(kind)


def _run_differences(result: RunResult, life: Life, end: Event) -> Iterator[str]:
    status = RUN_ENDS[end.kind]
    if result.status is not status:
        yield f"{life} ended as {status}, but its result says {result.status}"
    if not _is_same(result.error, end.data.get("error"), restored=life.cut or life.goes_on):
        yield f"the error of {life} in its result is not the one that was recorded"
    failed = end.data.get("failed_step")
    if result.failed_step != failed:
        yield f"{life} ended because of {failed!r}, but its result says {result.failed_step!r}"
    if result.finished_at != end.time:
        yield f"{life} ended at {end.time:g} s, but its result says {result.finished_at}"


def _differences(result: RunResult, life: Life) -> Iterator[str]:
    outputs, completed = result.outputs, 0
    for step in life.steps.values():
        if step.output is not NOTHING:
            completed += 1
            output = outputs.get(step.id, NOTHING)
            same = output == step.output if step.kept or life.cut else output is step.output
            if not same:
                yield f"the output of {step} in the result is not the one that was recorded"
    if len(outputs) != completed:
        yield f"the result of {life} has the outputs of {len(outputs)} steps, not of {completed}"
    for step in life.odd:
        if step.end is not None:
            yield from _step_differences(step, step.end, result.steps[step.id])


def _step_differences(step: StepLife, end: Event, known: StepResult) -> Iterator[str]:
    if STEP_ENDS[end.kind] is not known.status:
        yield f"{step} ended with {end.kind.value}, but the result says {known.status.value}"
    if not _is_same(known.error, end.data.get("error"), restored=step.kept or step.life.cut):
        yield f"the error of {step} in the result is not the one that was recorded"
    if known.finished_at != end.time:
        yield f"{step} ended at {end.time:g} s, but the result says {known.finished_at}"
    took = _took(step)
    tries = [] if took is None else tries_of(took)
    before = 0 if took is None else took.before
    if took is not None and known.attempts != before + len(tries):
        yield f"{step} had {before + len(tries)} attempts, but the result says {known.attempts}"
    restored = step.kept or step.life.cut
    taken = known.attempts_taken[before:] if took else ()
    for one, attempt in itertools.zip_longest(tries, taken):
        if one is None or attempt is None or not _is_told(one, attempt, restored=restored):
            number = (one or attempt).number
            yield f"attempt {number} of {step} in the result is not the one that was recorded"


def _took(step: StepLife) -> StepLife | None:
    """Return a step in the life in which it took its attempts, if the trace has that life."""
    while step.kept:
        former = step.life.former and step.life.former.steps.get(step.id)
        if not former:
            return None
        step = former
    return step


def _is_told(one: Try, attempt: AttemptResult, *, restored: bool) -> bool:
    """Return whether a result says of an attempt what was recorded of it."""
    end = one.end
    error = None if end is None else end.data.get("error")
    if end is None:
        outcome = AttemptOutcome.RUNNING
    elif end.kind is EventKind.STEP_COMPLETED:
        outcome = AttemptOutcome.COMPLETED
    elif isinstance(error, StepTimeout):
        outcome = AttemptOutcome.TIMED_OUT
    else:
        outcome = AttemptOutcome.CANCELLED if error is None else AttemptOutcome.FAILED
    recorded = one.number, one.started.time, end and end.time, outcome
    told = attempt.number, attempt.started_at, attempt.finished_at, attempt.outcome
    return recorded == told and _is_same(attempt.error, error, restored=restored)


@of_the_runtime(9, "Only the moves of the transition table occur.")
def moves_are_legal(lives: Lives) -> Iterator[str]:
    """Follow the events from state to state, for each step and each run."""
    for step in lives.odd:
        yield from _illegal_moves_of_step(step)
    statuses: dict[str, RunStatus] = {}
    for life in lives.all:
        status = statuses.get(life.run_id, RunStatus.PENDING)
        for _, event in life.events:
            if event.kind not in RUN_MOVES[status]:
                yield _illegal(event, life, status)
                break
            status = RUN_MOVES[status][event.kind]
        statuses[life.run_id] = status


def _illegal_moves_of_step(step: StepLife) -> Iterator[str]:
    status = StepStatus.PENDING
    if step.kept and step.end is not None:
        status = STEP_ENDS[step.end.kind]
    for event in step.events:
        if event.kind not in STEP_MOVES[status]:
            yield _illegal(event, step, status)
            return
        status = STEP_MOVES[status][event.kind]


def _illegal(event: Event, whom: object, status: str) -> str:
    return f"{event.kind.value} happened to {whom} at {event.time:g} s, which was {status}"


@of_the_runtime(15, "A skipped or cancelled step never starts afterwards.")
def skipped_steps_stay_out(lives: Lives) -> Iterator[str]:
    """Look for later starts, in the events and in the executors' account.

    An attempt that was stopped before it could begin has not started.
    """
    for step in lives.odd:
        if step.end is None or step.end.kind not in _STAYS_OUT:
            continue
        ended = f"which had ended with {step.end.kind.value}"
        if any(
            event.kind is _STARTED and place > step.end_at
            for place, event in zip(step.at, step.events, strict=True)
        ):
            yield f"a start of {step}, {ended}, is recorded"
        since = step.life.since if step.kept else step.recorded
        for body in step.bodies:
            if body.begun > since and body.outcome is not Outcome.NOT_BEGUN:
                yield f"{_named(body, step)} began, {ended}"
