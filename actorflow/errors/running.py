"""Errors of steps and of the orchestrator, and the two that a step raises to control its retries.

The errors that carry a whole result (`RunFailed` and its siblings) are in `model.results`.
"""

from __future__ import annotations

import math
from collections import Counter
from datetime import timedelta
from typing import ClassVar, Final, Literal

import attrs

from actorflow.errors import ActorflowError, listed, quoted
from actorflow.support.safe_text import text_of
from actorflow.support.suggestions import FEW

__all__ = [
    "ActorCrashed",
    "ChildChanged",
    "CompensationCut",
    "DeadlineExceeded",
    "Deadlock",
    "GiveUp",
    "IllegalMove",
    "Overloaded",
    "RetryAfter",
    "RunEnded",
    "StepCancelled",
    "StepTimeout",
    "TakenOverTooOften",
    "TooManyAbandoned",
    "WaitExpired",
]


@attrs.define(slots=False, repr=False)
class DeadlineExceeded(ActorflowError, TimeoutError):
    """The error in the result of a run whose timeout passed; raised, it is a `RunTimeout`."""

    run_id: str
    timeout: float
    _text = "run {run_id!r} exceeded its timeout of {timeout:g} s. Raise its timeout."


@attrs.define(slots=False, repr=False)
class StepTimeout(ActorflowError, TimeoutError):
    """Raised for a step that did not finish in time; a run's own timeout is a `RunTimeout`."""

    run_id: str
    step_id: str
    attempt: int
    timeout: float
    kind: Literal["attempt", "total"]
    """Which limit passed: that of one attempt, or that of all attempts together."""

    def __str__(self) -> str:
        one = self.kind == "attempt"
        spent = f"attempt {self.attempt}" if one else f"{self.attempt} attempts together"
        # The important part comes first: the text is cut where it is shown in one line.
        return (
            f"step {self.step_id!r}: {spent} timed out after {self.timeout:g} s "
            f"(run {self.run_id!r}). Raise the step's {'timeout' if one else 'total_timeout'}, "
            "or make the step faster."
        )


@attrs.define(slots=False, repr=False)
class WaitExpired(ActorflowError, TimeoutError):
    """Raised by `ctx.wait_for` when its timeout has passed; a step's own is a `StepTimeout`."""

    run_id: str
    step_id: str
    name: str
    """The name of the message."""
    timeout: float
    _text = (
        "step {step_id!r} of run {run_id!r} got no message {name!r} within {timeout:g} s. Catch "
        "this TimeoutError to go on without it, or give wait_for() a longer timeout."
    )


@attrs.define(slots=False, repr=False)
class StepCancelled(ActorflowError):
    """Raised inside a step that is stopped because its run ends; see `RunCancelled`."""

    run_id: str
    step_id: str
    reason: str
    _text = "step {step_id!r} of run {run_id!r} was cancelled: {reason}. Let this error pass."


@attrs.define(slots=False, repr=False)
class CompensationCut(ActorflowError):
    """The error of a compensator that was still running when a shutdown's grace had passed."""

    run_id: str
    step_id: str
    _text = (
        "undoing step {step_id!r} of run {run_id!r} was cut by a shutdown. Check by hand what is "
        "not undone, and give the shutdown a longer drain."
    )


@attrs.define(slots=False, repr=False)
class TooManyAbandoned(ActorflowError):
    """Raised instead of starting a thread while too many abandoned threads still run."""

    step_id: str
    count: int
    limit: int
    _text = (
        "step {step_id!r} cannot start: {count} abandoned threads still run (the limit is "
        "{limit}). Give steps that hang an executor that can kill, or let them watch ctx.cancelled."
    )


@attrs.define(slots=False, repr=False)
class TakenOverTooOften(ActorflowError):
    """The error of a run whose orchestrators died again and again while it had steps in flight."""

    run_id: str
    crashes: tuple[tuple[str, ...], ...]
    """The steps in flight at each crash, in order."""
    limit: int
    """`Orchestrator(max_takeovers=)`."""

    def __str__(self) -> str:
        counts = Counter(step_id for crash in self.crashes for step_id in crash)
        steps = [
            f"{quoted(step_id)} ({f'{count} times' if count > 1 else 'once'})"
            for step_id, count in counts.most_common()
        ]
        return (
            f"the process of run {self.run_id!r} died {len(self.crashes)} times in a row without a "
            f"step settling in between (the limit is {self.limit}). Steps in flight at the "
            f"crashes: {listed(steps, _SHOWN)}. Find out what ends the process there, such as "
            "memory or native code; then resume the run, or raise max_takeovers."
        )


_SHOWN: Final = 20
"""How many steps the text above names."""


@attrs.define(slots=False, repr=False)
class ActorCrashed(ActorflowError):
    """The error of an attempt whose step actor died, through no fault of the step's own code."""

    run_id: str
    step_id: str
    details: str
    _text = (
        "the actor of step {step_id!r} in run {run_id!r} crashed: {details}. "
        "It counts as a failed attempt; a retry policy lets the step try again."
    )


@attrs.define(slots=False, repr=False)
class GiveUp(ActorflowError):
    """Raised BY a step to say that another attempt is useless; see `RetryAfter`.

    Example:
        >>> from actorflow import GiveUp, Orchestrator, RetryPolicy, Workflow
        >>> flow = Workflow("search")
        >>> @flow.step(required=False, retry=RetryPolicy(max_attempts=5))
        ... def find(user):
        ...     raise GiveUp("there is no such user")
        >>> with Orchestrator() as orchestrator:
        ...     orchestrator.run(flow, {"user": "nix"}).steps["find"].attempts
        1
    """

    reason: str
    is_retryable: ClassVar[bool] = False
    _text = "{reason}"


def _wait(value: float | timedelta) -> float:
    try:
        wait = value.total_seconds() if isinstance(value, timedelta) else float(value)
    except OverflowError:  # an int that no float can hold
        wait = math.inf
    if not math.isfinite(wait):
        raise ValueError(f"RetryAfter takes finite seconds or a timedelta, not {text_of(value)}")
    # A moment that has passed is a wait of zero, not a mistake.
    return max(wait, 0.0)


@attrs.define(slots=False, repr=False)
class RetryAfter(ActorflowError):
    """Raised BY a step to ask for its next attempt after a wait; see `GiveUp`.

    It replaces the backoff of the policy once; the number of attempts stays that of the policy.
    Raise it `from` the error that causes the wait, so that both are reported.

    Example:
        >>> from actorflow import Orchestrator, RetryAfter, RetryPolicy, Workflow
        >>> flow = Workflow("patient")
        >>> @flow.step(retry=RetryPolicy(max_attempts=2))
        ... def fetch(ctx):
        ...     if ctx.attempt == 1:
        ...         raise RetryAfter(0.01)
        ...     return "fetched"
        >>> with Orchestrator() as orchestrator:
        ...     orchestrator.run(flow).output
        'fetched'
    """

    seconds: float = attrs.field(converter=_wait)
    is_retryable: ClassVar[bool] = True
    _text = "the step asks for another attempt in {seconds:g} s"


@attrs.define(slots=False, repr=False)
class Overloaded(ActorflowError):
    """Raised when a run is refused because the orchestrator is full and was told to reject."""

    active: int
    queued: int
    max_active: int
    max_queued: int
    _text = (
        "the orchestrator is full: {active} of {max_active} runs active, {queued} of {max_queued} "
        "queued. Try again later, raise max_active_runs or max_queued_runs, or let callers wait "
        'with when_full="block".'
    )


@attrs.define(slots=False, repr=False)
class RunEnded(ActorflowError):
    """Raised for a call that only a run in progress can follow."""

    run_id: str
    status: str
    """How it has ended."""
    what: str
    """What cannot happen to it any more, such as "paused"."""
    cure: str = "Start another run, or resume it first if it failed or was cancelled"
    """What to do instead."""
    _text = "run {run_id!r} has ended ({status}) and cannot be {what}. {cure}."


@attrs.define(slots=False, repr=False)
class ChildChanged(ActorflowError, ValueError):
    """Raised in a step whose call of `ctx.run` means an earlier child that was started otherwise.

    A call with another workflow and without a `key` means another child, and starts it.
    """

    run_id: str
    step_id: str
    call: str
    """What tells the call apart from others of the step: its key, or the workflow and a number."""
    child_id: str
    """The child that is there."""
    workflow_id: str
    """The workflow of that child."""
    wanted: str
    """The id of the workflow that the call asks for."""
    inputs: tuple[str, ...]
    """The names of the inputs that differ."""

    def __str__(self) -> str:
        changed = []
        if self.wanted != self.workflow_id:
            changed.append(f"workflow {self.workflow_id!r} instead of {self.wanted!r}")
        if self.inputs:
            many = len(self.inputs) > 1
            named = listed([quoted(name) for name in self.inputs], FEW)
            changed.append(f"other values of the input{'s' * many} {named}")
        return (
            f"step {self.step_id!r} of run {self.run_id!r} asks for child {self.call!r}, which it "
            f"has started before as run {self.child_id!r}, with {' and '.join(changed)}. Ask for "
            "the same child in each attempt, or give the call a key= that depends on what differs."
        )


@attrs.define(slots=False, repr=False)
class Deadlock(ActorflowError):
    """Raised in a step whose wait for a run could never end, because it is part of a circle."""

    run_id: str
    step_id: str
    awaited: str
    """The run that it waits for."""
    circle: Literal["itself", "circle"]
    """Whether that is its own run, or a run that waits for its own, directly or not."""

    def __str__(self) -> str:
        return (
            f"step {self.step_id!r} of run {self.run_id!r} would wait for run {self.awaited!r} for "
            f"ever: {_CIRCLES[self.circle]} Remove the wait."
        )


_CIRCLES: Final = {
    "itself": "it is its own run, which cannot end before the step does.",
    "circle": "that run waits for the run of the step, directly or through others.",
}


@attrs.define(slots=False, repr=False)
class IllegalMove(ActorflowError):
    """Raised when an event does not fit the state it meets: a defect, never a user's mistake."""

    subject: str
    state: str
    event: str
    _text = (
        "{subject} is {state!r} and cannot take {event!r}. "
        "This is a defect in actorflow; please report it with the run's events."
    )
