"""The messages between actors.

To a type checker these classes are frozen; at run time they are plain slotted classes. About eight
of them are made for every step, and a frozen attrs instance costs twice as much to make.
Immutability is therefore a rule that mypy and the tests check, not a guard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

import attrs

from actorflow.support.read_only import NOTHING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from thespian.actors import ActorAddress

    from actorflow.definition.plan import StepPlan, WorkflowPlan
    from actorflow.model.context import Attempt, RunScope
    from actorflow.model.protocols import Executor
    from actorflow.model.results import RunResult, RunSnapshot

    _T = TypeVar("_T")

    @dataclass_transform(frozen_default=True)
    def message(cls: type[_T]) -> type[_T]:
        """Create a message class."""

else:

    def message(cls: type[Any]) -> type[Any]:
        made = attrs.define(cls, eq=False, repr=False)
        made.__repr__ = _shown
        return made


__all__ = [
    "AbandonAttempt",
    "ActorLost",
    "AttemptAbandoned",
    "AttemptFinished",
    "AttemptLost",
    "BlockedLoop",
    "CancelRun",
    "Committed",
    "Compensate",
    "ConfigureRun",
    "ConfigureStep",
    "DependencyCompleted",
    "DependentMoved",
    "Execute",
    "MakeSteps",
    "ReviveStep",
    "RunActorLost",
    "RunFinished",
    "RunUnknown",
    "Settled",
    "StartRun",
    "StepReady",
    "StopAttempt",
    "Wake",
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
    accepted_at: float | None = None
    """When the run was accepted, in seconds since the epoch; None for now."""


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


@message
class ConfigureRun:
    """Supervisor to a run actor, as its first message: the steps to make."""

    plan: WorkflowPlan
    scope: RunScope
    supervisor: ActorAddress
    settled: Mapping[str, DependencyCompleted]
    """The steps that a resumed run does not run again, by step id."""
    incarnation: int


@message
class ConfigureStep:
    """Run actor to a step actor, as its first message: its identity."""

    plan: StepPlan
    scope: RunScope
    supervisor: ActorAddress
    addresses: Mapping[str, ActorAddress]
    """The addresses of the run's steps, by step id; one mapping for all of them."""
    settled: Sequence[DependencyCompleted]
    """Dependencies that settled before this actor was made; not empty only after a crash."""
    incarnation: int
    """The number of this actor among the step's actors; no two have the same."""


@message
class DependentMoved:
    """Run actor to a step actor: one of your dependents has a new actor."""

    step_id: str
    """The dependent."""
    addresses: Mapping[str, ActorAddress]
    """The addresses of the run's steps now."""


@message
class DependencyCompleted:
    """Step actor to its dependents: a dependency has settled."""

    step_id: str
    output: Any
    skipped: bool
    """Whether the dependency was optional and failed, so that there is no output."""


@message
class StepReady:
    """Step actor to supervisor: every dependency has settled."""

    run_id: str
    step_id: str
    address: ActorAddress
    """The step actor's address."""
    incarnation: int
    """Its incarnation: a message can arrive after its sender has died."""


@message
class Execute:
    """Supervisor to a step actor: run this attempt now."""

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
class Settled:
    """Supervisor to a step actor: the step has settled; tell your dependents."""

    output: Any
    skipped: bool = False


@message
class RunFinished:
    """Supervisor to the run's handle: how it ended."""

    result: RunResult


@message
class RunUnknown:
    """Brain to supervisor: there is no such run to cancel, yet or any longer."""

    run_id: str


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
    incarnation: int


@message
class AttemptLost:
    """Run actor or supervisor to the brain: the actor of an attempt is lost.

    A step actor could not handle the message, or the actor of a compensator has died.
    """

    attempt: Attempt
    details: str


@message
class RunActorLost:
    """Supervisor to its brain: a run's actor has died, and its steps' actors with it."""

    run_id: str
    details: str


@message
class ReviveStep:
    """Supervisor to a run actor: replace the step's actor."""

    run_id: str
    step_id: str
    dependencies: Sequence[DependencyCompleted]
    """Its dependencies that have settled."""
    outcome: Settled | None
    """What it tells its dependents, if it has settled."""
    incarnation: int


@message
class MakeSteps:
    """Brain to supervisor: create a run's actors."""

    plan: WorkflowPlan
    scope: RunScope
    settled: Mapping[str, DependencyCompleted]
    incarnation: int

    @property
    def only_to_undo(self) -> bool:
        """Whether no step is left to run; some may be left to undo."""
        return len(self.settled) == len(self.plan.steps)


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
