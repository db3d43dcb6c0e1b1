"""The executor of a simulation: attempts are timers, and real functions run in virtual time.

An attempt is a timer that ends it as its script says. Where the script says `real()`, the timer
calls a plain function, or passes a coroutine function on to production's executor, which runs it on
an event loop in virtual time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from actorflow.executors.bodies import not_begun, outcome
from actorflow.systems.simulated.timers import Timer
from actorflow.testing.simulation.account import Outcome
from actorflow.testing.simulation.behaviours import OF_ITSELF, Hangs, Raises, Real, Returns, Waiting
from actorflow.testing.simulation.coroutines import Coroutines, RealCall
from actorflow.testing.simulation.values import changed, snapshot
from actorflow.testing.simulation.waiting import Waits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorflow.model.context import Attempt
    from actorflow.model.mailing import AnswerWait
    from actorflow.model.protocols import Report
    from actorflow.testing.simulation.account import Account, Body
    from actorflow.testing.simulation.behaviours import Behaviour
    from actorflow.testing.simulation.mail import SimulatedMail

    Reporters = tuple[Report, Report, Callable[[object], None]]

__all__ = ["SimulatedExecutor"]


class SimulatedExecutor:
    """An executor in virtual time.

    Args:
        account: The account shared by all executors of a simulation.
        mail: The messages of its runs.
        preemptive: Whether stopping an attempt ends it, as with a coroutine, or only asks it to
            end, as with a thread.
    """

    def __init__(self, account: Account, mail: SimulatedMail, *, preemptive: bool) -> None:
        self._mail = mail
        self.preemptive = preemptive
        self._account = account
        self._system = account.system
        self._coroutines: Coroutines | None = None
        self._abandoned: dict[Attempt, None] = {}
        """Abandoned attempts that are still running."""

    def open(
        self,
        report: Report,
        leave: Report | None = None,
        tell: Callable[[object], None] | None = None,
    ) -> None:
        """Open the executor.

        Args:
            report: Reports an end and schedules a delivery.
            leave: Reports an end without scheduling a delivery; `report` if left out.
            tell: Tells the supervisor what bodies say that wait, in order with the reports.
        """
        self._report = report
        self._leave = report if leave is None else leave
        self._tell = tell

    def submit(self, attempt: Attempt) -> None:
        """Begin an attempt that ends as its script says."""
        body, behaviour = self._account.begin(attempt)
        attempt.handle = body
        if behaviour is None:
            self._end(body, None, not_begun(attempt))
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
        elif isinstance(behaviour, Waiting):
            self._waits().begin(body, behaviour)
        else:
            self._begin(body, self._account.one_of(body, behaviour.behaviours))

    def _end_after(
        self, seconds: float, body: Body, output: object, error: BaseException | None
    ) -> None:
        moment = self._system.time + seconds
        body.handle = self._system.call_at(moment, self._end, body, output, error)

    def _end(
        self,
        body: Body,
        output: object,
        error: BaseException | None,
        report: Report | None = None,
    ) -> None:
        body.handle = body.attempt.handle = None
        body.reported = output, error
        self._abandoned.pop(body.attempt, None)
        if body.outcome is Outcome.RUNNING:
            self._account.over(body, _outcome(body, error))
        elif body.outcome is Outcome.ABANDONED and not body.late:
            return
        (report or self._report)(body.attempt, output, error)

    def _end_stopped(self, body: Body, error: BaseException) -> None:
        self._end_after(0.0, body, None, error)

    def _end_coroutine(self, body: Body, output: object, error: BaseException | None) -> None:
        self._end(body, output, error, self._leave)

    def stop(self, attempt: Attempt) -> None:
        """Stop an attempt, if it can be stopped."""
        body: Body | None = attempt.handle
        if body is None or body.outcome is not Outcome.RUNNING or body.stubborn:
            return
        if self.preemptive:
            self._account.stop_wait(body)
            self._cancel(body)

    def moved(self, attempt: Attempt) -> None:
        """Let a body go on that waits, because its attempt continues or has to stop."""
        body: Body | None = attempt.handle
        if body is not None and body.wait is not None:
            self._waits().moved(body)

    def answered(self, answer: AnswerWait) -> None:
        """Tell a body that waits for a message what it gets."""
        body: Body | None = answer.attempt.handle
        if body is not None and body.asked is not None:
            self._waits().answered(body, answer)

    def _waits(self) -> Waits:
        if self._tell is None:
            raise AssertionError("the executor was opened without a way to tell of waits")
        return Waits(self._account, self._tell, self._begin, self._end_stopped, self._mail)

    def _cancel(self, body: Body) -> None:
        if isinstance(body.handle, RealCall):
            self._place().stop(body.handle)
            return
        if body.handle is not None:
            body.handle.cancel()
        # A real coroutine whose timer has not fired has not been entered, and never will be.
        error = not_begun(body.attempt) if body.real else asyncio.CancelledError()
        self._end_after(0.0, body, None, error)

    def abandon(self, attempt: Attempt) -> str:
        """Abandon an attempt; return where it hangs if it is a real coroutine."""
        body: Body | None = attempt.handle
        if body is None or body.outcome is not Outcome.RUNNING:
            return ""
        self._account.over(body, Outcome.ABANDONED)
        body.late = body.handle is not None and self._account.late.due()
        if isinstance(body.handle, RealCall):
            return self._abandon_call(body, body.handle)
        if isinstance(body.handle, Timer) and not (body.late or body.real):
            body.handle.cancel()  # its end would have no effect
        else:
            self._abandoned[attempt] = None
        return ""

    def _abandon_call(self, body: Body, call: RealCall) -> str:
        if call.handle is None and not body.late:
            body.handle = None  # it has not begun, and never will
        else:
            self._abandoned[body.attempt] = None
        return self._place().abandon(call)

    def close(self) -> Sequence[Attempt]:
        """Let running coroutines clean up; return the abandoned attempts still running."""
        left = list(self._abandoned)
        coroutines, self._coroutines = self._coroutines, None
        if coroutines is not None:
            coroutines.close()
        return left

    @property
    def waiting(self) -> int:
        """Number of real coroutines whose turn has not come."""
        return 0 if self._coroutines is None else self._coroutines.waiting

    @property
    def tasks(self) -> int:
        """Number of coroutine tasks that have not ended."""
        return 0 if self._coroutines is None else self._coroutines.tasks

    # ── Real functions ───────────────────────────────────────────────────────────────────────

    def _enter_after(self, seconds: float, body: Body) -> None:
        body.real = True
        if not body.plan.is_coroutine:
            body.handle = self._system.call_at(self._system.time + seconds, self._call, body)
        elif seconds:
            body.handle = self._system.call_at(self._system.time + seconds, self._start, body)
        else:
            self._start(body)

    def _call(self, body: Body) -> None:
        """Call a plain function, even if its attempt has been abandoned."""
        attempt = body.attempt
        body.snapshot = snapshot(attempt.arguments)
        try:
            output = attempt.variables.run(attempt.function, **attempt.arguments)
        except BaseException as error:
            self._end_real(body, None, error)
            if isinstance(error, KeyboardInterrupt):
                raise  # also meant for the caller of the simulation
        else:
            self._end_real(body, *outcome(attempt, output))

    def _start(self, body: Body) -> None:
        self._place().submit(body)

    def _place(self) -> Coroutines:
        if self._coroutines is None:
            self._coroutines = Coroutines(
                self._system, self._account.choose, self._note_changes, self._end_coroutine
            )
        return self._coroutines

    def _note_changes(self, body: Body, _output: object, _error: BaseException | None) -> None:
        attempt = body.attempt
        self._account.mutations += [
            (attempt.scope.run_id, attempt.step_id, attempt.number, name)
            for name in changed(body.snapshot, attempt.arguments)
        ]

    def _end_real(self, body: Body, output: object, error: BaseException | None) -> None:
        self._note_changes(body, output, error)
        self._end(body, output, error)


def _outcome(body: Body, error: BaseException | None) -> Outcome:
    if error is None:
        return Outcome.RETURNED
    return Outcome.STOPPED if body.attempt.cancelled else Outcome.RAISED
