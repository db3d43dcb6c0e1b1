"""The workflows that an orchestrator has registered."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from actorflow.definition.step import Step
from actorflow.definition.workflow import Workflow
from actorflow.errors import listed, quoted
from actorflow.errors.definition import DefinitionConflict, DefinitionError, UnknownWorkflow
from actorflow.support.safe_text import text_of
from actorflow.support.suggestions import FEW
from actorflow.support.warnings import warn

if TYPE_CHECKING:
    from actorflow.definition.plan import WorkflowPlan
    from actorflow.model.context import Attempt
    from actorflow.model.records import RunSnapshot

__all__ = ["Registry", "plan_of"]


class Registry:
    """Registered workflows, by id and version.

    Args:
        durable: Whether runs outlive this process, and may be resumed by another program.
    """

    def __init__(self, *, durable: bool = False) -> None:
        self._durable = durable
        self._lock = threading.Lock()
        self._plans: dict[str, dict[str, WorkflowPlan]] = {}

    def register(self, flow: Workflow) -> WorkflowPlan:
        """Check and register a workflow.

        Raises:
            DefinitionError: When the workflow is invalid.
            DefinitionConflict: When a different one is registered under its id and version.
        """
        plan = plan_of(flow)
        with self._lock:
            versions = self._plans.setdefault(plan.workflow_id, {})
            known = versions.get(plan.version)
            if known is not None and known.fingerprint != plan.fingerprint:
                raise DefinitionConflict(plan.workflow_id, plan.version)
            # A bare id means the version that was registered last.
            versions.pop(plan.version, None)
            versions[plan.version] = plan
        if self._durable and known is None:
            _warn_of_anonymous(plan)
        return plan

    def known(self) -> frozenset[tuple[str, str]]:
        """Return the ids and versions of the registered workflows."""
        with self._lock:
            return frozenset(
                (flow, version) for flow, versions in self._plans.items() for version in versions
            )

    def planned(self, workflow_id: str, version: str) -> WorkflowPlan | None:
        """Return the plan of a registered workflow, or None."""
        with self._lock:
            return self._plans.get(workflow_id, {}).get(version)

    def resolve(self, flow: Workflow | str) -> WorkflowPlan:
        """Return the plan of a workflow, or of the latest version registered under an id.

        Raises:
            DefinitionError: When the workflow is invalid.
            UnknownWorkflow: When the id is not registered.
        """
        if type(flow) is Workflow:
            return flow.plan()
        if not isinstance(flow, str):
            return plan_of(flow)
        with self._lock:
            if flow not in self._plans:
                raise UnknownWorkflow(flow, tuple(sorted(self._plans)))
            return next(reversed(self._plans[flow].values()))

    def check_may_be_child(self, plan: WorkflowPlan, attempt: Attempt) -> None:
        """Refuse a child that nobody else could go on with, because its workflow is not registered.

        Where runs do not outlive this process, that does not matter.

        Raises:
            DefinitionError: When it, or this definition of it, is not registered.
        """
        if not self._durable:
            return
        known = self.planned(plan.workflow_id, plan.version)
        if known is not None and known.fingerprint == plan.fingerprint:
            return
        is_ = "is not registered" if known is None else "differs from the registered one"
        raise DefinitionError(
            plan.workflow_id,
            f"step {attempt.step_id!r} of run {attempt.scope.run_id!r} starts a child of this "
            f"workflow, which {is_} in version {plan.version}; after a crash, no process could go "
            "on with the child, or undo it",
            "Define the workflow once, and call orchestrator.register() with it in each process "
            "that shares the database, before the run starts; what differs from child to child "
            "belongs into its inputs. Or pass detached=True to orchestrator.start()",
        )

    def plan_for(self, recorded: RunSnapshot, flow: Workflow | None) -> WorkflowPlan:
        """Return the plan for resuming a run: the given workflow's, or a registered one.

        Raises:
            UnknownWorkflow: When none is given and none is registered.
            DefinitionError: When the given workflow is not that of the run.
        """
        if flow is None:
            plan = self._find(recorded.workflow_id, recorded.workflow_version)
        else:
            plan = plan_of(flow)
        if (plan.workflow_id, plan.version) != (recorded.workflow_id, recorded.workflow_version):
            raise DefinitionError(
                None,
                f"run {recorded.run_id!r} belongs to workflow {recorded.workflow_id!r} "
                f"{recorded.workflow_version}, not {plan.workflow_id!r} {plan.version}",
                "Pass the workflow that the run was started with",
            )
        if set(plan.by_id) != set(recorded.steps):
            raise DefinitionError(
                plan.workflow_id,
                f"it has other steps than run {recorded.run_id!r} was started with",
                "Pass the workflow that the run was started with; its functions may have changed",
            )
        _check_inputs(plan, recorded)
        return plan

    def _find(self, workflow_id: str, version: str) -> WorkflowPlan:
        with self._lock:
            plan = self._plans.get(workflow_id, {}).get(version)
            if plan is None:
                known = tuple(
                    f"{name} {number}" for name, plans in self._plans.items() for number in plans
                )
                raise UnknownWorkflow(workflow_id, known, version)
            return plan


def _warn_of_anonymous(plan: WorkflowPlan) -> None:
    steps = plan.anonymous
    if steps:
        several = len(steps) > 1
        warn(
            f"workflow {plan.workflow_id!r} {plan.version}: step{'s' * several} "
            f"{listed([quoted(step) for step in steps], FEW)} run{'s' * (not several)} a lambda or "
            "a closure, and definitions are compared by the names of their functions. If the "
            "function changes, no error says so, and a run may be resumed with the new one. Use a "
            "named function that takes what it needs as parameters."
        )


def _check_inputs(plan: WorkflowPlan, recorded: RunSnapshot) -> None:
    """Refuse to resume a run that lacks an input which the workflow takes now."""
    missing = [name for name in plan.required_inputs if name not in recorded.inputs]
    if missing:
        raise DefinitionError(
            plan.workflow_id,
            f"run {recorded.run_id!r} was started without the input {missing[0]!r}, which it "
            "takes now",
            "Give the parameter a default, or give the workflow that takes it a new version",
        )


def plan_of(flow: Workflow) -> WorkflowPlan:
    """Return the plan of a workflow.

    Raises:
        DefinitionError: When it is invalid, or something else.
    """
    if not isinstance(flow, Workflow):
        raise DefinitionError(None, f"{text_of(flow)} is not a workflow", _cure(flow))
    return flow.plan()


def _cure(flow: object) -> str:
    if hasattr(flow, "build"):
        return "Call .build() on a builder"
    if isinstance(flow, Step) or (callable(flow) and not isinstance(flow, type)):
        return "Pass the Workflow that it is a step of, or the id of a registered one"
    return "Pass a Workflow, or the id of a registered one"
