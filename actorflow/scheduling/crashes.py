"""Crashes: the actors of steps that die are replaced, and are told what was decided before.

Part of the supervisor's brain and as pure as the rest (see `decisions`). An actor's death loses
messages, never decisions: the ledger knows what every step has to know. When a step has a new
actor, its data and its grant are sent again. When a settled step's actor has died, the dependents
are told directly. Every message may therefore arrive twice, and an actor ignores the second.

A step whose actor dies again and again before the step's attempt could be submitted is given up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actorflow.errors.running import ActorCrashed
from actorflow.model.lifecycle import StepStatus
from actorflow.model.messages import DependencyCompleted, Execute, MakeSteps, ReviveStep, StartRun

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorflow.model.context import RunScope
    from actorflow.model.messages import StepMoved, StepsMade
    from actorflow.scheduling.endings import Endings
    from actorflow.scheduling.ledger import RunState, StepState
    from actorflow.scheduling.outbox import Outbox
    from actorflow.scheduling.starts import Starts

__all__ = ["MOST_CRASHES", "Crashes", "bindings", "resumption"]

MOST_CRASHES: Final = 3
"""How often the actor of a step may die before an attempt could be submitted."""


class Crashes:
    """Replaces dead actors, and repeats what they have to know.

    Args:
        outbox: Where events and effects go.
        starts: Releases what an attempt held that could not be submitted.
        endings: Ends steps whose actors die too often.
        runs: The runs in progress, by id.
    """

    def __init__(
        self, outbox: Outbox, starts: Starts, endings: Endings, runs: Mapping[str, RunState]
    ) -> None:
        self._outbox = outbox
        self._starts = starts
        self._endings = endings
        self._runs = runs

    # ── Actors that are created ──────────────────────────────────────────────────────────────

    def make_steps(self, run: RunState) -> None:
        """Create the actors of a run's steps, and tell them what was decided before."""
        if run.unsettled == len(run.steps) and run.hold is None:
            step_ids = run.plan.by_id.keys()
        else:
            step_ids = {
                name: None for name, it in run.steps.items() if not it.status.settled
            }.keys()
        self._outbox.perform(MakeSteps(run.scope, step_ids))
        if run.revived:
            for step in run.steps.values():
                self._say_again(run, step)

    def made(self, message: StepsMade | StepMoved) -> None:
        """Handle that a run's steps, or one of them, have new actors."""
        run = self._runs.get(message.run_id)
        if run is None:
            return
        if run.reviving:
            run.reviving -= 1
        if not run.reviving:
            run.addresses = message.addresses

    def _say_again(self, run: RunState, step: StepState) -> None:
        if step.status.settled:
            return
        effects = self._outbox.effects
        for name in step.plan.dependencies:
            completed = completion_of(run.steps[name])
            if completed is not None:
                effects.append((run, step.id, completed))
        if step.current is not None and not step.current.submitted:
            effects.append((run, step.id, Execute(step.current)))

    # ── Actors that die ──────────────────────────────────────────────────────────────────────

    def lost(self, run: RunState, step: StepState, details: str) -> None:
        """Handle the death of a step's actor."""
        if step.status.settled:
            self._tell_dependents(run, step)
            return
        # Until its new actor is known, all messages to the run's steps go through the run's actor.
        run.addresses = None
        run.reviving += 1
        self._outbox.perform(ReviveStep(run.run_id, step.id))
        self._count(run, step, details)
        self._say_again(run, step)

    def lost_all(self, run: RunState, details: str) -> None:
        """Handle the death of a run's actor, and of all its steps' actors with it."""
        run.addresses, run.reviving, run.revived = None, 0, True
        for step in run.steps.values():
            if not step.status.settled:
                self._count(run, step, details)
        self.make_steps(run)

    def _tell_dependents(self, run: RunState, step: StepState) -> None:
        completed = completion_of(step)
        if completed is not None:
            for name in step.plan.dependents:
                if not run.steps[name].status.settled:
                    self._outbox.effects.append((run, name, completed))

    def _count(self, run: RunState, step: StepState, details: str) -> None:
        """Count a death; give the step up if there were too many and no attempt is running."""
        step.crashes += 1
        attempt = step.current
        if step.crashes <= MOST_CRASHES or (attempt is not None and attempt.submitted):
            return
        error = ActorCrashed(run.run_id, step.id, details)
        if attempt is None:
            self._endings.fail(run, step, error)
        else:
            attempt.submitted = True  # a former actor may still hold its grant
            self._starts.release(run, step)
            self._endings.failed(run, step, error)


def completion_of(step: StepState) -> DependencyCompleted | None:
    """Return what a step tells its dependents, or None while it has nothing to tell."""
    if step.status is StepStatus.COMPLETED:
        return DependencyCompleted(step.id, step.output, skipped=False)
    if step.status is StepStatus.SKIPPED:
        return DependencyCompleted(step.id, None, skipped=True)
    return None


def resumption(message: StartRun) -> Mapping[str, Any]:
    """Return the data of the event with which a run is resumed or taken over."""
    data = bindings(message.scope, message.takeovers)
    if message.past is None:
        return data
    taken_over = {**data, "taken_over": True}
    if message.past.crashed:
        taken_over["in_flight"] = message.past.crashes[-1]
    if message.past.again:
        taken_over["again"] = message.past.again
    return taken_over


def bindings(scope: RunScope, takeovers: int) -> Mapping[str, Any]:
    """Return the data of an event with which a life begins."""
    known = scope.bindings()
    return {**known, "takeovers": takeovers} if takeovers else known
