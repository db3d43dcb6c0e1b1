"""The laws about outcomes: a step's outcome follows from its own attempts alone.

It does not depend on the order of messages, on duplicated messages, or on other steps.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from actorflow.errors.running import (
    ActorCrashed,
    CompensationCut,
    RetryAfter,
    StepTimeout,
    TakenOverTooOften,
)
from actorflow.model.lifecycle import EventKind
from actorflow.model.messages import AttemptAbandoned, AttemptFinished
from actorflow.support.safe_text import said_by
from actorflow.systems.simulated.mischief import Fault
from actorflow.testing.errors import LawBroken
from actorflow.testing.laws.evidence.holds import is_frozen
from actorflow.testing.laws.evidence.life import NEVER, StepLife, Undoing
from actorflow.testing.laws.evidence.waits import ROUNDING
from actorflow.testing.laws.law import of_the_runtime
from actorflow.testing.simulation.account import Outcome
from actorflow.testing.trace.labels import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from actorflow.model.events import Event
    from actorflow.model.messages import DependencyCompleted
    from actorflow.model.results import RunResult
    from actorflow.testing.laws.evidence.life import Life, Try
    from actorflow.testing.laws.evidence.lives import Lives
    from actorflow.testing.simulation.tape import Source
    from actorflow.testing.trace.trace import AttemptTrace, Trace

__all__ = [
    "alike",
    "crashes_stay_local",
    "first_difference",
    "outcomes_follow_from_attempts",
    "outputs_arrive_untouched",
    "repetition_changes_nothing",
    "same",
]

_RETRYING: Final = EventKind.STEP_RETRYING
_FAILED: Final = EventKind.STEP_FAILED
_CANCELLED: Final = EventKind.STEP_CANCELLED
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
                yield from _unfounded_outcome(step, lives)


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
    if isinstance(message, (AttemptFinished, AttemptAbandoned)):
        return message.attempt.scope.run_id, message.attempt.step_id
    return None


@of_the_runtime(
    25,
    "An actor's death loses messages, never decisions: no attempt fails by it, no worker is lost.",
)
def crashes_stay_local(lives: Lives) -> Iterator[str]:
    """Compare outcomes with attempts, for steps whose actors died.

    Everything happened as if the actor had not died, unless the step was given up because its
    actors died more than three times. Law 30 checks that the outcomes of siblings are their own,
    and law 2 that no worker is lost.
    """
    for step in lives.attempted:
        if step.deaths:
            yield from _unfounded_outcome(step, lives)


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
            yield from _unfounded_outcome(step, lives)


def _unfounded_outcome(step: StepLife, lives: Lives) -> Iterator[str]:
    for one in step.tries:
        if one.end is not None:
            yield from _unfounded(step, one, one.end, lives)
    yield from _unfounded_end(step)


def _unfounded_end(step: StepLife) -> Iterator[str]:
    """Yield what is wrong with a step's end, regardless of its attempts."""
    if step.end is None or step.kept:
        return
    kind, required = step.end.kind, step.plan.step.required
    if (kind is _FAILED and not required) or (kind is _SKIPPED and required):
        is_ = "required" if required else "optional"
        yield f"{step} ended with {kind.value}, although it is {is_}"
    elif isinstance(step.end.data.get("error"), TakenOverTooOften):
        return
    elif kind in _FAILURES and not step.tries and len(step.deaths) <= _MOST_DEATHS:
        yield f"{step} ended with {kind.value}, but was never attempted"


def _unfounded(step: StepLife, one: Try, end: Event, lives: Lives) -> Iterator[str]:
    """Yield what is wrong with the end of an attempt."""
    error, kind = end.data.get("error"), end.kind
    attempt = f"attempt {one.number} of {step}"
    if one.body is None or _tells_nothing(step, end):
        return
    outcome = one.body.outcome
    if one.timed_out is not None:
        if kind in _FAILURES and not isinstance(error, (StepTimeout, ActorCrashed)):
            yield f"{attempt} timed out, but failed with {_text(error)}"
    elif isinstance(error, ActorCrashed):
        if len(step.deaths) <= _MOST_DEATHS:
            died = f"its actor had died {len(step.deaths)} times, of {_MOST_DEATHS} allowed"
            yield f"{attempt} failed with {_text(error)}, but {died}"
    elif outcome is Outcome.RETURNED and not one.abandoned:
        yield f"{attempt} returned, but led to {kind.value}"
    elif kind in _FAILURES and outcome is not Outcome.RAISED:
        yield f"{attempt} was {outcome.value} without reason, and led to {kind.value}"
    elif kind in _FAILURES and error is not one.body.error:
        yield f"{attempt} raised {_text(one.body.error)}, but failed with {_text(error)}"
    if (
        kind in {_FAILED, _SKIPPED}
        and error is not None
        and _must_be_retried(step, one, end, error, lives)
    ):
        yield f"{attempt} failed with {_text(error)} at {end.time:g} s, and was not retried"


def _tells_nothing(step: StepLife, end: Event) -> bool:
    """Return whether an end does not follow from what the attempt did.

    The outputs of completed steps are checked by law 10. A shutdown cuts compensators. What an
    attempt does after its run was left is not recorded.
    """
    if end.kind is EventKind.STEP_COMPLETED or isinstance(end.data.get("error"), CompensationCut):
        return True
    return end.kind is _CANCELLED and step.life.left_at != NEVER


def _text(error: BaseException | None) -> str:
    return "nothing" if error is None else said_by(error)


def _is_cut(life: Life, end: Event) -> bool:
    """Return whether the grace of a shutdown had passed when an event happened."""
    graces = ((at, one.grace) for _, at, one in life.cancels if one.grace is not None)
    return any(at + grace <= end.time for at, grace in graces)


def _must_be_retried(
    step: StepLife, one: Try, end: Event, error: BaseException, lives: Lives
) -> bool:
    """Return whether a step had to be retried after an error."""
    options = step.plan.step
    policy = options.retry
    spent = one.number - step.cut
    if policy is None or spent >= policy.max_attempts or not policy.accepts(error):
        return False
    if isinstance(step, Undoing) and _is_cut(step.life, end):
        return False
    if options.total_timeout is None:
        return True
    if is_frozen(step.life):
        return False  # it is not known how much was left
    wait = error.seconds if isinstance(error, RetryAfter) else policy.bounds(spent)[1]
    due = step.tries[0].started.time + options.total_timeout
    if lives.waits is not None:
        due = lives.waits.postponed(due, step, one.end_at + 1, None, at_most=False) - ROUNDING
    return end.time + wait < due


_CURE: Final = (
    ". If it represents something external, such as a service, exempt it from copying: "
    "def __deepcopy__(self, memo): return self"
)


@of_the_runtime(
    23,
    "Each dependent gets an output exactly once, equal to what was recorded, and does not mutate "
    "it.",
)
def outputs_arrive_untouched(lives: Lives) -> Iterator[str]:
    """Compare what steps were told, and what their functions received, with the record.

    A dependent is told once, unless a fault duplicates the message or kills an actor. Its function
    receives the outputs of completed dependencies only, in an order that no schedule affects. A
    compensator receives the arguments of its step, and the step's output.
    """
    yield from _wrongly_told(lives)
    steps = (step for life in lives.all for step in life.steps.values())
    for step in itertools.chain(steps, lives.undoings):
        for body in step.bodies:
            if (body.arguments or _takes_outputs(step)) and body.begun <= step.life.torn_at:
                yield from _wrong_arguments(step, body)
    for run_id, step_id, attempt, name in lives.trace.changes:
        yield f"attempt {attempt} of step {step_id!r} of {run_id} changed {name!r}{_CURE}"


def _takes_outputs(step: StepLife) -> bool:
    plan = step.plan
    return bool(plan.outputs or plan.optional_outputs or plan.wants_inputs)


def _wrongly_told(lives: Lives) -> Iterator[str]:
    told = lives.told
    heard: dict[tuple[StepLife, str], None] = {}
    for _, step, message in told:
        heard[step, message.step_id] = None
        known = step.life.steps[message.step_id]
        if message.output is not known.output or message.skipped:
            yield from _misheard(step, known, message)
    if len(heard) != len(told) and not lives.trace.struck:
        twice = next(key for key in heard if sum(_key(*one) == key for one in told) > 1)
        yield f"{twice[0]} was told twice of step {twice[1]!r}"


def _key(_count: int, step: StepLife, message: DependencyCompleted) -> tuple[StepLife, str]:
    return step, message.step_id


def _misheard(step: StepLife, known: StepLife, message: DependencyCompleted) -> Iterator[str]:
    if known.completed is message.skipped:
        yield f"{step} was told an outcome of {known} that was not recorded"
    elif known.completed and message.output != known.output:
        yield f"{step} was told another output of {known} than the recorded one"


def _wrong_arguments(step: StepLife, body: AttemptTrace) -> Iterator[str]:
    steps, scope = step.life.steps, step.life.start.scope
    outputs = {name: steps[name].output for name in step.plan.dependencies if steps[name].completed}
    due = step.plan.arguments(scope.inputs, outputs, None)
    got = body.arguments
    if not _alike(due, got):
        what = ", ".join(name for name in {**due, **got} if not _alike_at(name, due, got))
        yield f"attempt {body.attempt} of {step} got a wrong value for {what}"


def _alike(due: Mapping[str, Any], got: Mapping[str, Any]) -> bool:
    if not (due or got):
        return True
    return due.keys() == got.keys() and all(_alike_at(name, due, got) for name in due)


def _alike_at(name: str, due: Mapping[str, Any], got: Mapping[str, Any]) -> bool:
    if name == "ctx":
        return True
    one, other = due.get(name), got.get(name)
    if name == "inputs" and isinstance(one, Mapping) and isinstance(other, Mapping):
        return list(one) == list(other) and _alike(one, other)
    return one is other or bool(one == other)


def same(run: Callable[[Source], Trace], source: Source = None) -> Trace:
    """Run something twice, the second time on the tape of the first; return the trace.

    Args:
        run: Runs it, and returns the trace.
        source: The source of the choices of the first run.

    Raises:
        LawBroken: When the two traces differ.
    """
    first = run(source)
    second = run(first.tape)
    if first.hash != second.hash:
        raise _broken(f"the same tape gave {first_difference(first, second)}", first)
    return first


def first_difference(first: Trace, second: Trace) -> str:
    """Return where two traces of one tape first differ, as text."""
    ours, theirs = first.chart().splitlines(), second.chart().splitlines()
    for line, other in zip(ours, theirs, strict=False):
        if line != other:
            return f"{line.strip()!r}, and then {other.strip()!r}"
    return f"a chart of {len(ours)} lines, and then one of {len(theirs)}, or values that differ"


def alike(trace: Trace, results: Iterable[RunResult]) -> None:
    """Check that the runs of a trace ended like other runs of the same workflows.

    The other runs may have run on any system base. Runs are compared in the order of the trace,
    regardless of their ids: how each run ended, and how each of its steps ended, with which output
    and after how many attempts.

    Args:
        trace: The trace.
        results: The results of the other runs.

    Raises:
        LawBroken: When a run ended differently.
    """
    ours = [trace.result_of(run_id) for run_id in trace.runs]
    for one, other in zip(ours, results, strict=True):
        for difference in _differences(one, other):
            raise _broken(difference, trace)


def _differences(one: RunResult, other: RunResult) -> Iterator[str]:
    if one.status is not other.status:
        yield f"{one.run_id} ended as {one.status.value}, the other run as {other.status.value}"
    for step_id, step in one.steps.items():
        known = other.steps[step_id]
        ours = f"{step.status.value}, {plain(step.output)}, {step.attempts} attempts"
        theirs = f"{known.status.value}, {plain(known.output)}, {known.attempts} attempts"
        if ours != theirs:
            yield f"step {step_id!r} of {one.run_id}: {ours}, and in the other run: {theirs}"


def _broken(seen: str, trace: Trace) -> LawBroken:
    law = outcomes_follow_from_attempts
    return LawBroken(law.number, law.name, law.text, seen, trace)
