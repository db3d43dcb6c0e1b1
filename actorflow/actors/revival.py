"""What new actors have to be told of what has happened before them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorflow.lifecycle import StepStatus
from actorflow.messages import DependencyCompleted, ReviveStep, Settled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from actorflow.actors.ledger import RunState, StepState

__all__ = ["outcome_of", "revival", "seen_by", "settled_steps"]

_RETURNED: Final = frozenset(
    {StepStatus.COMPLETED, StepStatus.COMPENSATED, StepStatus.COMPENSATION_FAILED}
)


def revival(run: RunState, step: StepState) -> ReviveStep:
    """Return the message that brings the step's actor back to what its predecessor knew."""
    dependencies = [run.steps[dependency] for dependency in step.plan.dependencies]
    known = list(_completed(dependencies))
    return ReviveStep(run.run_id, step.plan.id, known, outcome_of(step), step.incarnation)


def settled_steps(run: RunState) -> dict[str, DependencyCompleted]:
    """Return what the steps of a resumed run that need no actor tell their dependents."""
    if run.unsettled == len(run.steps):
        return {}
    if not run.unsettled:
        # Nothing is left to run, and something may be left to undo. Nobody is told anything.
        return {step_id: DependencyCompleted(step_id, None, skipped=True) for step_id in run.steps}
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


def seen_by(run: RunState, undo: StepState) -> list[DependencyCompleted]:
    """Return what a compensator is given: what its step saw, and what that made.

    Some of it may have been undone before, if the workflow was changed between two lives.
    """
    steps = [run.steps[step_id] for step_id in undo.plan.dependencies]
    return [
        DependencyCompleted(step.id, step.output, step.status not in _RETURNED) for step in steps
    ]
