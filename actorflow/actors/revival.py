"""What new actors have to be told of what has happened before them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorflow.lifecycle import StepStatus
from actorflow.messages import DependencyCompleted, ReviveStep, Settled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from actorflow.actors.ledger import RunState, StepState

__all__ = ["outcome_of", "revival", "settled_steps"]


def revival(run: RunState, step: StepState) -> ReviveStep:
    """Return the message that brings the step's actor back to what its predecessor knew."""
    dependencies = [run.steps[dependency] for dependency in step.plan.dependencies]
    known = list(_completed(dependencies))
    return ReviveStep(run.run_id, step.plan.id, known, outcome_of(step), step.incarnation)


def settled_steps(run: RunState) -> dict[str, DependencyCompleted]:
    """Return what the steps of a resumed run that have an outcome tell their dependents."""
    if run.unsettled == len(run.steps):
        return {}
    return {completed.step_id: completed for completed in _completed(run.steps.values())}


def _completed(steps: Iterable[StepState]) -> Iterator[DependencyCompleted]:
    for step in steps:
        outcome = outcome_of(step)
        if outcome is not None:
            yield DependencyCompleted(step.plan.id, outcome.output, outcome.skipped)


def outcome_of(step: StepState) -> Settled | None:
    """Return what a step has to tell its dependents, if it has."""
    if step.status is StepStatus.COMPLETED:
        return Settled(step.output, skipped=False)
    if step.status is StepStatus.SKIPPED:
        return Settled(None, skipped=True)
    return None
