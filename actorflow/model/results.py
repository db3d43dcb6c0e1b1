"""Results of runs and steps: success and failure as values, and failure as an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs

from actorflow.errors import ActorflowError
from actorflow.errors.running import DeadlineExceeded
from actorflow.model.attempts import AttemptResult, ended, latest_ended
from actorflow.model.lifecycle import RunStatus, StepStatus
from actorflow.support.read_only import NOTHING
from actorflow.support.safe_text import said_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = [
    "Parent",
    "RunCancelled",
    "RunError",
    "RunFailed",
    "RunPage",
    "RunRecord",
    "RunResult",
    "RunSnapshot",
    "RunTimeout",
    "ShutdownReport",
    "StepResult",
    "StepResults",
]

_EMPTY: Final[Mapping[str, Any]] = NOTHING


def _elapsed(started_at: float | None, finished_at: float | None) -> float | None:
    if started_at is None or finished_at is None:
        return None
    return finished_at - started_at


@attrs.frozen(kw_only=True)
class StepResult:
    """The outcome of one step."""

    step_id: str
    status: StepStatus
    output: Any = None
    """What the step returned; None unless it has completed, even if it was undone since."""
    error: BaseException | None = None
    """The error of the last attempt, if the step failed, was skipped or is being retried; that of
    the compensator, if undoing the step failed.
    """
    attempts: int = 0
    """How many attempts were started, without those of its compensator."""
    started_at: float | None = None
    """Start of the first attempt, in seconds since the epoch."""
    finished_at: float | None = None
    """When the step settled, in seconds since the epoch."""
    retried: Sequence[AttemptResult] = ()
    """The attempts of a step that was retried, as recorded; empty for any other step. See
    `attempts_taken`, which has those of every step.
    """

    @property
    def attempts_taken(self) -> tuple[AttemptResult, ...]:
        """Its attempts in order, each with its own times, outcome and error.

        Attempts of its compensator are not among them. When the run is resumed, those of steps that
        run again are counted from 1, and only those.
        """
        if self.retried or self.attempts != 1 or self.started_at is None:
            return tuple(self.retried)
        first = AttemptResult(number=1, started_at=self.started_at)
        return (ended(first, self.status, self.error, self.finished_at),)

    @property
    def duration(self) -> float | None:
        """Seconds from the first attempt's start until the step settled.

        They include all attempts, the backoffs between them, and waits for a worker after a
        backoff. For the time of the body alone, see the `duration` of each of `attempts_taken`.
        """
        return _elapsed(self.started_at, self.finished_at)

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in attrs.fields(type(self))}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        # A result that an earlier version has pickled has no attempts of its own.
        for name, value in {"retried": (), **state}.items():
            object.__setattr__(self, name, value)


class StepResults(Mapping[str, StepResult]):
    """The results of a run's steps by step id; each object is made on access.

    Most programs look at few steps of a run. Making an object for each of ten thousand steps would
    cost more than scheduling some of them.
    """

    __slots__ = ("_retried", "_rows")

    def __init__(
        self,
        rows: Mapping[str, tuple[Any, ...]],
        retried: Mapping[str, Sequence[AttemptResult]] = NOTHING,
    ) -> None:
        self._rows = rows
        self._retried = retried
        """The attempts of the steps that were retried."""

    def __getitem__(self, step_id: str) -> StepResult:
        status, output, error, attempts, started_at, finished_at = self._rows[step_id]
        retried = self._retried.get(step_id, ())
        return StepResult(
            step_id=step_id,
            status=status,
            output=output,
            error=error,
            attempts=attempts,
            started_at=started_at,
            finished_at=finished_at,
            retried=latest_ended(retried, status, error, finished_at),
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return repr(dict(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return StepResults, (dict(self._rows), dict(self._retried))


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


# A frozen class fills a dictionary in half the time of slots. One is made for every run.
@attrs.frozen(kw_only=True, slots=False)
class RunRecord:
    """A run as it was accepted: all that never changes."""

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
    parent: Parent | None = None
    """The step that started it, if one did."""


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
    parent: Parent | None = None
    """The step that started it, if one did."""

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
        return _elapsed(self.started_at, self.finished_at)


@attrs.frozen(kw_only=True)
class RunPage:
    """One page of a listing."""

    runs: Sequence[RunSnapshot]
    total: int
    """How many runs match the filters in all."""


# A frozen class fills a dictionary in half the time of slots. One is made for every run.
@attrs.frozen(kw_only=True, slots=False)
class RunResult:
    """The outcome of a run.

    Example:
        >>> from actorflow import Orchestrator, Step, Workflow
        >>> flow = Workflow("greeting")
        >>> greet = flow.add(Step("greet", lambda name: f"hello {name}"))
        >>> with Orchestrator() as orchestrator:
        ...     result = orchestrator.run(flow, {"name": "world"})
        >>> result.status.value, result.outputs, result.steps["greet"].attempts
        ('completed', {'greet': 'hello world'}, 1)
    """

    run_id: str
    workflow_id: str
    status: RunStatus
    outputs: Mapping[str, Any]
    """The outputs of the completed steps by step id, never merged. Outputs of steps that were
    undone are left out.
    """
    steps: Mapping[str, StepResult]
    """Every step's result, by step id, in topological order."""
    last_steps: Sequence[str] = ()
    """The ids of the steps that no other step waits for."""
    error: BaseException | None = None
    """The cause of a failure: the step's own exception, or the run's passed deadline."""
    failed_step: str | None = None
    reason: str | None = None
    """Why the run was cancelled."""
    compensations: Sequence[str] = ()
    """The ids of the steps to undo, in that order."""
    started_at: float | None = None
    finished_at: float | None = None

    @property
    def output(self) -> Any:
        """The output of the only last step, or a dict of the last steps' outputs by step id."""
        if len(self.last_steps) == 1:
            return self.outputs.get(self.last_steps[0])
        return {step: self.outputs[step] for step in self.last_steps if step in self.outputs}

    @property
    def duration(self) -> float | None:
        """Seconds from the run's start to its end; None when it never started."""
        return _elapsed(self.started_at, self.finished_at)

    @property
    def compensated(self) -> Sequence[str]:
        """The ids of the steps that were undone, in that order."""
        return tuple(step_id for step_id in self.compensations if self._is_undone(step_id))

    @property
    def uncompensated(self) -> Sequence[str]:
        """The ids of the steps that were to be undone and are not, in that order.

        Undoing them failed, as their status and error say, or a shutdown cut the run first: those
        are still `completed`.
        """
        return tuple(step_id for step_id in self.compensations if not self._is_undone(step_id))

    def _is_undone(self, step_id: str) -> bool:
        return self.steps[step_id].status is StepStatus.COMPENSATED

    def raise_for_status(self) -> None:
        """Return this result if the run completed, and raise otherwise.

        Raises:
            RunFailed: When a required step failed; chained from the step's exception.
            RunTimeout: When the run's timeout passed.
            RunCancelled: When the run was cancelled.
        """
        if self.status is not RunStatus.COMPLETED:
            raise self._exception() from self.error

    @classmethod
    def of(cls, snapshot: RunSnapshot) -> RunResult:
        """Return the result of a run that has ended."""
        shared = {field.name: getattr(snapshot, field.name) for field in attrs.fields(cls)}
        return cls(**shared)

    def failed_by(self, error: BaseException) -> RunResult:
        """Return this result as that of a run that failed for a reason outside of its steps."""
        return attrs.evolve(self, status=RunStatus.FAILED, error=error, failed_step=None)

    def _exception(self) -> RunError:
        if self.status is RunStatus.CANCELLED:
            return RunCancelled(self)
        if isinstance(self.error, DeadlineExceeded):
            return RunTimeout(self)
        return RunFailed(self)


@attrs.define(slots=False, repr=False)
class RunError(ActorflowError):
    """Raised in place of a result when a run did not complete; `.result` has all that it did."""

    result: RunResult

    def __repr__(self) -> str:
        # With the result's own repr, each line of a log that shows it would hold every step.
        return f"{type(self).__name__}(<{self._run()}, {self.result.status.value}>)"

    def _run(self) -> str:
        return f"run {self.result.run_id!r} of workflow {self.result.workflow_id!r}"

    def _not_undone(self) -> str:
        """Return the steps that were not undone, as a sentence with a leading space."""
        left = ", ".join(map(repr, self.result.uncompensated))
        return f" Not undone: {left}; check them by hand." if left else ""


class RunFailed(RunError):
    """Raised when a required step failed; chained from the step's own exception."""

    def __str__(self) -> str:
        failed = f"{self._run()} failed: {self._failure()}."
        return f"{failed}{self._not_undone()} See .result.steps for every step."

    def _failure(self) -> str:
        error, failed = self.result.error, self.result.failed_step
        said = "no error is known" if error is None else said_by(error)
        step = None if failed is None else self.result.steps.get(failed)
        return said if step is None else f"step {failed!r}, attempt {step.attempts}: {said}"


class RunCancelled(RunError):
    """Raised when a run was cancelled; a single cancelled step raises `StepCancelled`."""

    def __str__(self) -> str:
        why = f": {self.result.reason}" if self.result.reason else ""
        cancelled = f"{self._run()} was cancelled{why}."
        return f"{cancelled}{self._not_undone()} See .result.steps for what it had completed."


class RunTimeout(RunError):
    """Raised when a run's own timeout passed; a `TimeoutError` only ends a wait."""

    def __str__(self) -> str:
        return (
            f"{self._run()} was cut when its timeout passed.{self._not_undone()} Raise the timeout "
            "of the workflow or of the run; see .result.steps for what it had completed."
        )


@attrs.frozen(kw_only=True)
class ShutdownReport:
    """What a shutdown did to the orchestrator's runs."""

    drained: int = 0
    """How many runs ended by themselves during the drain; not those that a caller cancelled."""
    cancelled: Sequence[str] = ()
    """The ids of the runs that were cut."""
    abandoned: Sequence[str] = ()
    """One line for each thing that could not be ended: an attempt, an observer, the loop."""
    duration: float = 0.0
    """Seconds the shutdown took."""

    @property
    def clean(self) -> bool:
        """Whether nothing was cut and nothing is left behind."""
        return not self.cancelled and not self.abandoned


RECENT_RUNS: Final = 20
"""How many of a workflow's last completed runs its steps' usual durations are taken from."""


def medians(durations: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Return the median of the seconds of each step, from pairs of step id and seconds."""
    by_step: dict[str, list[float]] = {}
    for step_id, seconds in durations:
        by_step.setdefault(step_id, []).append(seconds)
    return {step_id: _median(sorted(known)) for step_id, known in by_step.items()}


def _median(ordered: Sequence[float]) -> float:
    middle = len(ordered) // 2
    return (ordered[middle] + ordered[~middle]) / 2
