"""Undoing runs that have completed: children whose parents are undone.

A child that has completed is claimed like a run that is resumed, and goes on as a run that is
compensated. From its first event on it is a run in progress like any other: if its process dies,
the next owner goes on with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorflow.errors import ActorflowError
from actorflow.errors.definition import UnknownWorkflow
from actorflow.errors.storage import RunNotFound
from actorflow.model.lifecycle import RunStatus
from actorflow.orchestrator.family import children_of
from actorflow.orchestrator.live import find
from actorflow.orchestrator.powers import hand_back
from actorflow.orchestrator.requests import undone_run

if TYPE_CHECKING:
    from actorflow.definition.plan import WorkflowPlan
    from actorflow.model.records import RunSnapshot
    from actorflow.orchestrator.launch import Launcher
    from actorflow.orchestrator.lifetime import Lifetime
    from actorflow.orchestrator.registry import Registry
    from actorflow.orchestrator.runtime import Runtime
    from actorflow.orchestrator.takeover import Resuming
    from actorflow.run.handle import Run

__all__ = ["Undoing"]


class Undoing:
    """Undoes runs for one orchestrator.

    Args:
        life: The orchestrator's lifetime.
        registry: The workflows that it has registered.
        launcher: Starts its runs.
        resuming: Resumes recorded runs.
    """

    def __init__(
        self, life: Lifetime, registry: Registry, launcher: Launcher, resuming: Resuming
    ) -> None:
        self._life = life
        self._registry = registry
        self._launcher = launcher
        self._resuming = resuming

    def wants(self, runtime: Runtime, child: RunSnapshot) -> bool:
        """Return whether a run that has completed, or its children, can be undone.

        A run of an unknown workflow counts as one, so that it is not passed over in silence.
        """
        plan = self._known(runtime, child)
        if plan is None or any(step.compensation is not None for step in plan.steps):
            return True
        return any(self._ends(runtime, it) for it in children_of(runtime.state, child.run_id))

    def _ends(self, runtime: Runtime, child: RunSnapshot) -> bool:
        parent = child.parent
        if parent is None or parent.on_end != "cancel" or parent.compensates:
            return False
        if child.status is RunStatus.COMPLETED:
            return self.wants(runtime, child)
        return not child.status.terminal

    def _known(self, runtime: Runtime, child: RunSnapshot) -> WorkflowPlan | None:
        known = runtime.family.plan(child)
        return known or self._registry.planned(child.workflow_id, child.workflow_version)

    def take_up(self, runtime: Runtime, run_id: str, reason: str) -> Run | None:
        """Undo a run if it has completed, here; return it, or None if it has been undone.

        A run in progress without an owner goes on here, and is cancelled.

        Raises:
            DefinitionError: When its workflow is not known here.
            StoreError: When the state manager cannot do it now.
        """
        try:
            known = runtime.snapshot(run_id)
        except RunNotFound:
            return None
        if run_id in self._life.live:
            return find(self._life.live, runtime, run_id)
        if known.status is RunStatus.COMPLETED:
            return self._undo(runtime, known, reason)
        return None if known.status.terminal else self._go_on(runtime, known, reason)

    def _undo(self, runtime: Runtime, known: RunSnapshot, reason: str) -> Run | None:
        plan = self._known(runtime, known)
        if plan is None:
            raise UnknownWorkflow(known.workflow_id, (), known.workflow_version)
        ticket = self._life.admission.ticket()
        recorded = runtime.state.claim(known.run_id)
        try:
            # It may have been taken up elsewhere in the meantime.
            if recorded.status is RunStatus.COMPLETED:
                request = undone_run(runtime, plan, recorded, reason)
                return self._launcher.go_on_undoing(runtime, request, ticket)
            hand_back(runtime.powers, known.run_id)
        except BaseException:
            hand_back(runtime.powers, known.run_id)
            raise
        return find(self._life.live, runtime, known.run_id)

    def _go_on(self, runtime: Runtime, known: RunSnapshot, reason: str) -> Run:
        """Have a run go on here if it has no owner, and end."""
        try:
            run = self._resuming.resume(runtime, known.run_id, None)
        except ActorflowError:  # most often, another process runs it
            return find(self._life.live, runtime, known.run_id)
        run.cancel(reason, compensate=True)  # which one that is undone does not notice
        return run
