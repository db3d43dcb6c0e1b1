"""The law about the outputs that steps receive."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from actorflow.testing.laws.law import of_the_runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.model.messages import DependencyCompleted
    from actorflow.testing.laws.evidence.life import StepLife
    from actorflow.testing.laws.evidence.lives import Lives
    from actorflow.testing.trace.trace import AttemptTrace

__all__ = ["outputs_arrive_untouched"]

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
    binding = step.plan.binding
    return bool(binding.outputs or binding.optional_outputs or binding.wants_inputs)


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
