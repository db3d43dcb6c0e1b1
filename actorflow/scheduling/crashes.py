"""Crashes: the actors of steps that die are replaced, and their attempts fail.

Part of the supervisor's brain and as pure as the rest (see `decisions`). Each actor of a step has
a number, its incarnation. A message can arrive after its sender has died, and even after the first
message of the successor. Messages with a number other than the step's current one are ignored.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from actorflow.errors.running import ActorCrashed
from actorflow.model.lifecycle import StepStatus
from actorflow.model.messages import DependencyCompleted, MakeSteps, ReviveStep, Settled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from actorflow.scheduling.endings import Endings
    from actorflow.scheduling.ledger import RunState, StepState
    from actorflow.scheduling.outbox import Outbox
    from actorflow.scheduling.starts import Starts

__all__ = ["Crashes", "outcome_of", "revival", "seen_by", "settled_steps"]

_MOST_CRASHES: Final = 3


class Crashes:
    """Replaces dead actors and fails the attempts that died with them.

    Args:
        outbox: Where events and effects go.
        starts: Releases what a dead attempt held.
        endings: Decides how a failed attempt continues, and ends steps whose actors die too often.
    """

    def __init__(self, outbox: Outbox, starts: Starts, endings: Endings) -> None:
        self._outbox = outbox
        self._starts = starts
        self._endings = endings
        # Never the same twice, not even after the run was resumed.
        self.incarnations: Iterator[int] = itertools.count()

    def replace(self, run: RunState, step: StepState, details: str) -> None:
        """Replace a dead step actor."""
        self._lose(run, step, next(self.incarnations), details)
        self._outbox.effects.append((None, revival(run, step)))

    def replace_all(self, run: RunState, details: str) -> None:
        """Replace all actors of a run."""
        incarnation = next(self.incarnations)
        for step in run.steps.values():
            if not step.status.settled:
                self._lose(run, step, incarnation, details)
        self.make_steps(run, incarnation)

    def make_steps(self, run: RunState, incarnation: int) -> None:
        """Create the actors of a run's steps."""
        message = MakeSteps(run.plan, run.scope, settled_steps(run), incarnation)
        self._outbox.effects.append((None, message))

    def _lose(self, run: RunState, step: StepState, incarnation: int, details: str) -> None:
        """Note that a step's actor has died, along with any message on its way to it."""
        step.incarnation = incarnation
        step.crashes += 1
        step.orphaned = not step.status.settled
        error = ActorCrashed(run.run_id, step.id, details)
        if step.current is None:
            if step.orphaned and step.crashes > _MOST_CRASHES:
                self._endings.fail(run, step, error)
        elif step.current.submitted:
            self._endings.stop(run, step, error)
        else:
            # The message that would have submitted it died with the actor.
            self._starts.release(run, step)
            self._endings.failed(run, step, error)


_RETURNED: Final = frozenset(
    {StepStatus.COMPLETED, StepStatus.COMPENSATED, StepStatus.COMPENSATION_FAILED}
)


def revival(run: RunState, step: StepState) -> ReviveStep:
    """Return the message that restores what the step's previous actor knew."""
    dependencies = [run.steps[dependency] for dependency in step.plan.dependencies]
    known = list(_completed(dependencies))
    return ReviveStep(run.run_id, step.plan.id, known, outcome_of(step), step.incarnation)


def settled_steps(run: RunState) -> dict[str, DependencyCompleted]:
    """Return what settled steps of a resumed run, which have no actor, tell dependents."""
    if run.unsettled == len(run.steps):
        return {}
    if not run.unsettled:
        # Nothing is left to run; steps may be left to undo, and those read the ledger.
        return {step_id: DependencyCompleted(step_id, None, skipped=True) for step_id in run.steps}
    return {completed.step_id: completed for completed in _completed(run.steps.values())}


def _completed(steps: Iterable[StepState]) -> Iterator[DependencyCompleted]:
    for step in steps:
        outcome = outcome_of(step)
        if outcome is not None:
            yield DependencyCompleted(step.plan.id, outcome.output, outcome.skipped)


def outcome_of(step: StepState) -> Settled | None:
    """Return what a step tells its dependents, or None while it has nothing to tell."""
    if step.status is StepStatus.COMPLETED:
        return Settled(step.output, skipped=False)
    if step.status is StepStatus.SKIPPED:
        return Settled(None, skipped=True)
    return None


def seen_by(run: RunState, undo: StepState) -> list[DependencyCompleted]:
    """Return the arguments of a compensator: what its step received, and the step's output.

    Some dependencies may be undone already, if the workflow was changed before the run was resumed.
    """
    steps = [run.steps[step_id] for step_id in undo.plan.dependencies]
    return [
        DependencyCompleted(step.id, step.output, step.status not in _RETURNED) for step in steps
    ]
