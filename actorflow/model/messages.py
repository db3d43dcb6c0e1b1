"""Everything the actors say to each other.

To a type checker these classes are frozen; at run time they are plain slotted classes.
About eight of them are made for every step, and a frozen attrs instance costs twice as much
to make. Immutability is therefore a rule that mypy holds and the tests check, not a guard.
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
        """Make a message class."""

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
    """When the run's timeout passes, on the monotonic clock."""
    timeout: float | None
    """The run's timeout in seconds, for the error's text."""
    priority: int
    resumed: RunSnapshot | None
    """The run as it was recorded, when it is to go on from there."""
    recorded: int
    """How many of its events are recorded already."""
    completed: Sequence[str] = ()
    """The ids of its steps that have completed already, in the order in which they did."""
    compensators: Mapping[str, Executor] = NOTHING
    """The executor of each compensator, by step id."""


@message
class CancelRun:
    """Orchestrator to supervisor: end this run."""

    run_id: str
    reason: str
    grace: float | None
    """Seconds that its attempts get to end, and that undoing its steps may take from now on.
    None for the orchestrator's own grace, and as much time as undoing takes."""
    compensate: bool = False
    """Whether what it has done is to be undone."""


@message
class ConfigureRun:
    """Supervisor to a run actor, first of all: the steps to make."""

    plan: WorkflowPlan
    scope: RunScope
    supervisor: ActorAddress
    settled: Mapping[str, DependencyCompleted]
    """The steps that a resumed run does not run again, by step id."""
    incarnation: int


@message
class ConfigureStep:
    """Run actor to a step actor, first of all: who you are."""

    plan: StepPlan
    scope: RunScope
    supervisor: ActorAddress
    addresses: Mapping[str, ActorAddress]
    """Where the run's steps live, by step id; one mapping for all of them."""
    settled: Sequence[DependencyCompleted]
    """Dependencies that settled before this actor was made; not empty only after a crash."""
    incarnation: int
    """Which of the step's actors, one after the other, this is; no two have the same."""


@message
class DependentMoved:
    """Run actor to a step actor: one of your dependents lives elsewhere now."""

    step_id: str
    """The dependent."""
    addresses: Mapping[str, ActorAddress]
    """Where the run's steps live now."""


@message
class DependencyCompleted:
    """Step actor to its dependents: what you waited for has settled."""

    step_id: str
    output: Any
    skipped: bool
    """Whether the dependency was optional and failed: then there is no output."""


@message
class StepReady:
    """Step actor to supervisor: every dependency has settled."""

    run_id: str
    step_id: str
    address: ActorAddress
    """Where the step lives."""
    incarnation: int
    """Whether it still does: a message can be slower than the death of its sender."""


@message
class Execute:
    """Supervisor to a step actor: run this attempt now."""

    attempt: Attempt


@message
class Compensate:
    """Brain to supervisor to a run actor: undo a step, by this attempt."""

    attempt: Attempt
    seen: Sequence[DependencyCompleted]
    """What the step saw, and what it made."""


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
    """Supervisor to a step actor: tell your dependents, your work is done."""

    output: Any
    skipped: bool = False


@message
class RunFinished:
    """Supervisor to the run's handle: how it ended."""

    result: RunResult


@message
class RunUnknown:
    """Brain to supervisor: there is no such run to cancel (any more, or yet)."""

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
    """Run actor or supervisor to the brain: whoever was to run an attempt cannot.

    A step's actor could not handle it, or an actor that was to undo a step has died.
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
    """Supervisor to a run actor: make the step's actor anew."""

    run_id: str
    step_id: str
    dependencies: Sequence[DependencyCompleted]
    """Its dependencies that have settled."""
    outcome: Settled | None
    """What it has to tell its dependents, if it had settled itself."""
    incarnation: int


@message
class MakeSteps:
    """Brain to supervisor: bring a run's actors to life."""

    plan: WorkflowPlan
    scope: RunScope
    settled: Mapping[str, DependencyCompleted]
    incarnation: int

    @property
    def only_to_undo(self) -> bool:
        """Whether no step is left to run: what may be left is to undo some."""
        return len(self.settled) == len(self.plan.steps)


@message
class StopAttempt:
    """Brain to supervisor: ask the executor to end an attempt."""

    attempt: Attempt


@message
class AbandonAttempt:
    """Brain to supervisor: have the executor give an attempt up."""

    attempt: Attempt


@message
class Wake:
    """Supervisor to its brain: the earliest deadline has passed."""


@message
class Committed:
    """State manager to supervisor: a held batch of events is recorded, or never will be."""

    error: BaseException | None


def run_of(message: object) -> str | None:
    """Return the id of the run that a message is about, if it is about one."""
    owner = getattr(message, "result", None) or getattr(message, "attempt", None) or message
    run_id: str | None = getattr(getattr(owner, "scope", owner), "run_id", None)
    return run_id
