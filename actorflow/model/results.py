"""Results of runs and steps: success and failure as values, and failure as an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

from actorflow.errors import ActorflowError
from actorflow.errors.running import DeadlineExceeded
from actorflow.model.attempts import AttemptResult, ended, latest_ended
from actorflow.model.lifecycle import RunStatus, StepStatus
from actorflow.support.read_only import NOTHING
from actorflow.support.safe_text import said_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from actorflow.model.records import RunSnapshot

__all__ = [
    "RunCancelled",
    "RunError",
    "RunFailed",
    "RunResult",
    "RunTimeout",
    "ShutdownReport",
    "StepResult",
    "StepResults",
    "elapsed",
]

_EMPTY: Final[Mapping[str, Any]] = NOTHING


def elapsed(started_at: float | None, finished_at: float | None) -> float | None:
    """Return the seconds between two times, or None if one is missing."""
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
    """How many attempts were started, without those of its compensator. They are counted on when
    the run is taken over, and from 1 when it is resumed.
    """
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

        Attempts of its compensator are not among them. When `Orchestrator.resume` resumes the run,
        those of steps that run again are counted from 1, and only those. When an orchestrator takes
        the run over, they are counted on.
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
        return elapsed(self.started_at, self.finished_at)

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
        return elapsed(self.started_at, self.finished_at)

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
    """The ids of the runs that were cancelled because they had not ended within the drain."""
    left: Sequence[str] = ()
    """The ids of the runs that had not ended and were left: they are still in progress by their
    record, and go on in another orchestrator.
    """
    abandoned: Sequence[str] = ()
    """One line for each thing that could not be ended: an attempt, an observer, the loop."""
    duration: float = 0.0
    """Seconds the shutdown took."""

    @property
    def clean(self) -> bool:
        """Whether no run was cancelled, and everything here has ended.

        Runs that were left do not count: nothing of them is lost, and others go on with them.
        """
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
