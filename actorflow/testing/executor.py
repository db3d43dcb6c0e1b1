"""Where step bodies run in a simulation: nowhere, or at one virtual moment.

An attempt is a timer that ends it as its script says. The executors keep an account of their
own, which owes nothing to what the supervisor believes: who is in flight, since when, and what
became of everybody.
"""

from __future__ import annotations

import asyncio
import enum
from typing import TYPE_CHECKING, Any, Final

from actorflow.executors.bodies import not_begun, outcome
from actorflow.testing.scripts import OF_ITSELF, Either, Hangs, Raises, Real, Returns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorflow.context import Attempt
    from actorflow.plan import StepPlan, WorkflowPlan
    from actorflow.protocols import Report
    from actorflow.systems.mischief import Countdown
    from actorflow.systems.simulated import SimulatedSystem, Timer
    from actorflow.testing.scripts import Behaviour, Script

__all__ = ["Account", "Body", "Outcome", "SimulatedExecutor"]

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
    """It was asked to stop, and did."""
    NOT_BEGUN = "not begun"
    """It was to stop before it began."""
    ABANDONED = "abandoned"
    """It was given up, whatever its body may still be doing."""
    LOST = "lost"
    """Its orchestrator crashed."""


class Body:
    """One attempt, as its executor sees it."""

    __slots__ = (
        "async_",
        "attempt",
        "finished_at",
        "outcome",
        "plan",
        "reported",
        "started_at",
        "stubborn",
        "timer",
    )

    def __init__(self, attempt: Attempt, plan: StepPlan, started_at: float) -> None:
        self.attempt = attempt
        self.plan = plan
        self.async_: bool = plan.step.async_
        self.started_at = started_at
        self.finished_at: float | None = None
        self.outcome = Outcome.RUNNING
        self.reported: tuple[Any, BaseException | None] | None = None
        """Output and error."""
        self.stubborn = False
        self.timer: Timer | None = None

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
        )

    def __str__(self) -> str:
        attempt = self.attempt
        run = "" if attempt.scope.run_id == "run-1" else f"{attempt.scope.run_id} "
        return f"{run}{attempt.step_id}#{attempt.number}"


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
        self.in_flight = 0
        """How many async attempts have begun and are not over."""
        self.most_in_flight = 0
        self.runs: dict[str, tuple[WorkflowPlan, Script]] = {}
        """The workflow and the script of each run."""
        self._durations: dict[StepPlan, tuple[float, ...]] = {}

    def begin(self, attempt: Attempt) -> tuple[Body, Behaviour]:
        """Take note of an attempt, and return it with what it is to do."""
        plan, script = self.runs[attempt.scope.run_id]
        body = Body(attempt, plan.by_id[attempt.step_id], self.system.time)
        self.bodies.append(body)
        if body.async_:
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        return body, script.of(attempt.step_id, attempt.number)

    def over(self, body: Body, how: Outcome) -> None:
        """Take note of an attempt's end."""
        body.outcome = how
        body.finished_at = self.system.time
        if body.async_:
            self.in_flight -= 1

    def seconds(self, body: Body, after: float | None) -> float:
        """Return how long an attempt takes, by choice if its script does not say."""
        if after is not None:
            return after
        durations = self._durations.get(body.plan)
        if durations is None:
            durations = self._durations[body.plan] = _durations(body.plan)
        return durations[self.choose(len(durations), f"take {body}")]

    def lose(self) -> None:
        """Take note of a crash of the orchestrator: everything that was in flight is gone."""
        for body in self.bodies:
            if body.outcome is Outcome.RUNNING:
                self.over(body, Outcome.LOST)


def _durations(plan: StepPlan) -> tuple[float, ...]:
    """Return the durations that a tape may choose for a step: some end just with a timeout."""
    limits = (plan.step.timeout, plan.step.total_timeout)
    exact = tuple(limit for limit in limits if limit is not None)
    return tuple(dict.fromkeys((_PLAIN_SECONDS, *_OTHER_SECONDS, *exact)))


class SimulatedExecutor:
    """An executor in virtual time.

    Args:
        account: Shared by all executors of a simulation.
        preemptive: Whether stopping an attempt ends it, as it does a coroutine, or only asks
            it to end, as it does a thread.
    """

    def __init__(self, account: Account, *, preemptive: bool) -> None:
        self.preemptive = preemptive
        self._account = account
        self._system = account.system

    def open(self, report: Report) -> None:
        """Get ready."""
        self._report = report

    def submit(self, attempt: Attempt) -> None:
        """Begin an attempt, and have it end as its script says."""
        body, behaviour = self._account.begin(attempt)
        attempt.handle = body
        if attempt.cancelled:
            self._end_after(0.0, body, None, not_begun(attempt))
        else:
            self._begin(body, behaviour)

    def _begin(self, body: Body, behaviour: Behaviour) -> None:
        if isinstance(behaviour, Returns):
            value = str(body) if behaviour.value is OF_ITSELF else behaviour.value
            self._end_after(self._account.seconds(body, behaviour.after), body, value, None)
        elif isinstance(behaviour, Raises):
            error = behaviour.error() if isinstance(behaviour.error, type) else behaviour.error
            self._end_after(self._account.seconds(body, behaviour.after), body, None, error)
        elif isinstance(behaviour, Real):
            self._enter_after(self._account.seconds(body, behaviour.after), body)
        elif isinstance(behaviour, Hangs):
            body.stubborn = behaviour.stubborn
        else:
            self._begin(body, self._one_of(body, behaviour))

    def _one_of(self, body: Body, either: Either) -> Behaviour:
        options = either.behaviours
        return options[self._account.choose(len(options), f"do {body}")]

    def _end_after(
        self, seconds: float, body: Body, output: object, error: BaseException | None
    ) -> None:
        moment = self._system.time + seconds
        body.timer = self._system.call_at(moment, self._end, body, output, error)

    def _end(self, body: Body, output: object, error: BaseException | None) -> None:
        body.timer = None
        body.reported = output, error
        if body.outcome is Outcome.RUNNING:
            self._account.over(body, _outcome(body, error))
        self._report(body.attempt, output, error)

    def stop(self, attempt: Attempt) -> None:
        """End an attempt if that can be done."""
        body: Body | None = attempt.handle
        if body is None or body.outcome is not Outcome.RUNNING or body.stubborn:
            return
        if self.preemptive:
            self._cancel(body)

    def _cancel(self, body: Body) -> None:
        if body.timer is not None:
            body.timer.cancel()
        self._end_after(0.0, body, None, asyncio.CancelledError())

    def abandon(self, attempt: Attempt) -> str:
        """Give an attempt up; it hangs nowhere that could be shown."""
        body: Body | None = attempt.handle
        if body is not None and body.outcome is Outcome.RUNNING:
            self._account.over(body, Outcome.ABANDONED)
            if body.timer is not None and not self._account.late.due():
                body.timer.cancel()
        return ""

    def close(self) -> Sequence[Attempt]:
        """Nothing runs that could be left."""
        return ()

    # ── The true functions ───────────────────────────────────────────────────────────────────

    def _enter_after(self, seconds: float, body: Body) -> None:
        enter = self._drive if body.plan.is_coroutine else self._call
        body.timer = self._system.call_at(self._system.time + seconds, enter, body)

    def _call(self, body: Body) -> None:
        attempt = body.attempt
        try:
            output = attempt.variables.run(attempt.function, **attempt.arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, the attempt failed
            self._end(body, None, error)
        else:
            self._end(body, *outcome(attempt, output))

    def _drive(self, body: Body) -> None:
        raise NotImplementedError


def _outcome(body: Body, error: BaseException | None) -> Outcome:
    if error is None:
        return Outcome.RETURNED
    if not body.attempt.cancelled:
        return Outcome.RAISED
    return Outcome.STOPPED
