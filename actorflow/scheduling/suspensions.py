"""Suspensions: attempts that wait for a child run or a message, and hold nothing while they do.

Part of the supervisor's brain and as pure as the rest (see `decisions`). The wait itself takes
place outside. The body says when it begins and when it is over:

    SuspendAttempt   -> step.suspended; the worker or the sync lane is released, and the step's
                        timeouts stand still; RunStirred
    RunStirred       -> the place of the run is released if it only waits
    WakeAttempt      -> the run waits for a place, if it has none; then the step competes again
    the conclusion   -> step.continued, ContinueAttempt, once there is a worker or a free lane

A step that competes again is represented in the queues by its `Continuation`, at the priority of
the step. An attempt that is stopped while it waits, or whose body ends while it waits, releases
nothing. The run of such a body takes its place back at once, even if there is none free.

The same holds for compensators, whose events are `compensation.suspended` and `.continued`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorflow.model.lifecycle import EventKind, StepStatus
from actorflow.scheduling.ledger import Continuation

if TYPE_CHECKING:
    from actorflow.model.messages import SuspendAttempt
    from actorflow.scheduling.deadlines import Deadline, Deadlines
    from actorflow.scheduling.ledger import RunState, StepState
    from actorflow.scheduling.outbox import Outbox
    from actorflow.scheduling.queues import RunQueue
    from actorflow.scheduling.starts import Starts

__all__ = ["Suspensions", "only_waits"]

_WILL_RUN: Final = frozenset({StepStatus.READY, StepStatus.RETRYING})


class Suspensions:
    """Suspends attempts, and lets them continue.

    Args:
        outbox: Where events and effects go.
        deadlines: The deadlines of all runs.
        starts: Releases what an attempt holds, and grants it again.
        waiting: The runs that wait for a place.
    """

    def __init__(
        self, outbox: Outbox, deadlines: Deadlines, starts: Starts, waiting: RunQueue
    ) -> None:
        self._outbox = outbox
        self._deadlines = deadlines
        self._starts = starts
        self._waiting = waiting

    # ── Attempts ─────────────────────────────────────────────────────────────────────────────

    def suspend(self, run: RunState, step: StepState, message: SuspendAttempt) -> None:
        """Suspend an attempt, unless it is suspended already or must stop."""
        if step.stopping or step in run.suspended:
            return
        attempt = message.attempt
        data = {"reason": message.reason}
        self._outbox.attempt(run, step, EventKind.STEP_SUSPENDED, attempt.number, data)
        now = self._outbox.now
        clock = now if run.hold is None else run.hold.clock(now)
        known = Continuation(
            step, self._left(step.attempt_deadline, now), self._left(step.total_deadline, clock)
        )
        step.attempt_deadline = step.total_deadline = None
        attempt.deadline = run.deadline  # None when the run is compensated
        run.suspended = {**run.suspended, step: known}
        self._starts.suspend(run, step)

    def _left(self, deadline: Deadline | None, now: float) -> float | None:
        """Cancel a deadline; return how many seconds were left."""
        if deadline is None:
            return None
        self._deadlines.cancel(deadline)
        moment: float = deadline[0]
        return max(0.0, moment - now)

    def wake(self, run: RunState, step: StepState) -> None:
        """Have a suspended attempt compete for what it released, unless it must stop."""
        known = run.suspended.get(step)
        if known is None or known.woken or step.stopping:
            return
        known.woken = True
        if run.active:
            self._starts.ready_to_continue(run, known)
        else:
            self.rejoin(run)

    # ── Places of runs ───────────────────────────────────────────────────────────────────────

    def release_place(self, run: RunState) -> bool:
        """Release the place of a run that only waits; return False for any other run."""
        if not (run.active and only_waits(run)):
            return False
        run.active, run.away = False, True
        self._waiting.release()
        return True

    def rejoin(self, run: RunState) -> None:
        """Have a run that released its place wait for one, unless it is paused."""
        paused = run.hold is not None and run.hold.pause is not None
        if run.away and not (run.rejoins or paused):
            run.rejoins = True
            self._waiting.push(run)

    def admit(self, run: RunState) -> None:
        """Have the steps that may continue compete, because their run has a place again."""
        run.away = run.rejoins = False
        for known in run.suspended.values():
            if known.woken:
                self._starts.ready_to_continue(run, known)


def only_waits(run: RunState) -> bool:
    """Return whether a run does nothing but wait, and has no step that waits for its turn."""
    suspended = run.suspended
    return (
        (not run.ending or run.undoing is not None)
        and 0 < len(suspended) == run.in_flight
        and not any(known.woken for known in suspended.values())
        and not any(step.status in _WILL_RUN for step in run.steps.values())
    )
