"""Requests: the arguments of a start, checked and turned into a record and a message."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from actorflow.model.context import RunScope
from actorflow.model.lifecycle import EventKind, RunStatus
from actorflow.model.messages import StartRun
from actorflow.model.requests import RunOptions, new_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.model.events import Event
    from actorflow.model.protocols import Clock, Executor, StateManager
    from actorflow.model.results import RunRecord, RunSnapshot

__all__ = ["Places", "Premises", "Request", "RunOptions", "new_run", "resumed_run"]


class Places(Protocol):
    """The executors of steps."""

    def of(self, plan: WorkflowPlan, /) -> Mapping[str, Executor]:
        """Return the executor of each step, by step id."""

    def of_compensators(self, plan: WorkflowPlan, /) -> Mapping[str, Executor]:
        """Return the executor of each compensator, by step id."""


class Premises(Protocol):
    """The facts about an orchestrator that a request depends on."""

    @property
    def clock(self) -> Clock:
        """The clock."""

    @property
    def state(self) -> StateManager:
        """The state manager."""

    @property
    def places(self) -> Places:
        """The executors."""

    def ways(self, plan: WorkflowPlan) -> Mapping[str, float] | None:
        """Return the longest way from each step to the end, if steps are ranked by it."""


class Request(NamedTuple):
    """A run that was checked and may be started."""

    workflow_id: str
    run_id: str
    message: StartRun
    record: RunRecord | None
    """None for a run that is recorded already, and is resumed."""


def new_run(
    premises: Premises,
    plan: WorkflowPlan,
    inputs: Mapping[str, Any] | None,
    options: RunOptions,
    run_id: str | None = None,
) -> Request:
    """Check the arguments of a start.

    Args:
        premises: The orchestrator.
        plan: The workflow.
        inputs: The inputs.
        options: The other arguments.
        run_id: The id of the run; a new unique one by default.

    Raises:
        DefinitionError: When an argument is invalid.
        TypeError: When an option does not exist.
        MissingInput: When a step takes an input that is missing.
        UnknownInput: When no step takes an input.
        UnknownExecutor: When a step names an executor that does not exist.
    """
    now = premises.clock.now()
    record = new_record(plan, inputs, options, run_id=run_id, created_at=premises.clock.wall(now))
    timeout = _timeout(plan, record)
    message = StartRun(
        scope=_scope(premises, record),
        plan=plan,
        executors=premises.places.of(plan),
        deadline=None if timeout is None else now + timeout,
        timeout=timeout,
        priority=record.priority,
        resumed=None,
        recorded=0,
        compensators=premises.places.of_compensators(plan),
        ways=premises.ways(plan),
        accepted_at=record.created_at,
    )
    return Request(plan.workflow_id, record.run_id, message, record)


def resumed_run(
    premises: Premises,
    plan: WorkflowPlan,
    recorded: RunSnapshot,
    events: Sequence[Event] | None = None,
) -> Request:
    """Return the request to resume a recorded run, or to start it if it had not started.

    Args:
        premises: The orchestrator.
        plan: The workflow.
        recorded: The run, as it was when it was claimed.
        events: Its events, if they are known.
    """
    events = premises.state.events(recorded.run_id) if events is None else events
    now, timeout = premises.clock.now(), _timeout(plan, recorded)
    message = StartRun(
        scope=_scope(premises, recorded),
        plan=plan,
        executors=premises.places.of(plan),
        deadline=None if timeout is None else now + timeout,
        timeout=timeout,
        priority=recorded.priority,
        resumed=None if recorded.status is RunStatus.PENDING else recorded,
        recorded=len(events),
        completed=_completed(events),
        compensators=premises.places.of_compensators(plan),
        ways=premises.ways(plan),
        accepted_at=recorded.created_at,
    )
    return Request(plan.workflow_id, recorded.run_id, message, None)


def _completed(events: Iterable[Event]) -> tuple[str, ...]:
    """Return the completed steps, in the order of their latest completion."""
    order: dict[str, None] = {}
    for event in events:
        if event.kind is EventKind.STEP_COMPLETED and event.step_id is not None:
            order.pop(event.step_id, None)
            order[event.step_id] = None
    return tuple(order)


def _scope(premises: Premises, known: RunRecord | RunSnapshot) -> RunScope:
    return RunScope(
        run_id=known.run_id,
        workflow_id=known.workflow_id,
        inputs=known.inputs,
        metadata=known.metadata,
        variables=contextvars.copy_context(),
        now=premises.clock.now,
        trace_id=known.trace_id,
        correlation_id=known.correlation_id,
        business_id=known.business_id,
    )


def _timeout(plan: WorkflowPlan, known: RunRecord | RunSnapshot) -> float | None:
    return plan.timeout if known.timeout is None else known.timeout
