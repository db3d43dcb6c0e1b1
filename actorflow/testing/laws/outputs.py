"""The law about what steps hand on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from actorflow.testing.laws.law import of_the_runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.testing.lives import Lives, StepLife
    from actorflow.testing.trace import AttemptTrace

__all__ = ["outputs_arrive_untouched"]


@of_the_runtime(
    23,
    "Each dependent gets an output exactly once, equal to what was recorded, and does not mutate "
    "it.",
)
def outputs_arrive_untouched(lives: Lives) -> Iterator[str]:
    """Hold what steps were told, and what their functions got, against what was recorded.

    A dependent is told once, unless a fault has a message come twice or an actor die. What its
    function gets are the outputs of those dependencies that completed, and nothing of others.
    """
    yield from _told_wrong(lives)
    for life in lives.all:
        for step in life.steps.values():
            if step.bodies and step.plan.dependencies:
                for body in step.bodies:
                    yield from _got_wrong(step, body)
    for run_id, step_id, attempt, name in lives.trace.changes:
        yield f"attempt {attempt} of step {step_id!r} of {run_id} changed {name!r}"


def _told_wrong(lives: Lives) -> Iterator[str]:
    marks, once = lives.trace.marks, not lives.trace.struck
    heard: set[tuple[StepLife, str]] = set()
    for count, step, message in lives.told:
        if count > step.life.torn_at:
            continue  # nothing is recorded any more, and the run is ending
        known = step.life.steps[message.step_id]
        recorded = known.kept or (known.end is not None and marks[int(known.end_at)] < count)
        if not recorded or known.completed is message.skipped:
            yield f"{step} was told of {known} what was not recorded"
        elif message.output is not known.output and message.output != known.output:
            yield f"{step} was told of another output of {known} than was recorded"
        if once and (step, known.id) in heard:
            yield f"{step} was told twice of {known}"
        heard.add((step, known.id))


def _got_wrong(step: StepLife, body: AttemptTrace) -> Iterator[str]:
    steps, scope = step.life.steps, step.life.start.scope
    outputs = {name: steps[name].output for name in step.plan.dependencies if steps[name].completed}
    due = step.plan.arguments(scope.inputs, outputs, None)
    got = body.arguments
    if not _alike(due, got):
        what = ", ".join(name for name in due.keys() | got.keys() if not _alike_at(name, due, got))
        yield f"attempt {body.attempt} of {step} got for {what} what its dependencies had not given"


def _alike(due: Mapping[str, Any], got: Mapping[str, Any]) -> bool:
    if not (due or got):
        return True
    return due.keys() == got.keys() and all(_alike_at(name, due, got) for name in due)


def _alike_at(name: str, due: Mapping[str, Any], got: Mapping[str, Any]) -> bool:
    if name == "ctx":
        return True
    one, other = due.get(name), got.get(name)
    if name == "inputs" and isinstance(one, Mapping) and isinstance(other, Mapping):
        return _alike(one, other)
    return one is other or bool(one == other)
