"""The records of runs: what was accepted, who owns it, and how it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import attrs

from actorflow.model.lifecycle import StepStatus
from actorflow.model.results import elapsed
from actorflow.model.terms import NO_TERMS, StartTerms
from actorflow.support.read_only import NOTHING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actorflow.model.lifecycle import RunStatus
    from actorflow.model.results import StepResult

__all__ = [
    "Parent",
    "RunOwner",
    "RunPage",
    "RunRecord",
    "RunSnapshot",
]

_EMPTY: Final[Mapping[str, Any]] = NOTHING


@attrs.frozen(kw_only=True)
class Parent:
    """The step that started a run, and how the two are linked."""

    run_id: str
    """The id of the parent run."""
    step_id: str
    """The id of the step that started it."""
    root_run_id: str
    """The id of the first run of the family: that of the parent, unless it has a parent itself."""
    call: str
    """What distinguishes it from other children of the step."""
    on_end: Literal["cancel", "abandon"] = "cancel"
    """What happens to it when the parent fails or is cancelled."""
    compensates: bool = False
    """Whether the compensator of the step has started it; such a child is never undone."""
    generation: int = 1
    """How many runs are above it, up to the first one of its family."""


# A frozen class fills a dictionary in half the time of slots. One is made for every run.
@attrs.frozen(kw_only=True, slots=False)
class RunRecord:
    """A run as it was accepted: all that never changes, and its attributes."""

    run_id: str
    workflow_id: str
    workflow_version: str
    step_ids: Sequence[str]
    """In topological order."""
    last_steps: Sequence[str]
    """The ids of the steps that no other step waits for."""
    inputs: Mapping[str, Any]
    metadata: Mapping[str, Any]
    priority: int
    created_at: float
    """Seconds since the epoch."""
    trace_id: str | None
    correlation_id: str | None
    business_id: str | None
    timeout: float | None = None
    """The timeout in seconds that this run was given; None for that of its workflow."""
    idempotency_key: str | None = None
    """Starting the same workflow again with the same key means this run."""
    attributes: Mapping[str, str | int | float | bool] = _EMPTY
    """What people find the run by; these may change later."""
    parent: Parent | None = None
    """The step that started it, if one did."""
    start_at: float | None = None
    """When the run may start, in seconds since the epoch; None for a run that starts as soon as
    there is a place for it. A run with a `key` always has such a time.
    """
    key: str | None = None
    """The key of which one run of the workflow may be in progress, and one more may wait."""
    terms: StartTerms = NO_TERMS
    """What the start asked for when others with its keys are there."""


@attrs.frozen(kw_only=True)
class RunOwner:
    """The owner of a run in progress: the state manager whose orchestrator runs it, and where.

    It is what the record says. If the owner's process was killed, the run keeps this owner until
    another one takes it over.
    """

    id: str
    """The state manager's id; each one generates a new id."""
    host: str | None = None
    """The name of its machine; None when an earlier version wrote it."""
    pid: int | None = None
    """The id of its process there; None when an earlier version wrote it."""
    since: float | None = None
    """Since when it has owned the run, in seconds since the epoch; None when an earlier version
    wrote it.
    """
    lease_until: float = 0.0
    """When its lease ends unless it is renewed, in seconds since the epoch, by the clock of the
    database.
    """


@attrs.frozen(kw_only=True)
class RunSnapshot:
    """A run as it stood at one instant."""

    run_id: str
    workflow_id: str
    workflow_version: str
    status: RunStatus
    inputs: Mapping[str, Any] = _EMPTY
    metadata: Mapping[str, Any] = _EMPTY
    priority: int = 0
    timeout: float | None = None
    """The timeout in seconds that this run was given, from its start or resumption; None for that
    of its workflow.
    """
    steps: Mapping[str, StepResult] = _EMPTY
    """By step id, in topological order. Empty in a `RunPage`, which lists summaries."""
    last_steps: Sequence[str] = ()
    """The ids of the steps that no other step waits for."""
    error: BaseException | None = None
    failed_step: str | None = None
    reason: str | None = None
    """Why the run was cancelled."""
    compensations: Sequence[str] = ()
    """The ids of the steps to undo, in that order."""
    created_at: float = 0.0
    """When the run was accepted, in seconds since the epoch."""
    started_at: float | None = None
    finished_at: float | None = None
    trace_id: str | None = None
    correlation_id: str | None = None
    business_id: str | None = None
    parked: str | None = None
    """Why no orchestrator runs it, although it has not ended; see `Orchestrator(recover=True)`."""
    takeovers: int = 0
    """How often it has been taken over from an owner that was gone, in all; 0 where runs have no
    owners. `Orchestrator(max_takeovers=)` counts those in a row.
    """
    attributes: Mapping[str, str | int | float | bool] = _EMPTY
    """What people find the run by; see `Run.set_attributes`."""
    parked_since: float | None = None
    """When it was parked, in seconds since the epoch; None as well if an earlier version did it."""
    waiting: str | None = None
    """What the run waits for, if it has been evicted from memory; None for any other run. See
    `Orchestrator(evict_after=)`.
    """
    waiting_since: float | None = None
    """Since when, in seconds since the epoch."""
    deadline_at: float | None = None
    """When its timeout passes, in seconds since the epoch; only known once it has been evicted."""
    paused: str | None = None
    """Why the run is paused; None for any other run. It is what was asked for: an orchestrator that
    runs it may have to hear of that first.
    """
    paused_since: float | None = None
    """Since when, in seconds since the epoch."""
    frozen: bool = False
    """Whether the clocks of a paused run stand still; see `Run.pause`."""
    owner: RunOwner | None = None
    """Which process runs it, in a database that several may share; None for a run that waits for an
    owner, for one that has ended, and in memory.
    """
    parent: Parent | None = None
    """The step that started it, if one did."""
    start_at: float | None = None
    """When the run may start, or could, in seconds since the epoch; None if that was at once."""
    key: str | None = None
    """The `key` that the run was started with."""

    @property
    def parent_run_id(self) -> str | None:
        """The id of the run whose step started it, if one did."""
        return None if self.parent is None else self.parent.run_id

    @property
    def parent_step_id(self) -> str | None:
        """The id of the step that started it, if one did."""
        return None if self.parent is None else self.parent.step_id

    @property
    def root_run_id(self) -> str:
        """The id of the first run of its family; its own id if no step started it."""
        return self.run_id if self.parent is None else self.parent.root_run_id

    @property
    def outputs(self) -> Mapping[str, Any]:
        """The outputs of the completed steps, by step id."""
        return {
            step_id: step.output
            for step_id, step in self.steps.items()
            if step.status is StepStatus.COMPLETED
        }

    @property
    def duration(self) -> float | None:
        """Seconds from the run's start to its end."""
        return elapsed(self.started_at, self.finished_at)


@attrs.frozen(kw_only=True)
class RunPage:
    """One page of a listing."""

    runs: Sequence[RunSnapshot]
    total: int
    """How many runs match the filters in all, on this page and on others."""
    next_cursor: str | None = None
    """The `cursor` of the page that follows; None on the last page, and from a state manager that
    has no cursors.
    """
