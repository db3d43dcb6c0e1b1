"""Requests: the arguments of a start, checked and turned into a record and a message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

import attrs

from actorflow.errors.running import TakenOverTooOften
from actorflow.model.context import Children, Mailroom, RunScope
from actorflow.model.lifecycle import EventKind, RunStatus
from actorflow.model.mail import Receipts
from actorflow.model.messages import StartPaused, StartRun
from actorflow.model.past import Past
from actorflow.model.pausing import Pausing
from actorflow.model.powers import KeepsAttributes
from actorflow.model.requests import RunOptions, check_names, new_record
from actorflow.orchestrator.callers import variables
from actorflow.orchestrator.powers import lacks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.definition.workflow import Workflow
    from actorflow.model.context import Attempt
    from actorflow.model.events import Event
    from actorflow.model.protocols import Clock, Executor, StateManager
    from actorflow.model.records import Parent, RunRecord, RunSnapshot

__all__ = [
    "Call",
    "Link",
    "Places",
    "Premises",
    "Request",
    "RunOptions",
    "new_run",
    "resumed_run",
    "undone_run",
]


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

    @property
    def children(self) -> Children | None:
        """Starts child runs; None where steps cannot have any."""

    @property
    def mail(self) -> Mailroom | None:
        """Passes messages to steps; None where steps cannot have any."""

    @property
    def keeps_attributes(self) -> bool:
        """Whether the state manager keeps the attributes of runs."""

    def ways(self, plan: WorkflowPlan) -> Mapping[str, float] | None:
        """Return the longest way from each step to the end, if steps are ranked by it."""


class Link(NamedTuple):
    """The link between a run and the step that starts it."""

    parent: Parent
    scope: RunScope
    """The parent run."""

    def inherited(self, plan: WorkflowPlan, options: RunOptions) -> RunOptions:
        """Return the options of the child: those of the parent where it has none of its own."""
        check_names(plan, options)
        scope = self.scope
        known: dict[str, Any] = {
            "priority": scope.priority,
            "trace_id": scope.trace_id,
            "correlation_id": scope.correlation_id,
            "business_id": scope.business_id,
        }
        given = {name: value for name, value in options.items() if value is not None}
        metadata = given.pop("metadata", None)
        if metadata is None or isinstance(metadata, Mapping):
            metadata = {**scope.metadata, **(metadata or {})}
        merged: Any = {**known, **given, "metadata": metadata}
        return cast("RunOptions", merged)

    def left(self, now: float) -> float | None:
        """Return the seconds until the parent's deadline; None if it has none."""
        deadline = self.scope.deadline
        return None if deadline is None else max(0.0, deadline - now)


class Call(NamedTuple):
    """A call with which a step starts a child."""

    attempt: Attempt
    flow: Workflow | str
    inputs: Mapping[str, Any] | None
    options: RunOptions
    name: str
    """What distinguishes it from other calls of the step."""
    repeated: bool
    """Whether the child may have been started before."""


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
    *,
    run_id: str | None = None,
    link: Link | None = None,
) -> Request:
    """Check the arguments of a start.

    Args:
        premises: The orchestrator.
        plan: The workflow.
        inputs: The inputs.
        options: The other arguments.
        run_id: The id of the run; a new unique one by default.
        link: The step that starts it, if one does.

    Raises:
        DefinitionError: When an argument is invalid.
        TypeError: When an option does not exist.
        MissingInput: When a step takes an input that is missing.
        UnknownInput: When no step takes an input.
        UnknownExecutor: When a step names an executor that does not exist.
    """
    if link is not None:
        options = link.inherited(plan, options)
    now = premises.clock.now()
    record = new_record(
        plan,
        inputs,
        options,
        run_id=run_id,
        created_at=premises.clock.wall(now),
        parent=None if link is None else link.parent,
    )
    if record.attributes and not premises.keeps_attributes:
        raise lacks(premises.state, "attributes=", KeepsAttributes)
    timeout = _timeout(plan, record)
    if link is not None and (left := link.left(now)) is not None:
        timeout = left if timeout is None else min(timeout, left)
        record = attrs.evolve(record, timeout=timeout)
    deadline = None if timeout is None else now + timeout
    message = StartRun(
        scope=_scope(premises, record, deadline),
        plan=plan,
        executors=premises.places.of(plan),
        deadline=deadline,
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
    *,
    events: Sequence[Event] | None = None,
    max_takeovers: int | None = None,
    undo: str | None = None,
) -> Request:
    """Return the request to resume a recorded run, or to start it if it had not started.

    Args:
        premises: The orchestrator.
        plan: The workflow.
        recorded: The run, as it was when it was claimed.
        events: Its events, if they are known.
        max_takeovers: How often the run may be taken over in a row; None if a person resumes it,
            which sets the counts back.
        undo: Why the run is undone, if it is one that has completed.
    """
    events = premises.state.events(recorded.run_id) if events is None else events
    past = None if max_takeovers is None else Past.of(events, recorded.takeovers)
    now, timeout = premises.clock.now(), _timeout(plan, recorded)
    deadline = None if timeout is None else now + timeout
    if timeout is not None and past is not None and recorded.deadline_at is not None:
        # It has been evicted, and its timeout went on. A person may have resumed it since.
        at = max(recorded.deadline_at, _begun(events) + timeout)
        deadline = now + max(0.0, at - premises.clock.wall(now))
    message = StartRun(
        scope=_scope(premises, recorded, deadline, resumed=True),
        plan=plan,
        executors=premises.places.of(plan),
        deadline=deadline,
        timeout=timeout,
        priority=recorded.priority,
        resumed=None if recorded.status is RunStatus.PENDING else recorded,
        recorded=len(events),
        completed=_completed(events),
        compensators=premises.places.of_compensators(plan),
        ways=premises.ways(plan),
        accepted_at=recorded.created_at,
        past=past,
        poison=_poison(recorded.run_id, past, max_takeovers),
        takeovers=recorded.takeovers,
        receipts=Receipts.of(events, () if past is None else past.again),
        undo=undo,
    )
    return Request(plan.workflow_id, recorded.run_id, _paused(message, recorded, events), None)


def _paused(message: StartRun, recorded: RunSnapshot, events: Iterable[Event]) -> StartRun:
    """Return the message for a run that may be paused."""
    pausing = Pausing.of(recorded, events)
    if pausing is None:
        return message
    known = {name: getattr(message, name) for name in StartRun.__match_args__}
    return StartPaused(**known, pausing=pausing)


def _begun(events: Sequence[Event]) -> float:
    """Return when a person resumed a run last; 0 if that never happened."""
    resumed = (it for it in reversed(events) if it.kind is EventKind.RUN_RESUMED)
    return next((it.time for it in resumed if not it.data.get("taken_over")), 0.0)


def undone_run(
    premises: Premises, plan: WorkflowPlan, recorded: RunSnapshot, reason: str
) -> Request:
    """Return the request to undo a run that has completed.

    Args:
        premises: The orchestrator.
        plan: The workflow.
        recorded: The run, as it was when it was claimed.
        reason: Why.
    """
    return resumed_run(premises, plan, recorded, undo=reason)


def _poison(run_id: str, past: Past | None, limit: int | None) -> TakenOverTooOften | None:
    if past is None or limit is None or len(past.crashes) <= limit:
        return None
    return TakenOverTooOften(run_id, past.crashes, limit)


def _completed(events: Iterable[Event]) -> tuple[str, ...]:
    """Return the completed steps, in the order of their latest completion."""
    order: dict[str, None] = {}
    for event in events:
        if event.kind is EventKind.STEP_COMPLETED and event.step_id is not None:
            order.pop(event.step_id, None)
            order[event.step_id] = None
    return tuple(order)


def _scope(
    premises: Premises,
    known: RunRecord | RunSnapshot,
    deadline: float | None,
    *,
    resumed: bool = False,
) -> RunScope:
    return RunScope(
        run_id=known.run_id,
        workflow_id=known.workflow_id,
        inputs=known.inputs,
        metadata=known.metadata,
        variables=variables(),
        now=premises.clock.now,
        trace_id=known.trace_id,
        correlation_id=known.correlation_id,
        business_id=known.business_id,
        priority=known.priority,
        deadline=deadline,
        root_run_id=None if known.parent is None else known.parent.root_run_id,
        generation=0 if known.parent is None else known.parent.generation,
        resumed=resumed,
        children=premises.children,
        mail=premises.mail,
    )


def _timeout(plan: WorkflowPlan, known: RunRecord | RunSnapshot) -> float | None:
    return plan.timeout if known.timeout is None else known.timeout
