"""The laws about outcomes: a step's outcome follows from its own attempts alone.

It does not depend on the order of messages, on duplicated messages, or on other steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actorflow.errors.running import ActorCrashed, CompensationCut, RetryAfter, StepTimeout
from actorflow.model.lifecycle import EventKind
from actorflow.model.messages import AttemptAbandoned, AttemptFinished, StepReady
from actorflow.support.safe_text import said_by
from actorflow.systems.simulated.mischief import Fault
from actorflow.testing.laws.evidence.life import StepLife, Undoing
from actorflow.testing.laws.law import of_the_runtime
from actorflow.testing.simulation.account import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.model.events import Event
    from actorflow.testing.laws.evidence.life import Life, Try
    from actorflow.testing.laws.evidence.lives import Lives

__all__ = ["crashes_stay_local", "outcomes_follow_from_attempts", "repetition_changes_nothing"]

_RETRYING: Final = EventKind.STEP_RETRYING
_FAILED: Final = EventKind.STEP_FAILED
_SKIPPED: Final = EventKind.STEP_SKIPPED
_FAILURES: Final = frozenset({_RETRYING, _FAILED, _SKIPPED})
_REPETITIONS: Final = frozenset({Fault.DUPLICATE, Fault.DELAY, Fault.REORDER})
_MOST_DEATHS: Final = 3
"""How often a step's actor may die without an attempt before the step fails."""


@of_the_runtime(24, "A duplicated or delayed internal message leaves the outcome unchanged.")
def repetition_changes_nothing(lives: Lives) -> Iterator[str]:
    """Compare outcomes with attempts, for steps whose messages were duplicated or delayed."""
    if lives.trace.struck:
        touched = _touched(lives)
        for step in lives.odd:
            if step in touched:
                yield from _unfounded_outcome(step)


def _touched(lives: Lives) -> set[StepLife]:
    """Return the steps whose messages were struck by a fault that must change nothing."""
    touched: set[StepLife] = set()
    for _, _, fault, (target, message, _) in lives.trace.struck:
        if fault in _REPETITIONS:
            home, about = lives.homes.get(target), _subject(message)
            touched |= {home} if isinstance(home, StepLife) else set()
            touched |= {step for step in lives.odd if (step.life.run_id, step.id) == about}
    return touched


def _subject(message: Any) -> tuple[str, str] | None:
    """Return the run and the step that a message to the supervisor is about."""
    if isinstance(message, StepReady):
        return message.run_id, message.step_id
    if isinstance(message, (AttemptFinished, AttemptAbandoned)):
        return message.attempt.scope.run_id, message.attempt.step_id
    return None


@of_the_runtime(25, "An actor's crash fails an attempt: siblings unaffected, no worker lost.")
def crashes_stay_local(lives: Lives) -> Iterator[str]:
    """Compare outcomes with attempts, for steps whose actors died.

    The attempt that such a step had in flight failed with an error that says so, and everything
    else happened as if the actor had not died. Law 30 checks that the outcomes of siblings are
    their own, and law 2 that no worker is lost.
    """
    for step in lives.attempted:
        if step.deaths:
            yield from _unfounded_outcome(step)


@of_the_runtime(
    30,
    "The same tape gives the same trace; a DAG whose steps do not depend on order ends alike on "
    "every base.",
)
def outcomes_follow_from_attempts(lives: Lives) -> Iterator[str]:
    """Compare outcomes with attempts, for steps that no fault has struck.

    That is what one trace can show. `same` runs a tape twice, and `alike` compares how two runs
    ended.
    """
    touched = _touched(lives) if lives.trace.struck else set()
    for step in lives.attempted:
        if not step.deaths and step not in touched:
            yield from _unfounded_outcome(step)


def _unfounded_outcome(step: StepLife) -> Iterator[str]:
    for one in step.tries:
        if one.end is not None:
            yield from _unfounded(step, one, one.end)
    yield from _unfounded_end(step)


def _unfounded_end(step: StepLife) -> Iterator[str]:
    """Yield what is wrong with a step's end, regardless of its attempts."""
    if step.end is None or step.kept:
        return
    kind, required = step.end.kind, step.plan.step.required
    if (kind is _FAILED and not required) or (kind is _SKIPPED and required):
        is_ = "required" if required else "optional"
        yield f"{step} ended with {kind.value}, although it is {is_}"
    elif kind in _FAILURES and not step.tries and len(step.deaths) <= _MOST_DEATHS:
        yield f"{step} ended with {kind.value}, but was never attempted"


def _unfounded(step: StepLife, one: Try, end: Event) -> Iterator[str]:
    """Yield what is wrong with the end of an attempt."""
    error, kind = end.data.get("error"), end.kind
    attempt = f"attempt {one.number} of {step}"
    if one.body is None or kind is EventKind.STEP_COMPLETED or isinstance(error, CompensationCut):
        return  # unknown, checked by law 10, or cut by a shutdown
    outcome = one.body.outcome
    if one.timed_out is not None:
        if kind in _FAILURES and not isinstance(error, (StepTimeout, ActorCrashed)):
            yield f"{attempt} timed out, but failed with {_text(error)}"
    elif isinstance(error, ActorCrashed):
        if not step.deaths:
            yield f"{attempt} failed with {_text(error)}, but its actor had not died"
    elif outcome is Outcome.RETURNED and not one.abandoned:
        yield f"{attempt} returned, but led to {kind.value}"
    elif kind in _FAILURES and outcome is not Outcome.RAISED:
        yield f"{attempt} was {outcome.value} without reason, and led to {kind.value}"
    elif kind in _FAILURES and error is not one.body.error:
        yield f"{attempt} raised {_text(one.body.error)}, but failed with {_text(error)}"
    if (
        kind in {_FAILED, _SKIPPED}
        and error is not None
        and _must_be_retried(step, one, end, error)
    ):
        yield f"{attempt} failed with {_text(error)} at {end.time:g} s, and was not retried"


def _text(error: BaseException | None) -> str:
    return "nothing" if error is None else said_by(error)


def _is_cut(life: Life, end: Event) -> bool:
    """Return whether the grace of a shutdown had passed when an event happened."""
    graces = ((at, one.grace) for _, at, one in life.cancels if one.grace is not None)
    return any(at + grace <= end.time for at, grace in graces)


def _must_be_retried(step: StepLife, one: Try, end: Event, error: BaseException) -> bool:
    """Return whether a step had to be retried after an error."""
    options = step.plan.step
    policy = options.retry
    if policy is None or one.number >= policy.max_attempts or not policy.accepts(error):
        return False
    if isinstance(step, Undoing) and _is_cut(step.life, end):
        return False
    if options.total_timeout is None:
        return True
    wait = error.seconds if isinstance(error, RetryAfter) else policy.bounds(one.number)[1]
    return end.time + wait < step.tries[0].started.time + options.total_timeout
