"""The arguments of a start, checked and turned into the record of a run."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict

from actorflow.definition.arguments import LONGEST, flag, one_of, string, whole
from actorflow.definition.durations import seconds
from actorflow.errors.definition import DefinitionError
from actorflow.model.attributes import attributes_of
from actorflow.model.deferral import DEFERRING, deferral_of
from actorflow.model.records import RunRecord
from actorflow.support.read_only import NOTHING, ReadOnly
from actorflow.support.safe_text import text_of
from actorflow.support.suggestions import refuse_unknown_options

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.model.records import Parent
    from actorflow.model.terms import OnConflict, Reuse

__all__ = ["RunOptions", "check_names", "new_record", "new_run_id", "parent_end_of"]


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
    attributes: Mapping[str, str | int | float | bool] | None
    """What people find the run by, in `Orchestrator.list` and `actorflow runs list`: at most 64
    strings, numbers and bools by name. `Run.set_attributes` changes them later.
    """
    detached: bool
    """Whether a run that a step starts is not linked to the step's run; False by default. A linked
    run inherits the metadata, ids, priority and deadline of its parent.
    """
    on_parent_end: Literal["cancel", "abandon"]
    """What happens to a linked run when its parent fails or is cancelled: `"cancel"` it, by
    default, or `"abandon"` it, so that it goes on.
    """


def new_record(
    plan: WorkflowPlan,
    inputs: Mapping[str, Any] | None,
    options: RunOptions,
    *,
    created_at: float,
    run_id: str | None = None,
    parent: Parent | None = None,
) -> RunRecord:
    """Check the arguments of a start, and return the record of the run.

    Args:
        plan: The workflow.
        inputs: The inputs.
        options: The other arguments.
        created_at: Seconds since the epoch.
        run_id: The id of the run; a new unique one by default.
        parent: The step that starts it, if one does.

    Raises:
        DefinitionError: When an argument is invalid.
        TypeError: When an option does not exist.
        MissingInput: When a step takes an input that is missing.
        UnknownInput: When no step takes an input.
    """
    if options:
        check_names(plan, options)
    given = _mapping(plan, "inputs", inputs)
    metadata = _metadata(plan, options.get("metadata")) if options else plan.metadata
    plan.require(given)
    plan.recognise(given)
    given_none = not options and metadata is NOTHING
    varying = _NOTHING_VARIES if given_none else _varying(plan, options, metadata, created_at)
    return RunRecord(
        run_id=new_run_id() if run_id is None else run_id,
        workflow_id=plan.workflow_id,
        workflow_version=plan.version,
        step_ids=plan.step_ids,
        last_steps=plan.last_steps,
        inputs=given,
        metadata=metadata,
        created_at=created_at,
        **varying,
        parent=parent,
    )


_RANDOM_BITS: Final = ~(0xF << 76 | 0x3 << 62)
"""All but the version and the variant of a UUID."""
_VERSION_4: Final = 0x4 << 76 | 0x2 << 62
_FIELDS: Final = struct.Struct(">IHHHHI")
_FORMAT: Final = "{:08x}-{:04x}-{:04x}-{:04x}-{:04x}{:08x}"


def new_run_id() -> str:
    """Return a random UUID (RFC 4122, version 4), as `str(uuid.uuid4())` does in Python code."""
    bits = int.from_bytes(os.urandom(16), "big") & _RANDOM_BITS | _VERSION_4
    return _FORMAT.format(*_FIELDS.unpack(bits.to_bytes(16, "big")))


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
    flag(options.get("detached", False), "detached")
    parent_end_of(options, workflow_id)
    attributes = options.get("attributes")
    tagged = {} if attributes is None else {"attributes": attributes_of(attributes, workflow_id)}
    return {
        "priority": whole(options.get("priority", 0), "priority", workflow_id=workflow_id),
        "timeout": None if own is None else seconds(own, "timeout", workflow_id=workflow_id),
        "idempotency_key": key,
        **ids,
        **tagged,
        **deferral,
    }


def parent_end_of(options: RunOptions, workflow_id: str) -> Literal["cancel", "abandon"]:
    """Return what happens to a linked run when its parent fails or is cancelled.

    Raises:
        DefinitionError: When the option is neither `"cancel"` nor `"abandon"`.
    """
    value = options.get("on_parent_end", "cancel")
    return one_of(value, "on_parent_end", ("cancel", "abandon"), workflow_id=workflow_id)  # type: ignore[no-any-return]


def check_names(plan: WorkflowPlan, options: Mapping[str, Any]) -> None:
    """Refuse options that do not exist.

    Raises:
        TypeError: When there is one.
    """
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


def _key(plan: WorkflowPlan, value: object) -> str | None:
    if value is None:
        return None
    cure = "Pass a non-empty string that identifies the request"
    flow, longest = plan.workflow_id, LONGEST
    return string(value, "idempotency_key", cure, empty=False, longest=longest, workflow_id=flow)


def _id(
    plan: WorkflowPlan, name: str, options: RunOptions, metadata: Mapping[str, Any]
) -> str | None:
    """Return one of the three ids, from the argument or from the metadata."""
    value: object = options.get(name)
    value = metadata.get(name) if value is None else value
    if value is None:
        return None
    return string(value, name, longest=LONGEST, workflow_id=plan.workflow_id)
