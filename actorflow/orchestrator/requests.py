"""Requests: the arguments of a start, checked and turned into a record and a message."""

from __future__ import annotations

import contextvars
import os
import struct
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypedDict

from actorflow.definition.arguments import string, whole
from actorflow.definition.durations import seconds
from actorflow.errors.definition import DefinitionError
from actorflow.model.context import RunScope
from actorflow.model.lifecycle import EventKind, RunStatus
from actorflow.model.messages import StartRun
from actorflow.model.results import RunRecord
from actorflow.orchestrator.deferral import DEFERRING, deferral_of
from actorflow.support.read_only import NOTHING, ReadOnly
from actorflow.support.safe_text import text_of
from actorflow.support.suggestions import refuse_unknown_options

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.model.events import Event
    from actorflow.model.protocols import Clock, Executor, StateManager
    from actorflow.model.results import RunSnapshot
    from actorflow.model.terms import OnConflict, Reuse

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
    reuse: Reuse
    """When the idempotency key starts another run, which it then stands for: `"never"`, which is
    the default, or `"if_failed"`, when the earlier run has ended failed or cancelled.
    """
    expires: float | timedelta | None
    """Seconds after acceptance for which the idempotency key stands for the run; then it is free.
    By default it stands for ever, or in memory as long as the run is kept.
    """
    key: str | None
    """At most one run of the workflow with this key is in progress, and one more waits."""
    on_conflict: OnConflict
    """What happens when a run with this `key` is live. `"return"`, which is the default, returns
    it; the one in progress if there are two. `"reject"` raises `KeyInUse`. With `"queue"` the run
    waits until the one in progress has ended; if one waits already, it raises `KeyInUse`.
    `"replace_queued"` does the same, and cancels one that waits already. `"cancel_running"` also
    cancels the one in progress.
    """
    debounce: float | timedelta | None
    """With `key`: start so many seconds after the last such request, with the last inputs. All of
    these requests return the same run.
    """
    at: datetime | None
    """When the run may start; it is pending until then and holds no place. The datetime must have a
    time zone; one in the past means now.
    """
    delay: float | timedelta | None
    """The seconds until the run may start, in place of `at`."""


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
    if options:
        _check_names(plan, options)
    given = _mapping(plan, "inputs", inputs)
    metadata = _metadata(plan, options.get("metadata"))
    plan.require(given)
    plan.recognise(given)
    given_none = not options and metadata is NOTHING
    now = premises.clock.now()
    wall = premises.clock.wall(now)
    varying = _NOTHING_VARIES if given_none else _varying(plan, options, metadata, wall)
    record = RunRecord(
        run_id=new_run_id() if run_id is None else run_id,
        workflow_id=plan.workflow_id,
        workflow_version=plan.version,
        step_ids=plan.step_ids,
        last_steps=plan.last_steps,
        inputs=given,
        metadata=metadata,
        created_at=wall,
        **varying,
    )
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


def resumed_run(premises: Premises, plan: WorkflowPlan, recorded: RunSnapshot) -> Request:
    """Return the request to resume a recorded run, or to start it if it had not started.

    Args:
        premises: The orchestrator.
        plan: The workflow.
        recorded: The run, as it was when it was claimed.
    """
    events = premises.state.events(recorded.run_id)
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
    plan: WorkflowPlan, options: RunOptions, metadata: Mapping[str, Any], now: float
) -> dict[str, Any]:
    """Return the checked fields of a record in which runs of one workflow differ."""
    ids = {name: _id(plan, name, options, metadata) for name in _IDS}
    own, workflow_id = options.get("timeout"), plan.workflow_id
    key = _key(plan, options.get("idempotency_key"))
    deferral = {} if DEFERRING.isdisjoint(options) else deferral_of(options, now, workflow_id, key)
    return {
        "priority": whole(options.get("priority", 0), "priority", workflow_id=workflow_id),
        "timeout": None if own is None else seconds(own, "timeout", workflow_id=workflow_id),
        "idempotency_key": key,
        **ids,
        **deferral,
    }


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
