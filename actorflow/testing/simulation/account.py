"""The executors' own account of a simulation, independent of the supervisor's state.

It records which attempts are in flight, since when, and how each one ended. The laws compare it
with the events.
"""

from __future__ import annotations

import enum
import functools
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actorflow.definition.plan import StepPlan, WorkflowPlan
    from actorflow.model.context import Attempt
    from actorflow.model.records import Parent
    from actorflow.model.results import RunResult
    from actorflow.systems.simulated.mischief import Countdown
    from actorflow.systems.simulated.system import SimulatedSystem
    from actorflow.systems.simulated.timers import Timer
    from actorflow.testing.simulation.behaviours import Behaviour, ChildCall
    from actorflow.testing.simulation.scripts import Script

__all__ = [
    "FIRST_RUN",
    "UNDO",
    "Account",
    "Body",
    "BodyWait",
    "Outcome",
    "RunTrace",
    "StartsChildren",
]

FIRST_RUN: Final = "run-1"
"""The run id that labels leave out, because most schedules have only this run."""
UNDO: Final = "undo of "
"""Prefix of the label of a compensator's attempt."""
_NOTHING: Final = (None, None)
_PLAIN_SECONDS: Final = 1.0
_OTHER_SECONDS: Final = (0.0, 2.0, 5.0)


class Outcome(enum.StrEnum):
    """How an attempt ended, by its executor's own account."""

    RUNNING = "running"
    """It has not ended."""
    RETURNED = "returned"
    RAISED = "raised"
    STOPPED = "stopped"
    """It was asked to stop and ended with an error."""
    NOT_BEGUN = "not begun"
    """It was stopped before it could begin."""
    ABANDONED = "abandoned"
    """It was abandoned; its body may still be running."""
    LOST = "lost"
    """Its orchestrator crashed."""


@attrs.frozen(kw_only=True)
class RunTrace:
    """One run, as it was started."""

    run_id: str
    plan: WorkflowPlan
    script: Script = attrs.field(repr=False)
    inputs: Mapping[str, Any]
    priority: int
    timeout: float | None
    """The run's timeout, in virtual seconds."""
    parent: Parent | None = None
    """The step that started it, if one did."""


class Body:
    """One attempt, as its executor sees it."""

    __slots__ = (
        "asked",
        "async_",
        "attempt",
        "begun",
        "finished_at",
        "handle",
        "late",
        "outcome",
        "over",
        "plan",
        "real",
        "reported",
        "snapshot",
        "started_at",
        "stubborn",
        "wait",
    )

    def __init__(self, attempt: Attempt, plan: StepPlan, started_at: float, begun: int) -> None:
        self.attempt: Attempt = attempt
        self.plan: StepPlan = plan
        self.async_: bool = plan.step.async_
        self.started_at: float = started_at
        self.finished_at: float | None = None
        self.begun: int = begun
        """Number of messages delivered when it began."""
        self.over: int | None = None
        """Number of messages delivered when it was over."""
        self.outcome: Outcome = Outcome.RUNNING
        self.reported: tuple[Any, BaseException | None] | None = None
        """The output and the error."""
        self.late: bool = False
        """Whether it is still reported after it was abandoned."""
        self.real: bool = False
        """Whether it calls the step's own function."""
        self.stubborn: bool = False
        """Whether it keeps running when it is asked to stop."""
        self.handle: Timer | Any = None
        """The timer it waits for, or the task it runs in."""
        self.snapshot: Any = None
        """A copy of its arguments from when its real function was called."""
        self.wait: BodyWait | None = None
        """The current wait, also while its attempt competes to continue."""
        self.asked: Any = None
        """The message that it waits for, and what it does then."""

    def row(self) -> tuple[Any, ...]:
        """Return the fields of an `AttemptTrace`, in order."""
        attempt = self.attempt
        return (
            attempt.scope.run_id,
            attempt.step_id,
            attempt.number,
            self.async_,
            self.started_at,
            self.finished_at,
            self.outcome,
            attempt.arguments,
            *(self.reported or _NOTHING),
            self.begun,
            self.over,
        )

    def __str__(self) -> str:
        attempt = self.attempt
        run_id = attempt.scope.run_id
        step = attempt.step_id if run_id == FIRST_RUN else f"{run_id}/{attempt.step_id}"
        return f"{UNDO if attempt.compensates else ''}{step}#{attempt.number}"


class BodyWait:
    """One wait of a body; see `WaitTrace` for what is noted of it."""

    __slots__ = (
        "began_at",
        "begun",
        "body",
        "continued",
        "plan",
        "stopped",
        "until",
        "until_at",
        "woken",
        "woken_at",
    )

    def __init__(self, body: Body, plan: object, began_at: float, begun: int) -> None:
        self.body: Body = body
        self.plan: Any = plan
        """What the body has yet to do."""
        self.began_at: float = began_at
        self.begun: int = begun
        self.woken_at: float | None = None
        self.woken: int | None = None
        self.stopped: int | None = None
        self.until_at: float | None = None
        self.until: int | None = None
        self.continued: bool = False

    def row(self) -> tuple[Any, ...]:
        """Return the fields of a `WaitTrace`, in order."""
        attempt = self.body.attempt
        return (
            attempt.scope.run_id,
            attempt.step_id,
            attempt.number,
            attempt.compensates,
            self.body.async_,
            self.began_at,
            self.woken_at,
            self.until_at,
            self.begun,
            self.woken,
            self.stopped,
            self.until,
            self.continued,
        )


class StartsChildren(Protocol):
    """Starts the children of bodies."""

    def start(self, body: Body, call: ChildCall, number: int) -> str | None:
        """Start a child, or find the one that an earlier attempt has started; return its id.

        Returns None while that cannot be done; the body asks again a moment later.

        Args:
            body: The body that calls.
            call: What it asks for.
            number: The number of the call in the attempt, from 1.

        Raises:
            ActorflowError: When the body gets no child; it ends with this error.
        """

    def result(self, run_id: str) -> RunResult | None:
        """Return the result of a run that has ended.

        Raises:
            ActorflowError: When its end cannot be waited for any longer.
        """

    def when_over(self, run_id: str, call: Callable[[], None]) -> None:
        """Call a function when a run in progress has ended."""


class Account:
    """The account that all executors of a simulation share.

    Args:
        system: The system whose virtual time is used.
        choose: Chooses what scripts leave open.
        late: Decides which abandoned attempts are still reported.
    """

    def __init__(
        self, system: SimulatedSystem, choose: Callable[[int, str], int], late: Countdown
    ) -> None:
        self.system = system
        self.choose = choose
        self.late = late
        self.bodies: list[Body] = []
        """All attempts so far, in the order of their starts."""
        self.undoings: list[Body] = []
        """All attempts of compensators, which are counted separately, in the order of their
        starts."""
        self.mutations: list[tuple[str, str, int, str]] = []
        """The arguments that real functions changed: run, step, attempt, parameter."""
        self.in_flight: int = 0
        """Number of async attempts that have begun and are not over."""
        self.waiting: int = 0
        """Number of those whose bodies wait."""
        self.most_in_flight: int = 0
        """The largest number of async attempts in flight at once that did not wait."""
        self.waits: list[BodyWait] = []
        """All waits so far, in the order in which they began."""
        self.runs: dict[str, RunTrace] = {}
        self.children: StartsChildren
        """Starts the children of bodies; set by the runtime."""

    def begin(self, attempt: Attempt) -> tuple[Body, Behaviour | None]:
        """Record an attempt; return it with its behaviour, or None if it is already cancelled."""
        run = self.runs[attempt.scope.run_id]
        delivered = len(self.system.deliveries)
        body = Body(attempt, attempt.plan, self.system.time, delivered)
        (self.undoings if attempt.compensates else self.bodies).append(body)
        if attempt.cancelled:
            body.outcome = Outcome.NOT_BEGUN
            body.finished_at, body.over = body.started_at, body.begun
            return body, None
        if body.async_:
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight - self.waiting)
        say = run.script.of_compensator if attempt.compensates else run.script.of
        return body, say(attempt.step_id, attempt.number)

    def over(self, body: Body, how: Outcome) -> None:
        """Record the end of an attempt."""
        body.outcome = how
        body.finished_at = self.system.time
        body.over = len(self.system.deliveries)
        if body.wait is not None:
            self.end_wait(body, continued=False)
        if body.async_:
            self.in_flight -= 1

    # ── Waits ────────────────────────────────────────────────────────────────────────────────

    def begin_wait(self, body: Body, plan: object) -> None:
        """Record that a body begins to wait."""
        body.wait = wait = BodyWait(body, plan, self.system.time, len(self.system.deliveries))
        self.waits.append(wait)
        self.waiting += body.async_

    def wake(self, body: Body) -> None:
        """Record that the current wait of a body is over, and that its attempt competes."""
        if body.wait is not None:
            body.wait.woken_at = self.system.time
            body.wait.woken = len(self.system.deliveries)

    def stop_wait(self, body: Body) -> None:
        """Record that a body must stop, if it waits; it counts as waiting until it is over."""
        if body.wait is not None and body.wait.stopped is None:
            body.wait.stopped = len(self.system.deliveries)

    def end_wait(self, body: Body, *, continued: bool) -> None:
        """Record that a body waits no longer, because its attempt continues or is over."""
        wait, body.wait = body.wait, None
        if wait is None:
            return
        wait.until_at, wait.until = self.system.time, len(self.system.deliveries)
        wait.continued = continued
        self.waiting -= body.async_
        if continued:
            self.most_in_flight = max(self.most_in_flight, self.in_flight - self.waiting)

    # ── What scripts leave open ──────────────────────────────────────────────────────────────

    def seconds(self, body: Body, after: float | None) -> float:
        """Return the duration of an attempt, by choice if its script leaves it open."""
        if after is not None:
            return after
        step = body.plan.step
        durations = _durations(step.timeout, step.total_timeout)
        return durations[self.choose(len(durations), f"take {body}")]

    def seconds_of_wait(self, body: Body, given: float | None) -> float:
        """Return the duration of a wait, by choice if its script leaves it open."""
        if given is not None:
            return given
        durations = _durations()
        return durations[self.choose(len(durations), f"wait {body}")]

    def one_of(self, body: Body, behaviours: tuple[Behaviour, ...]) -> Behaviour:
        """Choose one of several behaviours for an attempt."""
        return behaviours[self.choose(len(behaviours), f"do {body}")]

    # ── Crashes ──────────────────────────────────────────────────────────────────────────────

    def lose(self) -> None:
        """Record a crash of the orchestrator: every attempt in flight is lost."""
        for body in (*self.bodies, *self.undoings):
            if body.outcome is Outcome.RUNNING:
                self.over(body, Outcome.LOST)


@functools.lru_cache
def _durations(*limits: float | None) -> tuple[float, ...]:
    """Return the durations to choose from for a step; some equal its timeouts."""
    exact = (limit for limit in limits if limit is not None)
    return tuple(dict.fromkeys((_PLAIN_SECONDS, *_OTHER_SECONDS, *exact)))
