"""Requests: the arguments of a start, checked and turned into a record and a message."""

from __future__ import annotations

import contextvars
import os
import struct
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, TypedDict, cast

from actorflow.definition.arguments import string, whole
from actorflow.definition.durations import seconds
from actorflow.errors.definition import DefinitionError
from actorflow.model.context import Children, RunScope
from actorflow.model.lifecycle import EventKind, RunStatus
from actorflow.model.messages import StartRun
from actorflow.model.results import RunRecord
from actorflow.support.read_only import NOTHING, ReadOnly
from actorflow.support.safe_text import text_of
from actorflow.support.suggestions import refuse_unknown_options

if TYPE_CHECKING:
    from datetime import timedelta

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.definition.workflow import Workflow
    from actorflow.model.context import Attempt
    from actorflow.model.events import Event
    from actorflow.model.protocols import Clock, Executor, StateManager
    from actorflow.model.results import Parent, RunSnapshot

__all__ = [
    "Call",
    "Link",
    "Places",
    "Premises",
    "Request",
    "RunOptions",
    "new_run",
    "on_parent_end",
    "resumed_run",
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

    def ways(self, plan: WorkflowPlan) -> Mapping[str, float] | None:
        """Return the longest way from each step to the end, if steps are ranked by it."""


class RunOptions(TypedDict, total=False):
    """The options by which a run differs from others of its workflow."""

    metadata: Mapping[str, Any] | None
    """Data that belongs to the run without being an input. Steps see it as `ctx.metadata`, merged
    over the metadata of the workflow.
    """
    timeout: float | timedelta | None
    """Seconds from now within which the run must end; that of the workflow by default. A resumed
    run gets as many again.
    """
    priority: int
    """Higher goes first, among waiting runs and among their ready steps; 0 by default."""
    trace_id: str | None
    """In the steps' contexts, the logs, the events and the filters; so are the next two."""
    correlation_id: str | None
    business_id: str | None
    idempotency_key: str | None
    """If an earlier run of the workflow was started with the same key, that run is returned and
    nothing is started, whatever the other arguments are.
    """
    detached: bool
    """Whether a run that a step starts is not linked to the step's run; False by default. A linked
    run inherits the metadata, ids, priority and deadline of its parent.
    """
    on_parent_end: Literal["cancel", "abandon"]
    """What happens to a linked run when its parent fails or is cancelled: `"cancel"` it, by
    default, or `"abandon"` it, so that it goes on.
    """


class Link(NamedTuple):
    """The link between a run and the step that starts it."""

    parent: Parent
    scope: RunScope
    """The parent run."""

    def inherited(self, options: RunOptions) -> RunOptions:
        """Return the options of the child: those of the parent where it has none of its own."""
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

    def earlier(self, deadline: float | None) -> float | None:
        """Return the earlier of a deadline and the parent's."""
        parent = self.scope.deadline
        if parent is None or deadline is None:
            return deadline if parent is None else parent
        return min(deadline, parent)


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
    if options:
        _check_names(plan, options)
    if link is not None:
        options = link.inherited(options)
    given = _mapping(plan, "inputs", inputs)
    metadata = _metadata(plan, options.get("metadata"))
    plan.require(given)
    plan.recognise(given)
    given_none = not options and metadata is NOTHING
    varying = _NOTHING_VARIES if given_none else _varying(plan, options, metadata)
    now = premises.clock.now()
    record = RunRecord(
        run_id=new_run_id() if run_id is None else run_id,
        workflow_id=plan.workflow_id,
        workflow_version=plan.version,
        step_ids=plan.step_ids,
        last_steps=plan.last_steps,
        inputs=given,
        metadata=metadata,
        created_at=premises.clock.wall(now),
        **varying,
        parent=None if link is None else link.parent,
    )
    timeout = _timeout(plan, record)
    deadline = None if timeout is None else now + timeout
    if link is not None:
        deadline = link.earlier(deadline)
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


def resumed_run(premises: Premises, plan: WorkflowPlan, recorded: RunSnapshot) -> Request:
    """Return the request to resume a recorded run, or to start it if it had not started.

    Args:
        premises: The orchestrator.
        plan: The workflow.
        recorded: The run, as it was when it was claimed.
    """
    events = premises.state.events(recorded.run_id)
    now, timeout = premises.clock.now(), _timeout(plan, recorded)
    deadline = None if timeout is None else now + timeout
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
    )
    return Request(plan.workflow_id, recorded.run_id, message, None)


_RANDOM_BITS: Final = ~(0xF << 76 | 0x3 << 62)
"""All but the version and the variant of a UUID."""
_VERSION_4: Final = 0x4 << 76 | 0x2 << 62
_FIELDS: Final = struct.Struct(">IHHHHI")
_FORMAT: Final = "{:08x}-{:04x}-{:04x}-{:04x}-{:04x}{:08x}"


def new_run_id() -> str:
    """Return a random UUID (RFC 4122, version 4), as `str(uuid.uuid4())` does in Python code."""
    bits = int.from_bytes(os.urandom(16), "big") & _RANDOM_BITS | _VERSION_4
    return _FORMAT.format(*_FIELDS.unpack(bits.to_bytes(16, "big")))


def _completed(events: Iterable[Event]) -> tuple[str, ...]:
    """Return the completed steps, in the order of their latest completion."""
    order: dict[str, None] = {}
    for event in events:
        if event.kind is EventKind.STEP_COMPLETED and event.step_id is not None:
            order.pop(event.step_id, None)
            order[event.step_id] = None
    return tuple(order)


_IDS: Final = ("trace_id", "correlation_id", "business_id")
_NOTHING_VARIES: Final[Mapping[str, Any]] = {"priority": 0, **dict.fromkeys(_IDS)}
"""The fields of `_varying` for a run without options and metadata, which most are."""


def _varying(
    plan: WorkflowPlan, options: RunOptions, metadata: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the checked fields of a record in which runs of one workflow differ."""
    ids = {name: _id(plan, name, options, metadata) for name in _IDS}
    own, workflow_id = options.get("timeout"), plan.workflow_id
    return {
        "priority": whole(options.get("priority", 0), "priority", workflow_id=workflow_id),
        "timeout": None if own is None else seconds(own, "timeout", workflow_id=workflow_id),
        "idempotency_key": _key(plan, options.get("idempotency_key")),
        **ids,
    }


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
        variables=contextvars.copy_context(),
        now=premises.clock.now,
        trace_id=known.trace_id,
        correlation_id=known.correlation_id,
        business_id=known.business_id,
        priority=known.priority,
        deadline=deadline,
        root_run_id=None if known.parent is None else known.parent.root_run_id,
        resumed=resumed,
        children=premises.children,
    )


def on_parent_end(plan: WorkflowPlan, options: RunOptions) -> Literal["cancel", "abandon"]:
    """Return what happens to a child when its parent fails or is cancelled.

    Raises:
        DefinitionError: When the option is neither `"cancel"` nor `"abandon"`.
    """
    value = options.get("on_parent_end", "cancel")
    if value not in ("cancel", "abandon"):
        problem = f'on_parent_end must be "cancel" or "abandon", not {text_of(value)}'
        raise DefinitionError(plan.workflow_id, problem, "")
    return value


def _check_names(plan: WorkflowPlan, options: Mapping[str, Any]) -> None:
    known = tuple(RunOptions.__annotations__)
    for name in options:
        if name not in known and name in plan.inputs:
            raise TypeError(
                f"{name!r} is an input of workflow {plan.workflow_id!r}, not an option of run(). "
                f"Pass inputs as a mapping before the options: {{{name!r}: ...}}"
            )
    hint = "Inputs are passed as a mapping, before the options."
    refuse_unknown_options("a run", options, known, hint)


def _mapping(plan: WorkflowPlan, name: str, value: object) -> Mapping[str, Any]:
    given = {} if value is None else value
    if type(given) is not dict and not isinstance(given, Mapping):  # the second is slower
        raise DefinitionError(
            plan.workflow_id, f"{name}={text_of(value)} is not a mapping", "Pass values by name"
        )
    for key in given:
        if not isinstance(key, str):
            problem = f"{name} has the name {text_of(key)}, which is not a string"
            raise DefinitionError(plan.workflow_id, problem, "Name each value by a string")
    return ReadOnly(given)


def _metadata(plan: WorkflowPlan, own: object) -> Mapping[str, Any]:
    if own is None:
        return plan.metadata
    return ReadOnly({**plan.metadata, **_mapping(plan, "metadata", own)})


def _timeout(plan: WorkflowPlan, known: RunRecord | RunSnapshot) -> float | None:
    return plan.timeout if known.timeout is None else known.timeout


def _key(plan: WorkflowPlan, value: object) -> str | None:
    if value is None:
        return None
    cure = "Pass a non-empty string that identifies the request"
    return string(value, "idempotency_key", cure, empty=False, workflow_id=plan.workflow_id)


def _id(
    plan: WorkflowPlan, name: str, options: RunOptions, metadata: Mapping[str, Any]
) -> str | None:
    """Return one of the three ids, from the argument or from the metadata."""
    value: object = options.get(name)
    value = metadata.get(name) if value is None else value
    return None if value is None else string(value, name, workflow_id=plan.workflow_id)
