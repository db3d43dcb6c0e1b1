"""The laws about attempts: late results, timeouts, backoffs and final errors."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from actorflow.errors.running import DeadlineExceeded, RetryAfter
from actorflow.model.lifecycle import EventKind
from actorflow.support.safe_text import said_by
from actorflow.testing.laws.evidence.holds import clock, is_frozen
from actorflow.testing.laws.evidence.life import NEVER
from actorflow.testing.laws.evidence.waits import ROUNDING
from actorflow.testing.laws.law import of_the_runtime
from actorflow.testing.simulation.account import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorflow.model.events import Event
    from actorflow.testing.laws.evidence.life import Life, StepLife, Try
    from actorflow.testing.laws.evidence.lives import Lives
    from actorflow.testing.trace.trace import AttemptTrace

__all__ = [
    "backoffs_are_kept",
    "final_errors_are_final",
    "late_results_change_nothing",
    "timeouts_are_kept",
]

_COMPLETED: Final = EventKind.STEP_COMPLETED
_RETRYING: Final = EventKind.STEP_RETRYING


@of_the_runtime(10, "A late result changes nothing, and its worker is returned once.")
def late_results_change_nothing(lives: Lives) -> Iterator[str]:
    """Compare the record of each attempt with its executor's account.

    An attempt ends when it is over and not before. Only an attempt that has returned completes its
    step, with the output that it returned. A result is late when the attempt is already known to be
    abandoned. Law 2 checks that workers are returned once.
    """
    for step in lives.attempted:
        for one in step.tries:
            yield from _mistaken_end(step, one, lives.trace.marks)


def _mistaken_end(step: StepLife, one: Try, marks: Sequence[int]) -> Iterator[str]:
    body, end = one.body, one.end
    if end is None:
        return
    if body is not None and _in_flight(body, marks[one.end_at]):
        yield f"{end.kind.value} is recorded for {_named(step, one)}, which was in flight"
    elif end.kind is not _COMPLETED:
        return
    elif body is None or not _has_returned(body, one):
        was = "unknown to its executor" if body is None else body.outcome.value
        yield f"{_named(step, one)} completed its step, but was {was}"
    elif end.data["output"] is not body.output:
        yield f"{_named(step, one)} completed its step with an output it had not returned"


def _has_returned(body: AttemptTrace, one: Try) -> bool:
    """Return whether an attempt returned before the supervisor heard of its abandonment."""
    if body.outcome is Outcome.ABANDONED:
        return body.error is None and not one.abandoned
    return body.outcome is Outcome.RETURNED


def _in_flight(body: AttemptTrace, count: int) -> bool:
    """Return whether an attempt was still in flight after a number of deliveries."""
    begun = body.outcome is not Outcome.NOT_BEGUN
    return begun and (body.over is None or body.over >= count)


def _named(step: StepLife, one: Try) -> str:
    return f"attempt {one.number} of {step}, started at {one.started.time:g} s,"


@of_the_runtime(11, "A timeout never fires early; completion and timeout never both win.")
def timeouts_are_kept(lives: Lives) -> Iterator[str]:
    """Compare each timeout with the moment that it counts from: when the grant was sent.

    While an attempt is suspended, the timeouts of its step stand still.

    In a run without a cancellation, an attempt that ends at its deadline or later has timed out,
    regardless of which is reported first.
    """
    for step in lives.attempted:
        for place, event in zip(step.at, step.events, strict=True):
            if event.kind is EventKind.STEP_TIMED_OUT:
                yield from _early(step, event, place, lives)
        for one in step.tries:
            yield from _beaten(step, one, lives)
    for life in lives.all:
        yield from _early_expiry(life)


def _early(step: StepLife, event: Event, place: int, lives: Lives) -> Iterator[str]:
    total, options = event.data["limit"] == "total", step.plan.step
    limit = options.total_timeout if total else options.timeout
    tries = [one for one in step.tries if total or one.number == event.attempt]
    due = lives.granted_from(tries[0]) + limit if tries and limit is not None else None
    if due is not None and lives.waits is not None:
        attempt = None if total else event.attempt
        due = lives.waits.postponed(due, step, place, attempt, at_most=False) - ROUNDING
    passed = event.time
    if due is not None and limit is not None and total and is_frozen(step.life):
        if lives.waits is not None and step in lives.waits.of:
            return  # which of both clocks stood still is not reckoned
        passed = clock(step.life, event.time)
        due = clock(step.life, lives.granted_from(tries[0])) + limit - ROUNDING
    if due is None or passed < due:
        when = "but it has none" if due is None else f"but was due at {due:g} s"
        yield f"the {event.data['limit']} timeout of {step} passed at {event.time:g} s, {when}"


def _beaten(step: StepLife, one: Try, lives: Lives) -> Iterator[str]:
    if one.end is None or one.end.kind is not _COMPLETED:
        return
    if one.timed_out is not None:
        yield f"{_named(step, one)} timed out and completed its step"
    due, ended = _deadline(step, one, lives), one.body and one.body.finished_at
    if due is not None and ended is not None and ended >= due and not _is_disturbed(step.life):
        when = f"ended at {ended:g} s, was due at {due:g} s"
        yield f"{_named(step, one)} {when}, and completed its step"


def _deadline(step: StepLife, one: Try, lives: Lives) -> float | None:
    options = step.plan.step
    dues = []
    if options.timeout is not None:
        due = lives.granted_by(one) + options.timeout
        dues.append(_postponed(due, step, one, one.number, lives))
    if options.total_timeout is not None and not is_frozen(step.life):
        due = lives.granted_by(step.tries[0]) + options.total_timeout
        dues.append(_postponed(due, step, one, None, lives))
    return min(dues, default=None)


def _postponed(due: float, step: StepLife, one: Try, alone: int | None, lives: Lives) -> float:
    """Return when a timeout of an attempt passed that stood still while it was suspended.

    None applied to an attempt that ended while it was suspended.
    """
    pauses = lives.waits.of.get(step) if lives.waits is not None else None
    if lives.waits is None or not pauses:
        return due
    if any(it.attempt == one.number and not it.continued for it in pauses):
        return NEVER
    return lives.waits.postponed(due, step, one.end_at, alone, at_most=True) + ROUNDING


def _is_disturbed(life: Life) -> bool:
    """Return whether attempts may have been stopped early."""
    return life.end is None or life.end.kind is not EventKind.RUN_COMPLETED


def _early_expiry(life: Life) -> Iterator[str]:
    if life.goes_on:
        return  # the run's outcome was decided in an earlier life
    deadline = life.start.deadline
    for _, event in life.events:
        expired = isinstance(event.data.get("error"), DeadlineExceeded)
        if expired and (deadline is None or clock(life, event.time) < deadline - ROUNDING):
            yield f"the timeout of {life} passed at {event.time:g} s, before it was due"


@of_the_runtime(12, "No retry before its backoff; jitter stays within its bounds.")
def backoffs_are_kept(lives: Lives) -> Iterator[str]:
    """Compare each wait with the retry policy, by the events and by the executors' account."""
    for step in lives.attempted:
        due = 0.0
        for event in step.events:
            if event.kind is _RETRYING:
                due = clock(step.life, event.time) + event.data["delay"]
                yield from _out_of_bounds(step, event)
            elif (
                event.kind is EventKind.STEP_READY and clock(step.life, event.time) < due - ROUNDING
            ):
                when = f"at {event.time:g} s, but had to wait until {due:g} s"
                yield f"{step} was ready again {when}, by its clock"
        for one, following in itertools.pairwise(step.tries):
            yield from _too_soon(step, one, following)


def _out_of_bounds(step: StepLife, event: Event) -> Iterator[str]:
    bounds = _bounds(step, event)
    if bounds is not None and not bounds[0] <= event.data["delay"] <= bounds[1]:
        yield (
            f"{step} waits for {event.data['delay']:g} s after attempt {event.attempt}, "
            f"but its policy allows {bounds[0]:g} to {bounds[1]:g} s"
        )


def _bounds(step: StepLife, event: Event) -> tuple[float, float] | None:
    """Return the minimum and maximum seconds before the next attempt."""
    error, policy = event.data["error"], step.plan.step.retry
    if isinstance(error, RetryAfter):
        return error.seconds, error.seconds
    return None if policy is None else policy.bounds((event.attempt or 1) - step.cut)


def _too_soon(step: StepLife, one: Try, following: Try) -> Iterator[str]:
    ended, again = one.body, following.body
    if one.end is None or one.end.kind is not _RETRYING or ended is None or again is None:
        return
    bounds = _bounds(step, one.end)
    if bounds is None or ended.finished_at is None or ended.outcome is Outcome.NOT_BEGUN:
        return
    if again.started_at < ended.finished_at + bounds[0]:
        yield (
            f"attempt {following.number} of {step} began at {again.started_at:g} s, and the one "
            f"before it had ended at {ended.finished_at:g} s"
        )


@of_the_runtime(13, "An error that is not retryable gets no second attempt.")
def final_errors_are_final(lives: Lives) -> Iterator[str]:
    """Ask the retry policy about each error that led to another attempt, or was to lead to one.

    The error is the one that the executor reported, unless the attempt timed out or its actor died.
    """
    for step in lives.attempted:
        for one in step.tries:
            again = one is not step.tries[-1]
            error = _error_of(step, one)
            if (again or _is_retried(one)) and error is not None and not _accepts(step, error):
                yield f"{_named(step, one)} failed with {said_by(error)}, and was retried"


def _is_retried(one: Try) -> bool:
    return one.end is not None and one.end.kind is _RETRYING


def _error_of(step: StepLife, one: Try) -> BaseException | None:
    """Return the error with which an attempt failed."""
    if one.body is None or one.body.error is None or one.timed_out or step.deaths:
        return None if one.end is None else one.end.data.get("error")
    return one.body.error


def _accepts(step: StepLife, error: BaseException) -> bool:
    policy = step.plan.step.retry
    return policy is not None and policy.accepts(error)
