"""The states of runs and steps, and one table of moves for each.

A run and a step are small state machines that are driven by events. Everything that happens is an
event (`actorflow.model.events`), and an event either moves a machine or is refused: a status
changes in no other way. The two tables below therefore define completely what may follow what.
The diagrams in the documentation are drawn from them, the simulation measures how many of their
edges it has covered, and the recorded events of a run fold back to its statuses.

Four things help to read the tables:

* A step that waits for its next attempt is `retrying` during its backoff, and `ready` again when
  it waits for a worker.
* `step.timed_out` and `step.abandoned` are facts about an attempt. They do not move the step. Its
  next move (another attempt, `failed`, `skipped`) is a separate event.
* A step that waits for a child run or a message stays `running`. `step.suspended` says that it has
  given back what it held, `step.continued` that it has it again. `step.awaiting`, `step.received`
  and `step.expired` say of each wait for a message that it has begun, and how it has ended.
* A paused run keeps its status. `run.paused` says that nothing of it starts until `run.unpaused`.
* A step that is being undone is still `completed`. The events of its compensator are facts about
  attempts, with kinds of their own, until the step is `compensated` or `compensation_failed`.
* The settled statuses of a step absorb, and so do the terminal ones of a run. A failed or
  cancelled run can still be resumed: `run.resumed` starts it again, steps that had an outcome
  (`KEPT`) keep it, and the others start afresh. So can a running one whose orchestrator is gone.
  If another orchestrator takes it over, the attempts of unsettled steps are counted on, and a step
  that has failed stays failed. A compensating run keeps compensating; its outcome is already
  decided.
* A completed run moves once more if it is a child whose parent is undone: it is compensated with
  its parent, and then it is cancelled.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from actorflow.errors.running import IllegalMove

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = [
    "COMPENSATION_KINDS",
    "KEPT",
    "RUN_MOVES",
    "STEP_MOVES",
    "EventKind",
    "RunStatus",
    "StepStatus",
    "kept_by",
    "move_run",
    "move_step",
]


class EventKind(enum.StrEnum):
    """The kinds of events."""

    RUN_ACCEPTED = "run.accepted"
    RUN_STARTED = "run.started"
    RUN_RESUMED = "run.resumed"
    RUN_PAUSED = "run.paused"
    RUN_UNPAUSED = "run.unpaused"
    RUN_COMPENSATING = "run.compensating"
    RUN_COMPLETED = "run.completed"
    RUN_FAILED = "run.failed"
    RUN_CANCELLED = "run.cancelled"
    STEP_READY = "step.ready"
    STEP_STARTED = "step.started"
    STEP_RETRYING = "step.retrying"
    STEP_TIMED_OUT = "step.timed_out"
    STEP_ABANDONED = "step.abandoned"
    STEP_BLOCKING = "step.blocking"
    STEP_SUSPENDED = "step.suspended"
    STEP_CONTINUED = "step.continued"
    STEP_AWAITING = "step.awaiting"
    STEP_RECEIVED = "step.received"
    STEP_EXPIRED = "step.expired"
    STEP_COMPLETED = "step.completed"
    STEP_FAILED = "step.failed"
    STEP_SKIPPED = "step.skipped"
    STEP_CANCELLED = "step.cancelled"
    COMPENSATION_STARTED = "compensation.started"
    COMPENSATION_RETRYING = "compensation.retrying"
    COMPENSATION_TIMED_OUT = "compensation.timed_out"
    COMPENSATION_ABANDONED = "compensation.abandoned"
    COMPENSATION_BLOCKING = "compensation.blocking"
    COMPENSATION_SUSPENDED = "compensation.suspended"
    COMPENSATION_CONTINUED = "compensation.continued"
    COMPENSATION_AWAITING = "compensation.awaiting"
    COMPENSATION_RECEIVED = "compensation.received"
    COMPENSATION_EXPIRED = "compensation.expired"
    COMPENSATION_COMPLETED = "compensation.completed"
    COMPENSATION_FAILED = "compensation.failed"

    # Enum hashes in Python code. These are keys on the hot path, so they hash as their strings do.
    __hash__ = str.__hash__


class StepStatus(enum.StrEnum):
    """The status of a step in a run."""

    PENDING = "pending"
    READY = "ready"
    RUNNING = "running"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    COMPENSATED = "compensated"
    COMPENSATION_FAILED = "compensation_failed"

    __hash__ = str.__hash__

    @property
    def settled(self) -> bool:
        """Whether the step will not run again in this run."""
        return self not in _UNSETTLED


class RunStatus(enum.StrEnum):
    """The status of a run."""

    PENDING = "pending"
    RUNNING = "running"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    __hash__ = str.__hash__

    @property
    def terminal(self) -> bool:
        """Whether the run has ended."""
        return self in _TERMINAL


_TERMINAL: Final = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})
KEPT: Final = frozenset({StepStatus.COMPLETED, StepStatus.SKIPPED})
"""The statuses that a step keeps when its run is resumed."""
_KEPT_FAILURE: Final = KEPT | {StepStatus.FAILED, StepStatus.CANCELLED}
_UNSETTLED: Final = frozenset(
    {StepStatus.PENDING, StepStatus.READY, StepStatus.RUNNING, StepStatus.RETRYING}
)

STEP_MOVES: Final[Mapping[StepStatus, Mapping[EventKind, StepStatus]]] = {
    StepStatus.PENDING: {
        EventKind.STEP_READY: StepStatus.READY,
        EventKind.STEP_FAILED: StepStatus.FAILED,
        EventKind.STEP_SKIPPED: StepStatus.SKIPPED,
        EventKind.STEP_CANCELLED: StepStatus.CANCELLED,
    },
    StepStatus.READY: {
        EventKind.STEP_STARTED: StepStatus.RUNNING,
        EventKind.STEP_TIMED_OUT: StepStatus.READY,
        EventKind.STEP_FAILED: StepStatus.FAILED,
        EventKind.STEP_SKIPPED: StepStatus.SKIPPED,
        EventKind.STEP_CANCELLED: StepStatus.CANCELLED,
    },
    StepStatus.RUNNING: {
        EventKind.STEP_TIMED_OUT: StepStatus.RUNNING,
        EventKind.STEP_ABANDONED: StepStatus.RUNNING,
        EventKind.STEP_BLOCKING: StepStatus.RUNNING,
        EventKind.STEP_SUSPENDED: StepStatus.RUNNING,
        EventKind.STEP_CONTINUED: StepStatus.RUNNING,
        EventKind.STEP_AWAITING: StepStatus.RUNNING,
        EventKind.STEP_RECEIVED: StepStatus.RUNNING,
        EventKind.STEP_EXPIRED: StepStatus.RUNNING,
        EventKind.STEP_RETRYING: StepStatus.RETRYING,
        EventKind.STEP_COMPLETED: StepStatus.COMPLETED,
        EventKind.STEP_FAILED: StepStatus.FAILED,
        EventKind.STEP_SKIPPED: StepStatus.SKIPPED,
        EventKind.STEP_CANCELLED: StepStatus.CANCELLED,
    },
    StepStatus.RETRYING: {
        EventKind.STEP_READY: StepStatus.READY,
        EventKind.STEP_TIMED_OUT: StepStatus.RETRYING,
        EventKind.STEP_FAILED: StepStatus.FAILED,
        EventKind.STEP_SKIPPED: StepStatus.SKIPPED,
        EventKind.STEP_CANCELLED: StepStatus.CANCELLED,
    },
    StepStatus.COMPLETED: {
        EventKind.COMPENSATION_STARTED: StepStatus.COMPLETED,
        EventKind.COMPENSATION_RETRYING: StepStatus.COMPLETED,
        EventKind.COMPENSATION_TIMED_OUT: StepStatus.COMPLETED,
        EventKind.COMPENSATION_ABANDONED: StepStatus.COMPLETED,
        EventKind.COMPENSATION_BLOCKING: StepStatus.COMPLETED,
        EventKind.COMPENSATION_SUSPENDED: StepStatus.COMPLETED,
        EventKind.COMPENSATION_CONTINUED: StepStatus.COMPLETED,
        EventKind.COMPENSATION_AWAITING: StepStatus.COMPLETED,
        EventKind.COMPENSATION_RECEIVED: StepStatus.COMPLETED,
        EventKind.COMPENSATION_EXPIRED: StepStatus.COMPLETED,
        EventKind.COMPENSATION_COMPLETED: StepStatus.COMPENSATED,
        EventKind.COMPENSATION_FAILED: StepStatus.COMPENSATION_FAILED,
    },
    StepStatus.FAILED: {},
    StepStatus.SKIPPED: {},
    StepStatus.CANCELLED: {},
    StepStatus.COMPENSATED: {},
    StepStatus.COMPENSATION_FAILED: {},
}

COMPENSATION_KINDS: Final[Mapping[EventKind, EventKind | None]] = {
    EventKind.STEP_READY: None,
    EventKind.STEP_STARTED: EventKind.COMPENSATION_STARTED,
    EventKind.STEP_RETRYING: EventKind.COMPENSATION_RETRYING,
    EventKind.STEP_TIMED_OUT: EventKind.COMPENSATION_TIMED_OUT,
    EventKind.STEP_ABANDONED: EventKind.COMPENSATION_ABANDONED,
    EventKind.STEP_BLOCKING: EventKind.COMPENSATION_BLOCKING,
    EventKind.STEP_SUSPENDED: EventKind.COMPENSATION_SUSPENDED,
    EventKind.STEP_CONTINUED: EventKind.COMPENSATION_CONTINUED,
    EventKind.STEP_AWAITING: EventKind.COMPENSATION_AWAITING,
    EventKind.STEP_RECEIVED: EventKind.COMPENSATION_RECEIVED,
    EventKind.STEP_EXPIRED: EventKind.COMPENSATION_EXPIRED,
    EventKind.STEP_COMPLETED: EventKind.COMPENSATION_COMPLETED,
    EventKind.STEP_FAILED: EventKind.COMPENSATION_FAILED,
    EventKind.STEP_CANCELLED: None,
}
"""A compensator moves like a step. Its step records these events for it; None records nothing."""

RUN_MOVES: Final[Mapping[RunStatus, Mapping[EventKind, RunStatus]]] = {
    RunStatus.PENDING: {
        EventKind.RUN_ACCEPTED: RunStatus.PENDING,
        EventKind.RUN_STARTED: RunStatus.RUNNING,
        EventKind.RUN_PAUSED: RunStatus.PENDING,
        EventKind.RUN_UNPAUSED: RunStatus.PENDING,
        EventKind.RUN_FAILED: RunStatus.FAILED,
        EventKind.RUN_CANCELLED: RunStatus.CANCELLED,
    },
    RunStatus.RUNNING: {
        EventKind.RUN_COMPENSATING: RunStatus.COMPENSATING,
        EventKind.RUN_COMPLETED: RunStatus.COMPLETED,
        EventKind.RUN_FAILED: RunStatus.FAILED,
        EventKind.RUN_CANCELLED: RunStatus.CANCELLED,
        EventKind.RUN_RESUMED: RunStatus.RUNNING,
        EventKind.RUN_PAUSED: RunStatus.RUNNING,
        EventKind.RUN_UNPAUSED: RunStatus.RUNNING,
    },
    RunStatus.COMPENSATING: {
        EventKind.RUN_FAILED: RunStatus.FAILED,
        EventKind.RUN_CANCELLED: RunStatus.CANCELLED,
        EventKind.RUN_RESUMED: RunStatus.COMPENSATING,
        EventKind.RUN_PAUSED: RunStatus.COMPENSATING,
        EventKind.RUN_UNPAUSED: RunStatus.COMPENSATING,
    },
    RunStatus.COMPLETED: {EventKind.RUN_COMPENSATING: RunStatus.COMPENSATING},
    RunStatus.FAILED: {EventKind.RUN_RESUMED: RunStatus.RUNNING},
    RunStatus.CANCELLED: {EventKind.RUN_RESUMED: RunStatus.RUNNING},
}


def kept_by(statuses: Collection[StepStatus], *, taken_over: bool) -> frozenset[StepStatus]:
    """Return the statuses that steps keep when their run is resumed.

    A run that is taken over after a step has failed goes on to fail.

    Args:
        statuses: The statuses of its steps.
        taken_over: Whether an orchestrator has taken it over; otherwise a person resumes it.
    """
    return _KEPT_FAILURE if taken_over and StepStatus.FAILED in statuses else KEPT


def move_step(step_id: str, status: StepStatus, kind: EventKind) -> StepStatus:
    """Return the status that follows `status` when `kind` happens.

    Raises:
        IllegalMove: When the table has no such move.
    """
    try:
        return STEP_MOVES[status][kind]
    except KeyError:
        raise IllegalMove(f"step {step_id!r}", status.value, kind.value) from None


def move_run(run_id: str, status: RunStatus, kind: EventKind) -> RunStatus:
    """Return the status that follows `status` when `kind` happens.

    Raises:
        IllegalMove: When the table has no such move.
    """
    try:
        return RUN_MOVES[status][kind]
    except KeyError:
        raise IllegalMove(f"run {run_id!r}", status.value, kind.value) from None
