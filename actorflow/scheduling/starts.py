"""Starts of attempts: workers and sync lanes are taken here, and given back here.

Part of the supervisor's brain and as pure as the rest (see `decisions`). An attempt begins in
`_start` and is over in `release`. A worker or a sync lane changes hands nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorflow.model.context import Attempt, Compensation
from actorflow.model.lifecycle import EventKind
from actorflow.model.messages import Compensate, Execute
from actorflow.scheduling.crashes import seen_by
from actorflow.scheduling.deadlines import Deadline, Deadlines, Due
from actorflow.scheduling.queues import ReadyQueue, Workers

if TYPE_CHECKING:
    from actorflow.scheduling.ledger import RunState, StepState
    from actorflow.scheduling.outbox import Outbox

__all__ = ["Starts"]

# Bound once: looking a member up on its enum costs more than a comparison.
_STEP_STARTED: Final = EventKind.STEP_STARTED
_ATTEMPT: Final = Due.ATTEMPT
_TOTAL: Final = Due.TOTAL


class Starts:
    """Starts ready steps when a worker or their run's sync lane is free.

    Args:
        outbox: Where events and effects go.
        deadlines: The deadlines of all runs.
        workers: The async worker budget.
    """

    def __init__(self, outbox: Outbox, deadlines: Deadlines, workers: Workers) -> None:
        self._outbox = outbox
        self._deadlines = deadlines
        self._workers = workers
        self.queue: Final = ReadyQueue()

    def compete(self, run: RunState, step: StepState) -> None:
        """Start a ready step, or queue it for a worker or for its run's sync lane."""
        if step.step.async_:
            if self._workers.free and not self.queue.order:
                self._start(run, step)
            else:
                self.queue.push(run, step)
        elif run.lane.busy:
            run.lane.push(step)
        else:
            self._start(run, step)

    def _start(self, run: RunState, step: StepState) -> None:
        if step.orphaned:
            step.passed_over = True
            return
        options, outbox, deadline = step.step, self._outbox, run.deadline
        if options.async_:
            self._workers.free -= 1
        else:
            run.lane.busy = True
        run.in_flight += 1
        step.attempts = number = step.attempts + 1
        if number == 1:
            step.started_at = outbox.wall
            if options.total_timeout is not None:
                step.total_deadline = self._due_after(options.total_timeout, _TOTAL, run, step)
        if step.total_deadline is not None:
            deadline = _earlier(step.total_deadline[0], deadline)
        if options.timeout is not None:
            moment = outbox.now + options.timeout
            step.attempt_deadline = self._deadlines.set(moment, _ATTEMPT, run.run_id, step)
            if deadline is None or moment < deadline:
                deadline = moment
        if step.undoes is not None:
            self._undo(run, step, deadline)
            return
        step.current = attempt = Attempt(run.scope, step.id, number, deadline, step.executor)
        outbox.step(run, step, _STEP_STARTED, number)
        outbox.effects.append((step, Execute(attempt)))

    def _undo(self, run: RunState, undo: StepState, deadline: float | None) -> None:
        undo.current = attempt = Compensation(
            run.scope, undo.id, undo.attempts, deadline, undo.executor
        )
        self._outbox.compensator(run, undo, _STEP_STARTED)
        self._outbox.effects.append((None, Compensate(attempt, seen_by(run, undo))))

    def _due_after(self, timeout: float, due: Due, run: RunState, step: StepState) -> Deadline:
        return self._deadlines.set(self._outbox.now + timeout, due, run.run_id, step)

    def release(self, run: RunState, step: StepState) -> None:
        """Release what an attempt that is over held."""
        step.current = None
        run.in_flight -= 1
        if step.attempt_deadline is not None:
            self._deadlines.cancel(step.attempt_deadline)
            step.attempt_deadline = None
        if step.grace is not None:
            self._deadlines.cancel(step.grace)
        if step.step.async_:
            self._workers.free += 1
        else:
            run.lane.busy = False

    def grant(self) -> None:
        """Give the free workers to the next steps in the queue."""
        queue, workers = self.queue, self._workers
        while workers.free and queue.order:
            following = queue.pop()
            if following is not None:
                self._start(*following)

    def forget(self, run: RunState) -> None:
        """Drop the waiting steps of a run that has ended."""
        if self.queue.order:
            self.queue.forget(run.run_id)

    def follow(self, run: RunState) -> None:
        """Start the next step of the run's sync lane, if the lane is free."""
        lane = run.lane
        while lane.waiting and not lane.busy and not run.ending:
            following = lane.pop()
            if following is not None:
                self._start(run, following)


def _earlier(moment: float, other: float | None) -> float:
    return moment if other is None or moment < other else other
