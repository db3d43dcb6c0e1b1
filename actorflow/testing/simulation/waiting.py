"""Scripted bodies that wait: what `actorflow.orchestrator.waits` is to real ones.

A body that begins to wait tells the supervisor so, and again when the wait is over. It runs on when
the supervisor lets its attempt continue. A body that must stop while it waits gets `StepCancelled`
where it waits, also one on a thread.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import attrs

from actorflow.errors.definition import DefinitionError
from actorflow.errors.running import IllegalMove, StepCancelled, WaitExpired
from actorflow.model.mailing import AwaitMail
from actorflow.model.messages import SuspendAttempt, WakeAttempt
from actorflow.model.results import RunError
from actorflow.testing.simulation.account import Outcome
from actorflow.testing.simulation.behaviours import ChildCall, Hangs, Raises
from actorflow.testing.simulation.mail import ReceiptTrace

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.model.mailing import AnswerWait
    from actorflow.model.results import RunResult
    from actorflow.testing.simulation.account import Account, Body
    from actorflow.testing.simulation.behaviours import Behaviour, Wait, Waiting
    from actorflow.testing.simulation.mail import SimulatedMail

__all__ = ["Waits"]

_REASON = "its script"
"""What every scripted body waits for, by its event."""


class _Plan:
    """What a body that waits has yet to do."""

    __slots__ = ("behaviour", "call", "calls", "child", "leaves", "started", "then", "waits")

    def __init__(self, waiting: Waiting) -> None:
        self.behaviour: Any = waiting.behaviour
        self.waits: list[Wait | ChildCall] = list(waiting.waits)
        """The waits that have not begun."""
        self.then: float | None = None
        """Seconds for which the body runs when the current wait is over; None for the tape."""
        self.leaves = False
        """Whether the body ends without waiting for its attempt to continue."""
        self.started = 0
        """How many children it has started."""
        self.call: ChildCall | None = None
        """The call whose child it waits for."""
        self.child = ""
        """The id of that child."""
        self.calls: dict[str, int] = {}
        """How often it has waited for messages, by name."""

    def fail(self, error: BaseException) -> None:
        """Have the body fail as soon as it runs on."""
        self.behaviour, self.waits, self.then = Raises(error, 0.0), [], 0.0


class Waits:
    """The waits of the bodies of one executor.

    Args:
        account: The account shared by all executors of a simulation.
        tell: Sends a message to the supervisor; messages and reports of an executor keep their
            order.
        go_on: Has a body do the rest of what its script says.
        stop: Ends a body as one that was stopped.
        mail: The messages of its runs.
    """

    def __init__(
        self,
        account: Account,
        tell: Callable[[object], None],
        go_on: Callable[[Body, Behaviour], None],
        stop: Callable[[Body, BaseException], None],
        mail: SimulatedMail,
    ) -> None:
        self._mail = mail
        self._account = account
        self._system = account.system
        self._tell = tell
        self._go_on = go_on
        self._stop = stop

    def begin(self, body: Body, waiting: Waiting) -> None:
        """Have a body run until its first wait."""
        plan = _Plan(waiting)
        hangs = isinstance(plan.behaviour, Hangs)
        body.stubborn = hangs and plan.behaviour.stubborn
        self._run(body, plan, 0.0 if hangs else plan.behaviour.after)

    def _run(self, body: Body, plan: _Plan, seconds: float | None) -> None:
        """Have a body run until its next wait, or its end."""
        if not plan.waits:
            self._finish(body, plan, seconds)
        else:
            self._after(self._account.seconds(body, seconds), self._wait, body, plan)

    def _call(self, body: Body, plan: _Plan, call: ChildCall) -> None:
        """Have a body start a child, and wait for it."""
        plan.started += 1
        try:
            run_id = self._account.children.start(body, call, plan.started)
        except IllegalMove as error:  # the record of an earlier child does not fold
            self._stop(body, error.with_traceback(None))
            return
        if not call.waits:
            self._run(body, plan, call.then)
            return
        result = self._account.children.result(run_id)
        if result is not None:
            self._took(body, plan, call, result)
            return
        plan.call, plan.child = call, run_id
        self._account.begin_wait(body, plan)
        self._tell(SuspendAttempt(body.attempt, f"run {run_id}"))
        self._account.children.when_over(run_id, functools.partial(self._child_over, body, plan))

    def _child_over(self, body: Body, plan: _Plan) -> None:
        wait = body.wait
        if wait is None or wait.plan is not plan or wait.stopped is not None:
            return  # it has been stopped, or its process is gone
        self._account.wake(body)
        self._tell(WakeAttempt(body.attempt))

    def _took(self, body: Body, plan: _Plan, call: ChildCall, result: RunResult) -> None:
        """Have a body go on with the result of a child, or fail as the child has."""
        try:
            result.raise_for_status()
        except RunError as error:
            self._stop(body, error.with_traceback(None))  # its frames would keep traces alive
        else:
            self._run(body, plan, call.then)

    def _finish(self, body: Body, plan: _Plan, seconds: float | None) -> None:
        last = plan.behaviour
        self._go_on(body, last if isinstance(last, Hangs) else attrs.evolve(last, after=seconds))

    def _wait(self, body: Body, plan: _Plan) -> None:
        body.handle = None
        attempt, wait = body.attempt, plan.waits.pop(0)
        if attempt.cancelled:
            self._stop_waiting(body)
            return
        if isinstance(wait, ChildCall):
            self._call(body, plan, wait)
            return
        if wait.message is not None:
            self._ask(body, plan, wait, wait.message)
            return
        seconds = self._account.seconds_of_wait(body, wait.seconds)
        plan.then = wait.then
        self._account.begin_wait(body, plan)
        self._tell(SuspendAttempt(attempt, _REASON))
        self._after(seconds, self._over, body, plan, wait)

    # ── Messages ─────────────────────────────────────────────────────────────────────────────

    def _ask(self, body: Body, plan: _Plan, wait: Wait, name: str) -> None:
        attempt = body.attempt
        if not body.plan.is_coroutine:
            cure = "Make it a coroutine function, or give it a script without receiving()"
            problem = "a plain function waits for a message"
            plan.fail(DefinitionError(attempt.scope.workflow_id, problem, cure, attempt.step_id))
            self._run(body, plan, 0.0)
            return
        plan.calls[name] = call = plan.calls.get(name, 0) + 1
        body.asked = plan, wait, call
        self._mail.open(attempt.scope.run_id, self._tell)
        self._tell(AwaitMail(attempt, name, call, wait.seconds))

    def answered(self, body: Body, answer: AnswerWait) -> None:
        """Tell a body what it gets that waits for a message, or have it wait."""
        attempt, (plan, wait, call) = body.attempt, body.asked
        if body.outcome is not Outcome.RUNNING or attempt.cancelled or call != answer.call:
            return
        if answer.outcome == "awaiting":
            self._account.begin_wait(body, plan)
            self._tell(SuspendAttempt(attempt, f"message {answer.name!r}"))
            return
        body.asked, plan.then = None, wait.then
        self._note(answer)
        if answer.outcome == "expired":
            run_id, seconds = attempt.scope.run_id, wait.seconds or 0.0
            plan.fail(WaitExpired(run_id, attempt.step_id, answer.name, seconds))
        if body.wait is None:
            self._run(body, plan, plan.then)
        else:
            self._account.wake(body)
            self._tell(WakeAttempt(attempt))

    def _note(self, answer: AnswerWait) -> None:
        attempt = answer.attempt
        receipt = ReceiptTrace(
            attempt.scope.run_id,
            attempt.step_id,
            attempt.number,
            attempt.compensates,
            answer.name,
            answer.call,
            answer.outcome == "expired",
            answer.payload,
            self._system.time,
            self._mail.recorded,
        )
        self._mail.receipts.append(receipt)

    # ── Ends of waits ────────────────────────────────────────────────────────────────────────

    def _over(self, body: Body, plan: _Plan, wait: Wait) -> None:
        body.handle = None
        attempt = body.attempt
        if attempt.cancelled:
            self._stop_waiting(body)
            return
        plan.leaves = wait.ends is not None
        if wait.ends != "waiting":
            self._account.wake(body)
            self._tell(WakeAttempt(attempt))
        if plan.leaves:
            self._finish(body, plan, 0.0)

    def moved(self, body: Body) -> None:
        """Let a body go on that waits, because its attempt continues or has to stop."""
        wait = body.wait
        if wait is None or wait.stopped is not None:
            return
        plan: _Plan = wait.plan
        if body.attempt.cancelled:
            self._stop_waiting(body, leaves=plan.leaves)
            return
        self._account.end_wait(body, continued=True)
        if plan.call is not None:
            call, plan.call = plan.call, None
            result = self._account.children.result(plan.child)
            if result is None:
                raise AssertionError(f"{body} went on without the result of {plan.child}")
            self._took(body, plan, call, result)
        elif not plan.leaves:
            self._run(body, plan, plan.then)

    def _stop_waiting(self, body: Body, *, leaves: bool = False) -> None:
        """Have a body get `StepCancelled` where it waits; one that is stubborn ignores it."""
        self._account.stop_wait(body)
        if leaves:
            return  # it ends anyway
        if body.handle is not None:
            body.handle.cancel()
            body.handle = None
        if not body.stubborn:
            attempt = body.attempt
            run_id, why = attempt.scope.run_id, "the attempt was asked to stop"
            self._stop(body, StepCancelled(run_id, attempt.step_id, why))

    def _after(self, seconds: float, function: Callable[..., None], body: Body, *rest: Any) -> None:
        moment = self._system.time + seconds
        body.handle = self._system.call_at(moment, function, body, *rest)
