"""Endings: how attempts, steps and runs settle, fail, time out, retry, stop and end.

Part of the supervisor's brain and as pure as the rest (see `decisions`). It changes the ledger,
records events and adds effects; what becomes ready by it is started by `starts`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from actorflow.errors.running import DeadlineExceeded, RetryAfter, StepTimeout
from actorflow.model.attempts import AttemptResult, ended
from actorflow.model.events import NO_DATA
from actorflow.model.lifecycle import EventKind, StepStatus
from actorflow.model.messages import (
    AbandonAttempt,
    ForStep,
    RunFinished,
    RunStirred,
    Settled,
    StopAttempt,
)
from actorflow.scheduling.deadlines import Due
from actorflow.support.read_only import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from actorflow.model.context import Attempt
    from actorflow.scheduling.deadlines import Deadlines
    from actorflow.scheduling.ledger import RunState, StepState
    from actorflow.scheduling.outbox import Outbox
    from actorflow.scheduling.starts import Starts

__all__ = ["Endings", "backoff", "timeout_of", "verdict"]

_PENDING: Final = StepStatus.PENDING


class Endings:
    """Ends steps and runs.

    Args:
        outbox: Where events and effects go.
        deadlines: The deadlines of all runs.
        starts: Starts the steps that become ready.
        grace: Seconds that a stopped attempt gets to end before it is abandoned.
        random: Draws from [0, 1), for the jitter of backoffs.
    """

    def __init__(
        self,
        outbox: Outbox,
        deadlines: Deadlines,
        starts: Starts,
        grace: float,
        random: Callable[[], float],
    ) -> None:
        self._outbox = outbox
        self._deadlines = deadlines
        self._starts = starts
        self._grace = grace
        self._random = random

    # ── Steps ────────────────────────────────────────────────────────────────────────────────

    def settle(
        self, run: RunState, step: StepState, kind: EventKind, data: Mapping[str, Any] = NO_DATA
    ) -> None:
        """Settle a step by an event."""
        self._outbox.step(run, step, kind, step.attempts or None, data)
        step.finished_at = self._outbox.wall
        run.unsettled -= 1
        if step.total_deadline is not None:
            self._deadlines.cancel(step.total_deadline)
        if step.backoff is not None:
            self._deadlines.cancel(step.backoff)

    def emit(self, run: RunState, step: StepState, output: Any, *, skipped: bool) -> None:
        """Have a settled step tell its dependents; those that waited for it alone are ready."""
        plan = step.plan
        if not plan.dependents:
            return
        addresses = run.addresses
        if addresses is not None:
            message = Settled(plan, output, skipped, addresses)
            self._outbox.effects.append((run, plan.id, message))
        else:  # the run's actor knows the addresses
            unaddressed = Settled(plan, output, skipped, NOTHING)
            self._outbox.effects.append((run, "", ForStep(plan.id, unaddressed)))
        steps = run.steps
        for name in plan.dependents:
            dependent = steps[name]
            dependent.open -= 1
            if not dependent.open and dependent.status is _PENDING:
                self._starts.ready(run, dependent)

    def cancel(self, run: RunState, step: StepState, error: BaseException | None = None) -> None:
        """Cancel a step; `error` is its own failure, if it had one."""
        step.error = error
        data = NO_DATA if error is None else {"error": error}
        self.settle(run, step, EventKind.STEP_CANCELLED, data)

    def fail(self, run: RunState, step: StepState, error: BaseException | None) -> None:
        """Fail a step: skip it if it is optional, and fail its run if it is not."""
        step.error = error
        if run.suspended:
            self._outbox.perform(RunStirred(run.run_id))
        if not step.step.required:
            self.settle(run, step, EventKind.STEP_SKIPPED, {"error": error})
            run.any_skipped = True
            self.emit(run, step, None, skipped=True)
            return
        self.settle(run, step, EventKind.STEP_FAILED, {"error": error})
        if run.error is None:
            run.error, run.failed_step = error, step.id
        if run.plan.fail_fast:
            self.end(run)
        else:
            for dependent in _dependents(run, step):
                self.cancel(run, dependent)

    def time_out(self, run: RunState, step: StepState, error: StepTimeout) -> None:
        """Handle a step's timeout: stop its attempt, or fail the step if it waits for one."""
        self.timed_out(run, step, error)
        if step.current is not None:
            self.stop(run, step, error)
        else:
            self.fail(run, step, error)

    def overrun(self, run: RunState, step: StepState, attempt: Attempt) -> StepTimeout | None:
        """Handle a timeout that had passed by the time the body ended, before its timer fired.

        A coroutine that blocks the event loop causes this, because no timer can fire in that time.
        """
        ended_at = attempt.ended_at
        if ended_at is None or step.stopping:
            return None
        for due, deadline in (
            (Due.ATTEMPT, step.attempt_deadline),
            (Due.TOTAL, step.total_deadline),
        ):
            if deadline is not None and deadline[0] <= ended_at:
                error = timeout_of(due, run, step)
                self.timed_out(run, step, error)
                return error
        return None

    def timed_out(self, run: RunState, step: StepState, error: StepTimeout) -> None:
        """Record that a timeout has passed."""
        data = {
            "timeout": error.timeout,
            "limit": error.kind,
            "heartbeat_at": self._heartbeat(step.current),
        }
        self._outbox.attempt(run, step, EventKind.STEP_TIMED_OUT, step.attempts, data)

    # ── Attempts ─────────────────────────────────────────────────────────────────────────────

    def failed(self, run: RunState, step: StepState, error: BaseException | None) -> None:
        """Decide how a step continues after a failed attempt."""
        unwanted = step.stopping and step.stop_error is None
        step.stopping, step.stop_error = False, None
        step.error = error
        if run.ending:
            self.cancel(run, step, None if unwanted else error)
        elif not self.retry(run, step, error):
            self.fail(run, step, error)

    def retry(self, run: RunState, step: StepState, error: BaseException | None) -> bool:
        """Schedule another attempt of a step or compensator, if the error allows one."""
        now = self._outbox.now
        delay = backoff(step, error, now, self._random, cut=run.cut_attempts(step))
        if delay is None:
            return False
        data = {"error": error, "delay": delay}
        self._outbox.attempt(run, step, EventKind.STEP_RETRYING, step.attempts, data)
        if step.undoes is None:
            self._keep(run, step, error)
        step.backoff = self._deadlines.set(now + delay, Due.BACKOFF, run.run_id, step)
        return True

    def _keep(self, run: RunState, step: StepState, error: BaseException | None) -> None:
        """Keep the times and the error of an attempt that is followed by another."""
        if step.started_at is None:
            raise AssertionError(f"{step.id} is retried without an attempt")
        first = AttemptResult(number=1, started_at=step.started_at)
        known = run.retried.setdefault(step.id, [first])
        known[-1] = ended(known[-1], step.status, error, self._outbox.wall)

    def stop(self, run: RunState, step: StepState, error: BaseException | None) -> None:
        """Ask the step's attempt to end.

        `error` is what the attempt then fails with; None when it is stopped only because its run
        ends. A thread that has timed out is abandoned at once, so that the timeout is kept. A
        thread that is stopped for another reason gets the grace to end.
        """
        attempt = step.current
        if attempt is None or step.stopping:
            return
        step.stopping, step.stop_error = True, error
        attempt.cancelled = True
        self._outbox.perform(StopAttempt(attempt))
        if isinstance(error, StepTimeout) and not attempt.executor.preemptive:
            self.abandon(step)
        else:
            self.wait_for_end(run, step)

    def wait_for_end(self, run: RunState, step: StepState) -> None:
        """Give an attempt that was asked to stop the grace of its run from now."""
        grace = self._grace if run.grace is None else run.grace
        step.grace = self._deadlines.set(self._outbox.now + grace, Due.GRACE, run.run_id, step)

    def give_grace(self, run: RunState, grace: float | None) -> None:
        """Set the grace of a run; attempts that were asked to stop get it from now."""
        if grace is None:
            return
        run.grace = grace
        for step in run.steps.values():
            if step.stopping and step.grace is not None:
                self._deadlines.cancel(step.grace)
                self.wait_for_end(run, step)

    def abandoned(self, run: RunState, step: StepState, attempt: Attempt, stack: str) -> None:
        """Record that an attempt was abandoned, with the stack it hangs in."""
        data = {"stack": stack, "heartbeat_at": self._heartbeat(attempt)}
        self._outbox.attempt(run, step, EventKind.STEP_ABANDONED, attempt.number, data)

    def _heartbeat(self, attempt: Attempt | None) -> float | None:
        """Return an attempt's last heartbeat in seconds since the epoch."""
        if attempt is None or attempt.heartbeat_at is None:
            return None
        return self._outbox.wall - (self._outbox.now - attempt.heartbeat_at)

    def abandon(self, step: StepState) -> None:
        """Have the executor give up an attempt that did not end when asked."""
        if step.current is not None:
            self._outbox.perform(AbandonAttempt(step.current))

    # ── Runs ─────────────────────────────────────────────────────────────────────────────────

    def end(self, run: RunState) -> None:
        """End a run: start nothing more, cancel the steps that wait and stop those that run."""
        run.ending = True
        for step in run.steps.values():
            if step.current is not None:
                self.stop(run, step, None)
            elif not step.status.settled:
                self.cancel(run, step)

    def fails_at_once(self, run: RunState) -> bool:
        """End a run that was taken over, if it has failed already or must not go on."""
        if run.ending:
            return False  # it is being undone
        if run.poison is not None:
            run.error, run.poison = run.error or run.poison, None
            self.end(run)
        elif run.error is not None and run.plan.fail_fast:
            self.end(run)
        return run.ending

    def expire(self, run: RunState) -> None:
        """Handle the run's timeout."""
        if not run.ending and run.timeout is not None:
            run.error = run.error or DeadlineExceeded(run.run_id, run.timeout)
            self.end(run)

    def finish(self, run: RunState) -> None:
        """Record the run's last event and hand out its result."""
        run.finished_at = self._outbox.wall
        for deadline in (run.expiry, run.cut):
            if deadline is not None:
                self._deadlines.cancel(deadline)
        kind, why = verdict(run)
        self._outbox.run(run, kind, {**why, **_left(run)} if run.undoable is not None else why)
        self._outbox.perform(RunFinished(run.result()))


def timeout_of(due: Due, run: RunState, step: StepState) -> StepTimeout:
    """Return the error of a timeout: of the attempt, or of all attempts together."""
    total = due is Due.TOTAL
    limit = step.step.total_timeout if total else step.step.timeout
    kind: Literal["total", "attempt"] = "total" if total else "attempt"
    return StepTimeout(run.run_id, step.id, step.attempts, limit or 0.0, kind)


def verdict(run: RunState) -> tuple[EventKind, Mapping[str, Any]]:
    """Return how a run with nothing left to do ends, and why."""
    if run.cancel_reason is not None:
        cancelled: dict[str, Any] = {"reason": run.cancel_reason}
        if run.error is not None:
            cancelled |= {"error": run.error, "failed_step": run.failed_step}
        return EventKind.RUN_CANCELLED, cancelled
    if run.error is not None:
        return EventKind.RUN_FAILED, {"error": run.error, "failed_step": run.failed_step}
    return EventKind.RUN_COMPLETED, NO_DATA


def _left(run: RunState) -> Mapping[str, Any]:
    """Return the steps that were not undone, for the run's last event."""
    statuses = {step_id: run.steps[step_id].status for step_id in run.compensations}
    left = tuple(
        step_id for step_id, status in statuses.items() if status is not StepStatus.COMPENSATED
    )
    children = () if run.family is None else tuple(run.family.left)
    steps = {"uncompensated": left} if left else NO_DATA
    return {**steps, "children_left": children} if children else steps


def _dependents(run: RunState, failed: StepState) -> Iterator[StepState]:
    """Yield the pending steps that depend on a failed step, directly or not."""
    seen: set[str] = set()
    line = list(failed.plan.dependents)
    while line:
        step_id = line.pop()
        if step_id not in seen:
            seen.add(step_id)
            step = run.steps[step_id]
            line.extend(step.plan.dependents)
            if step.status is StepStatus.PENDING:
                yield step


def backoff(
    step: StepState,
    error: BaseException | None,
    now: float,
    random: Callable[[], float],
    *,
    cut: int = 0,
) -> float | None:
    """Return the seconds until the step's next attempt, or None if there is none.

    Attempts that were cut, in earlier lives of the run, count for nothing.

    A wait that would outlast the step's total timeout is not begun: the step fails at once with the
    error at hand, which a timeout would hide.
    """
    policy, spent = step.step.retry, step.attempts - cut
    if policy is None or error is None or spent >= policy.max_attempts:
        return None
    if not policy.accepts(error):
        return None
    delay = error.seconds if isinstance(error, RetryAfter) else policy.delay(spent, random())
    total = step.total_deadline
    return None if total is not None and now + delay >= total[0] else delay
