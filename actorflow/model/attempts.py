"""The attempts of a step, as values."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

import attrs

from actorflow.errors.running import StepTimeout
from actorflow.model.lifecycle import StepStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["AttemptOutcome", "AttemptResult", "cut_off", "ended", "latest_ended"]

_RETURNED: Final = frozenset(
    {StepStatus.COMPLETED, StepStatus.COMPENSATED, StepStatus.COMPENSATION_FAILED}
)


class AttemptOutcome(enum.StrEnum):
    """How an attempt ended.

    An attempt that was given up because it did not stop, as `step.abandoned` records, has the
    outcome that made it stop: `timed_out` or `cancelled`. Its body may still run.
    """

    RUNNING = "running"
    """It has not ended, or its end is not recorded: the process died first."""
    COMPLETED = "completed"
    """It returned, and the step completed."""
    FAILED = "failed"
    """It raised its `error`; or its actor died, and the error is an `ActorCrashed`."""
    TIMED_OUT = "timed_out"
    """The step's `timeout` or `total_timeout` passed; its `error` is a `StepTimeout`."""
    CANCELLED = "cancelled"
    """It was stopped because its run ended, and did not fail by itself."""
    CUT = "cut"
    """Its process died, or left the run at a shutdown; the run went on in another one."""


@attrs.frozen(kw_only=True)
class AttemptResult:
    """One attempt of a step.

    Example:
        >>> from actorflow import Orchestrator, RetryPolicy, Workflow
        >>> flow = Workflow("answer")
        >>> @flow.step(retry=RetryPolicy(max_attempts=2, initial_interval=0.01))
        ... def ask(ctx):
        ...     if ctx.attempt == 1:
        ...         raise ConnectionError("busy")
        ...     return 42
        >>> with Orchestrator() as orchestrator:
        ...     result = orchestrator.run(flow)
        >>> for one in result.steps["ask"].attempts_taken:
        ...     print(one.number, one.outcome, repr(one.error))
        1 failed ConnectionError('busy')
        2 completed None
    """

    number: int
    """From 1, as in `StepContext.attempt`."""
    started_at: float
    """When it was granted, in seconds since the epoch."""
    finished_at: float | None = None
    """When it ended, in seconds since the epoch; None while it runs."""
    outcome: AttemptOutcome = AttemptOutcome.RUNNING
    error: BaseException | None = None
    """Why it failed or timed out."""

    @property
    def duration(self) -> float | None:
        """Seconds from its start to its end: the time of the step's body, without backoffs.

        It includes the way to the executor and back.
        """
        return None if self.finished_at is None else self.finished_at - self.started_at


def ended(
    attempt: AttemptResult,
    status: StepStatus,
    error: BaseException | None,
    finished_at: float | None,
) -> AttemptResult:
    """Return an attempt as it ended with a status of its step; unchanged if it still runs.

    Args:
        attempt: The attempt as it started.
        status: The step's status since its end.
        error: The step's error.
        finished_at: When the step settled or began to wait for another attempt.
    """
    if status is not StepStatus.RETRYING and not status.settled:
        return attempt
    if status in _RETURNED:
        outcome, error = AttemptOutcome.COMPLETED, None
    elif type(error) is StepTimeout:
        outcome = AttemptOutcome.TIMED_OUT
    elif error is not None or status is StepStatus.FAILED:
        outcome = AttemptOutcome.FAILED
    else:
        outcome = AttemptOutcome.CANCELLED
    return attrs.evolve(attempt, finished_at=finished_at, outcome=outcome, error=error)


def cut_off(attempts: Sequence[AttemptResult]) -> list[AttemptResult]:
    """Return the attempts of a step whose run is taken over; one that has not ended was cut."""
    return [
        attrs.evolve(one, outcome=AttemptOutcome.CUT)
        if one.outcome is AttemptOutcome.RUNNING
        else one
        for one in attempts
    ]


def latest_ended(
    attempts: Sequence[AttemptResult],
    status: StepStatus,
    error: BaseException | None,
    finished_at: float | None,
) -> tuple[AttemptResult, ...]:
    """Return the attempts of a retried step; its last one, if it ran, ended as the step did.

    A step can also settle while it waits for its next attempt. Then its last one ended before.
    """
    if not attempts or attempts[-1].outcome is not AttemptOutcome.RUNNING:
        return tuple(attempts)
    return (*attempts[:-1], ended(attempts[-1], status, error, finished_at))
