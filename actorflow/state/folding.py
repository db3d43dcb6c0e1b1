"""The fold of a run's events, which gives its state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from actorflow.model.attempts import AttemptResult, cut_off, ended, latest_ended
from actorflow.model.lifecycle import (
    EventKind,
    RunStatus,
    StepStatus,
    kept_by,
    move_run,
    move_step,
)
from actorflow.model.records import RunRecord, RunSnapshot
from actorflow.model.results import StepResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from actorflow.model.events import Event

__all__ = ["RunFold", "StepFold", "fold", "with_attempts"]

_ACCEPTED: Final = {field.name for field in attrs.fields(RunRecord)} & {
    field.name for field in attrs.fields(RunSnapshot)
}
"""The fields of a snapshot that come from the accepted run."""


def fold(record: RunRecord, events: Iterable[Event]) -> RunSnapshot:
    """Return the state of a run after `events`.

    Raises:
        IllegalMove: When the events are not those of one run, in order and without gaps.
    """
    run = RunFold(record)
    for event in events:
        if event.step_id is None:
            run.take(event)
        else:
            run.steps[event.step_id].take(event)
    return run.snapshot()


def with_attempts(known: RunSnapshot, events: Iterable[Event]) -> RunSnapshot:
    """Return a snapshot whose retried steps have their attempts, which only its events tell.

    Args:
        known: The snapshot, complete but for that.
        events: All events up to it.
    """
    accepted = {name: getattr(known, name) for name in _ACCEPTED}
    folded = fold(RunRecord(step_ids=tuple(known.steps), **accepted), events).steps
    steps = {
        step_id: attrs.evolve(step, retried=folded[step_id].retried)
        for step_id, step in known.steps.items()
    }
    return attrs.evolve(known, steps=steps)


class StepFold:
    """The state of a step, updated by each of its events."""

    __slots__ = (
        "attempts",
        "error",
        "finished_at",
        "output",
        "retried",
        "started_at",
        "status",
        "step_id",
    )

    def __init__(self, step_id: str) -> None:
        self.step_id: str = step_id
        self.status: StepStatus = StepStatus.PENDING
        self.output: Any = None
        self.error: BaseException | None = None
        self.attempts: int = 0
        self.started_at: float | None = None
        self.finished_at: float | None = None
        self.retried: list[AttemptResult] = []
        """Its attempts, once it was retried."""

    def take(self, event: Event) -> None:
        """Apply an event to the step."""
        self.status = move_step(self.step_id, self.status, event.kind)
        if event.kind is EventKind.STEP_STARTED:
            self.attempts += 1
            if self.started_at is None:
                self.started_at = event.time
            else:
                self.retried.append(_started(self.attempts, event.time))
        elif event.kind is EventKind.STEP_RETRYING:
            self.error = event.data["error"]
            if self.started_at is not None and not self.retried:
                self.retried.append(_started(1, self.started_at))
            self.retried[-1] = ended(self.retried[-1], self.status, self.error, event.time)
        elif self.status.settled:
            self.output = event.data.get("output", self.output)
            self.error = event.data.get("error")
            if self.finished_at is None:
                self.finished_at = event.time

    def next_life(self, *, again: bool) -> StepFold:
        """Return the step as it starts again after a take-over; its attempts are counted on.

        Args:
            again: Whether its last attempt begins again under the same number.
        """
        known, step = self.result(), StepFold(self.step_id)
        # In the life before this one, it may not have begun again.
        fewer = again and self.status is StepStatus.RUNNING
        taken = known.attempts_taken[:-1] if fewer else known.attempts_taken
        step.attempts = known.attempts - fewer
        if step.attempts:
            step.started_at, step.retried = known.started_at, cut_off(taken)
        return step

    def result(self) -> StepResult:
        """Return the state of the step."""
        return StepResult(
            step_id=self.step_id,
            status=self.status,
            output=self.output,
            error=self.error,
            attempts=self.attempts,
            started_at=self.started_at,
            finished_at=self.finished_at,
            retried=latest_ended(self.retried, self.status, self.error, self.finished_at),
        )


def _started(number: int, time: float) -> AttemptResult:
    return AttemptResult(number=number, started_at=time)


class RunFold:
    """The state of a run and its steps, updated by each of its events.

    A state manager must return from `snapshot` the fold of what was recorded; this is that fold.
    Make one from the run's record, and apply the run's events in order, from the first on.

    It may be used by one thread at a time. The snapshots that it returns are values, and do not
    change with later events.

    Args:
        record: The accepted run, as passed to `StateManager.create`.

    Example:
        >>> from actorflow import EventKind
        >>> from actorflow.state import RunFold
        >>> from actorflow.testing.contracts import accepted, happened
        >>> run = RunFold(accepted("r1"))
        >>> for event in happened(EventKind.RUN_STARTED, EventKind.STEP_READY, run_id="r1"):
        ...     run.take(event)
        >>> run.snapshot().status.value, run.snapshot().steps["a"].status.value
        ('running', 'ready')
        >>> dict(run.summary().steps)
        {}
    """

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self.status: RunStatus = RunStatus.PENDING
        self.steps: dict[str, StepFold] = {
            step_id: StepFold(step_id) for step_id in record.step_ids
        }
        self.error: BaseException | None = None
        self.failed_step: str | None = None
        self.reason: str | None = None
        self.compensations: Sequence[str] = ()
        self.started_at: float | None = None
        self.finished_at: float | None = None

    def take(self, event: Event) -> None:
        """Apply the run's next event.

        Raises:
            IllegalMove: When the event cannot follow those before it.
            KeyError: When it belongs to a step that the run does not have.
        """
        if event.step_id is not None:
            self.steps[event.step_id].take(event)
            return
        self.status = move_run(event.run_id, self.status, event.kind)
        if event.kind is EventKind.RUN_STARTED:
            self.started_at = event.time
        elif event.kind is EventKind.RUN_RESUMED:
            if self.status is not RunStatus.COMPENSATING:
                taken_over = bool(event.data.get("taken_over"))
                self._live_again(event.data.get("again", ()), taken_over=taken_over)
        elif event.kind is EventKind.RUN_COMPENSATING:
            self.compensations = event.data["steps"]
            self.finished_at = None  # a child that had completed is undone with its parent
            self._know_why(event)
        elif self.status.terminal:
            self.finished_at = event.time
            self._know_why(event)

    def _know_why(self, event: Event) -> None:
        self.error = event.data.get("error")
        self.failed_step = event.data.get("failed_step")
        self.reason = event.data.get("reason")

    def _live_again(self, again: Sequence[str], *, taken_over: bool) -> None:
        self.finished_at = self.error = self.failed_step = self.reason = None
        self.compensations = ()
        kept = kept_by([step.status for step in self.steps.values()], taken_over=taken_over)
        for step_id, step in self.steps.items():
            if step.status not in kept:
                following = step.next_life(again=step_id in again)
                self.steps[step_id] = following if taken_over else StepFold(step_id)

    def snapshot(self) -> RunSnapshot:
        """Return the state of the run."""
        return self._snapshot({step_id: step.result() for step_id, step in self.steps.items()})

    def summary(self) -> RunSnapshot:
        """Return the state of the run without its steps, as `StateManager.list` does."""
        return self._snapshot({})

    def _snapshot(self, steps: Mapping[str, StepResult]) -> RunSnapshot:
        record = self.record
        return RunSnapshot(
            run_id=record.run_id,
            workflow_id=record.workflow_id,
            workflow_version=record.workflow_version,
            status=self.status,
            inputs=record.inputs,
            metadata=record.metadata,
            priority=record.priority,
            timeout=record.timeout,
            steps=steps,
            last_steps=record.last_steps,
            error=self.error,
            failed_step=self.failed_step,
            reason=self.reason,
            compensations=self.compensations,
            created_at=record.created_at,
            parent=record.parent,
            started_at=self.started_at,
            finished_at=self.finished_at,
            trace_id=record.trace_id,
            correlation_id=record.correlation_id,
            business_id=record.business_id,
            attributes=record.attributes,
            start_at=record.start_at,
            key=record.key,
        )
