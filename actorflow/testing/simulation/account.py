"""The executors' own account of a simulation, which owes nothing to what the supervisor believes.

Who is in flight, since when, and what became of everybody: the laws compare it with the events.
"""

from __future__ import annotations

import enum
import functools
from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actorflow.definition.plan import StepPlan, WorkflowPlan
    from actorflow.model.context import Attempt
    from actorflow.systems.simulated.mischief import Countdown
    from actorflow.systems.simulated.system import SimulatedSystem, Timer
    from actorflow.testing.simulation.scripts import Behaviour, Script

__all__ = ["FIRST_RUN", "UNDO", "Account", "Body", "Outcome", "RunTrace"]

FIRST_RUN: Final = "run-1"
"""The run whose id need not be said, because most schedules have no other."""
UNDO: Final = "undo of "
"""Stands before what an attempt of a compensator is called."""
_NOTHING: Final = (None, None)
_PLAIN_SECONDS: Final = 1.0
_OTHER_SECONDS: Final = (0.0, 2.0, 5.0)


class Outcome(enum.StrEnum):
    """What became of an attempt, by its executor's own account."""

    RUNNING = "running"
    """It has not ended."""
    RETURNED = "returned"
    RAISED = "raised"
    STOPPED = "stopped"
    """It was asked to stop, and ended with an error."""
    NOT_BEGUN = "not begun"
    """It was to stop before it could begin."""
    ABANDONED = "abandoned"
    """It was given up, whatever its body may still be doing."""
    LOST = "lost"
    """Its orchestrator crashed."""


@attrs.frozen(kw_only=True)
class RunTrace:
    """One run as it was started."""

    run_id: str
    plan: WorkflowPlan
    script: Script = attrs.field(repr=False)
    inputs: Mapping[str, Any]
    priority: int
    timeout: float | None
    """Virtual seconds that it may take."""


class Body:
    """One attempt, as its executor sees it."""

    __slots__ = (
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
    )

    def __init__(self, attempt: Attempt, plan: StepPlan, started_at: float, begun: int) -> None:
        self.attempt: Attempt = attempt
        self.plan: StepPlan = plan
        self.async_: bool = plan.step.async_
        self.started_at: float = started_at
        self.finished_at: float | None = None
        self.begun: int = begun
        """How many messages had been delivered when it began."""
        self.over: int | None = None
        """How many had been when it was over."""
        self.outcome: Outcome = Outcome.RUNNING
        self.reported: tuple[Any, BaseException | None] | None = None
        """Output and error."""
        self.late: bool = False
        """Whether it is reported although it was abandoned."""
        self.real: bool = False
        """Whether it calls the step's own function."""
        self.stubborn: bool = False
        """Whether it goes on when it is asked to stop."""
        self.handle: Timer | Any = None
        """The timer that it waits for, or the task that it runs in."""
        self.snapshot: Any = None
        """Its arguments as they were when its true function was called."""

    def row(self) -> tuple[Any, ...]:
        """Return what is known, in the order of an `AttemptTrace`."""
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


class Account:
    """What all executors of a simulation know together.

    Args:
        system: Whose virtual time it is.
        choose: Chooses what scripts leave open.
        late: Decides which abandoned attempts are reported all the same.
    """

    def __init__(
        self, system: SimulatedSystem, choose: Callable[[int, str], int], late: Countdown
    ) -> None:
        self.system = system
        self.choose = choose
        self.late = late
        self.bodies: list[Body] = []
        """All attempts ever, in the order of their starts."""
        self.undoings: list[Body] = []
        """All attempts of compensators, which are counted apart, likewise."""
        self.mutations: list[tuple[str, str, int, str]] = []
        """The arguments that true functions have changed: run, step, attempt, parameter."""
        self.in_flight: int = 0
        """How many async attempts have begun and are not over."""
        self.most_in_flight: int = 0
        self.runs: dict[str, RunTrace] = {}

    def begin(self, attempt: Attempt) -> tuple[Body, Behaviour | None]:
        """Take note of an attempt, and return it with what it is to do, unless it is too late."""
        run = self.runs[attempt.scope.run_id]
        delivered = len(self.system.deliveries)
        body = Body(attempt, run.plan.of(attempt), self.system.time, delivered)
        (self.undoings if attempt.compensates else self.bodies).append(body)
        if attempt.cancelled:
            body.outcome = Outcome.NOT_BEGUN
            body.finished_at, body.over = body.started_at, body.begun
            return body, None
        if body.async_:
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        say = run.script.of_compensator if attempt.compensates else run.script.of
        return body, say(attempt.step_id, attempt.number)

    def over(self, body: Body, how: Outcome) -> None:
        """Take note of an attempt's end."""
        body.outcome = how
        body.finished_at = self.system.time
        body.over = len(self.system.deliveries)
        if body.async_:
            self.in_flight -= 1

    def seconds(self, body: Body, after: float | None) -> float:
        """Return how long an attempt takes, by choice if its script does not say."""
        if after is not None:
            return after
        step = body.plan.step
        durations = _durations(step.timeout, step.total_timeout)
        return durations[self.choose(len(durations), f"take {body}")]

    def one_of(self, body: Body, behaviours: tuple[Behaviour, ...]) -> Behaviour:
        """Return what an attempt does, by choice."""
        return behaviours[self.choose(len(behaviours), f"do {body}")]

    def lose(self) -> None:
        """Take note of a crash of the orchestrator: everything that was in flight is gone."""
        for body in (*self.bodies, *self.undoings):
            if body.outcome is Outcome.RUNNING:
                self.over(body, Outcome.LOST)


@functools.lru_cache
def _durations(*limits: float | None) -> tuple[float, ...]:
    """Return the durations that a tape may choose for a step: some end just with a timeout."""
    exact = (limit for limit in limits if limit is not None)
    return tuple(dict.fromkeys((_PLAIN_SECONDS, *_OTHER_SECONDS, *exact)))
