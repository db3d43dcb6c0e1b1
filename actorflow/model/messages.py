"""The messages between actors.

To a type checker these classes are frozen; at run time they are plain slotted classes. About eight
of them are made for every step, and a frozen attrs instance costs twice as much to make.
Immutability is therefore a rule that mypy and the tests check, not a guard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, dataclass_transform

import attrs

from actorflow.support.read_only import NOTHING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from thespian.actors import ActorAddress

    from actorflow.definition.plan import StepPlan, WorkflowPlan
    from actorflow.errors.running import TakenOverTooOften
    from actorflow.model.context import Attempt, RunScope
    from actorflow.model.mail import Receipts
    from actorflow.model.past import Past
    from actorflow.model.pausing import Pause, Pausing
    from actorflow.model.protocols import Executor
    from actorflow.model.records import RunSnapshot
    from actorflow.model.results import RunResult

    _T = TypeVar("_T")

    @dataclass_transform(frozen_default=True)
    def message(cls: type[_T]) -> type[_T]:
        """Create a message class."""

else:

    def message(cls: type[Any]) -> type[Any]:
        """Create a message class."""
        made = attrs.define(cls, eq=False, repr=False)
        made.__repr__ = _shown
        return made


__all__ = [
    "AbandonAttempt",
    "ActorBroken",
    "ActorLost",
    "AttemptAbandoned",
    "AttemptFinished",
    "BlockedLoop",
    "CancelRun",
    "Committed",
    "Compensate",
    "CompensatorLost",
    "ContinueAttempt",
    "DependencyCompleted",
    "Execute",
    "ForStep",
    "LeaveRuns",
    "MakeSteps",
    "PauseRun",
    "ReviveStep",
    "RunActorLost",
    "RunFinished",
    "RunLeft",
    "RunStirred",
    "RunUnknown",
    "Settled",
    "StartPaused",
    "StartRun",
    "StepMoved",
    "StepsMade",
    "StopAttempt",
    "SuspendAttempt",
    "Wake",
    "WakeAttempt",
    "run_of",
]


def _shown(message: Any) -> str:
    """Return a message's repr; attrs would compile one for each class, which is slow to import."""
    fields = ", ".join(f"{name}={getattr(message, name)!r}" for name in message.__match_args__)
    return f"{type(message).__name__}({fields})"


@message
class StartRun:
    """Orchestrator to supervisor: run this."""

    scope: RunScope
    plan: WorkflowPlan
    executors: Mapping[str, Executor]
    """The executor of each step, by step id."""
    deadline: float | None
    """The deadline of the run, on the monotonic clock."""
    timeout: float | None
    """The run's timeout in seconds, for the text of the error."""
    priority: int
    resumed: RunSnapshot | None
    """The run as it was recorded, if it is resumed."""
    recorded: int
    """The number of its events that are recorded already."""
    completed: Sequence[str] = ()
    """The ids of its completed steps, in order of completion."""
    compensators: Mapping[str, Executor] = NOTHING
    """The executor of each compensator, by step id."""
    ways: Mapping[str, float] | None = None
    """The longest way from each step to the end, in seconds, by step id; None if its steps are not
    ordered by it.
    """
    accepted_at: float | None = None
    """When the run was accepted, in seconds since the epoch; None for now."""
    past: Past | None = None
    """The earlier lives of a run that is taken over; None if a person starts or resumes it."""
    poison: TakenOverTooOften | None = None
    """Why the run must fail instead of going on."""
    takeovers: int = 0
    """`RunSnapshot.takeovers`, for its event."""
    receipts: Receipts | None = None
    """The messages that were received in earlier lives of the run, if any were."""
    undo: str | None = None
    """Why a run that has completed is undone: a child with its parent; None for any other run."""
    pausing: ClassVar[Pausing | None] = None
    """Whether it begins paused; see `StartPaused`."""


@message
class StartPaused(StartRun):
    """Orchestrator to supervisor: run this, which is paused or was when it ran last."""

    pausing: Pausing | None = None  # type: ignore[misc] # of each message of this kind


@message
class CancelRun:
    """Orchestrator to supervisor: end this run."""

    run_id: str
    reason: str
    grace: float | None
    """Seconds that its attempts get to end, and that compensation may take from now on. None for
    the orchestrator's grace, and for as much time as compensation takes.
    """
    compensate: bool = False
    """Whether to undo its completed steps."""
    unrecorded: bool = False
    """Whether the supervisor tells itself, because the run's events could not be recorded. The run
    may have ended in the meantime, and may be about to start again.
    """
    kept: bool = False
    """Whether it may be forgotten if there is no such run here: because the record of the run asks
    for the same, or because another orchestrator runs it.
    """


@message
class PauseRun:
    """Orchestrator to supervisor: start nothing more of this run, or go on with it."""

    run_id: str
    pause: Pause | None
    """The pause; None to end it."""


@message
class LeaveRuns:
    """Orchestrator to supervisor: stop all runs without ending them, so that others go on."""

    run_ids: Collection[str]
    """The runs that were accepted and have not ended."""
    grace: float
    """Seconds that their attempts get to end."""


@message
class MakeSteps:
    """Brain to supervisor to a run actor, as its first message: create these steps' actors."""

    scope: RunScope
    step_ids: Collection[str]
    """The steps that have not settled; none if the run is only to be undone."""


@message
class StepsMade:
    """Run actor to supervisor: the run's steps have actors."""

    run_id: str
    addresses: Mapping[str, ActorAddress]
    """The actors' addresses, by step id."""


@message
class ForStep:
    """Supervisor to a run actor: pass this on to a step whose address is not known yet."""

    step_id: str
    message: object


@message
class DependencyCompleted:
    """Step actor to its dependents: a dependency has settled."""

    step_id: str
    output: Any
    skipped: bool
    """Whether the dependency was optional and failed, so that there is no output."""


@message
class Execute:
    """Supervisor to a step actor: run this attempt when all dependencies have completed."""

    attempt: Attempt


@message
class Compensate:
    """Brain to supervisor to a run actor: run this attempt of a compensator."""

    attempt: Attempt
    seen: Sequence[DependencyCompleted]
    """What the step received, and its output."""


@message
class AttemptFinished:
    """Executor to supervisor: an attempt's body has ended."""

    attempt: Attempt
    output: Any
    error: BaseException | None


@message
class AttemptAbandoned:
    """Supervisor to itself: the executor gave up an attempt that could not be stopped."""

    attempt: Attempt
    stack: str


@message
class SuspendAttempt:
    """Body to supervisor: the attempt waits, and gives back what it holds."""

    attempt: Attempt
    reason: str
    """What it waits for, for people to read."""


@message
class WakeAttempt:
    """Body to supervisor: the attempt's wait is over, and it wants to continue."""

    attempt: Attempt


@message
class RunStirred:
    """Brain to supervisor to brain: look whether this run does anything but wait."""

    run_id: str


@message
class ContinueAttempt:
    """Brain to supervisor: a suspended attempt holds again what it needs; let its body continue."""

    attempt: Attempt


@message
class Settled:
    """Supervisor to a step actor: the step has settled; tell your dependents."""

    plan: StepPlan
    output: Any
    skipped: bool
    addresses: Mapping[str, ActorAddress]
    """The addresses of the run's steps, by step id; filled in by the run's actor if that passes the
    message on.
    """


@message
class RunFinished:
    """Supervisor to the run's handle: how it ended."""

    result: RunResult


@message
class RunLeft:
    """Brain to supervisor: nothing of this run is in flight here, and nothing more is recorded."""

    run_id: str


@message
class RunUnknown:
    """Brain to supervisor: there is no such run to cancel, yet or any longer."""

    run_id: str
    asked: CancelRun
    """What was asked for."""


@message
class BlockedLoop:
    """Watchdog to supervisor: this attempt kept the event loop from turning."""

    attempt: Attempt
    seconds: float
    stack: str


@message
class ActorLost:
    """Run actor to supervisor: a step's actor has died."""

    run_id: str
    step_id: str
    details: str


@message
class ReviveStep:
    """Supervisor to a run actor: create a new actor for a step."""

    run_id: str
    step_id: str


@message
class StepMoved:
    """Run actor to supervisor: a step has a new actor, which knows nothing yet."""

    run_id: str
    step_id: str
    addresses: Mapping[str, ActorAddress]
    """The addresses of the run's steps now."""


@message
class ActorBroken:
    """Step actor to supervisor, or supervisor to a run actor: an actor cannot handle a message."""

    address: ActorAddress
    details: str


@message
class CompensatorLost:
    """Run actor to supervisor: the actor of a compensator's attempt has died."""

    attempt: Attempt
    details: str


@message
class RunActorLost:
    """Supervisor to its brain: a run's actor has died, and its steps' actors with it."""

    run_id: str
    details: str


@message
class StopAttempt:
    """Brain to supervisor: ask the executor to end an attempt."""

    attempt: Attempt


@message
class AbandonAttempt:
    """Brain to supervisor: have the executor abandon an attempt."""

    attempt: Attempt


@message
class Wake:
    """Supervisor to its brain: the earliest deadline has passed."""


@message
class Committed:
    """State manager to supervisor: a held batch of events is recorded, or has failed."""

    error: BaseException | None


def run_of(message: object) -> str | None:
    """Return the id of the run that a message is about, or None."""
    owner = getattr(message, "result", None) or getattr(message, "attempt", None) or message
    run_id: str | None = getattr(getattr(owner, "scope", owner), "run_id", None)
    return run_id
