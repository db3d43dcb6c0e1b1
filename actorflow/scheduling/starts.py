"""Starts of attempts: workers and sync lanes are taken here, and given back here.

Part of the supervisor's brain and as pure as the rest (see `decisions`). Steps that become ready
wait in a list until the decision is concluded. Then all of them are ranked together, and those for
which there is a worker or a free lane are granted. An attempt begins in `_start` and is over in
`release`. A worker or a sync lane changes hands nowhere else.
"""

from __future__ import annotations

import itertools
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from actorflow.model.attempts import AttemptResult
from actorflow.model.context import Attempt, Compensation
from actorflow.model.lifecycle import EventKind, StepStatus
from actorflow.model.messages import (
    Compensate,
    ContinueAttempt,
    DependencyCompleted,
    Execute,
    RunStirred,
)
from actorflow.scheduling.deadlines import Deadlines, Due
from actorflow.scheduling.ledger import Continuation
from actorflow.scheduling.queues import Level, ReadyQueue, Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorflow.scheduling.deadlines import Deadline
    from actorflow.scheduling.ledger import RunState, StepState
    from actorflow.scheduling.outbox import Effect, Grant, Outbox

    _Ready = tuple[int, tuple[int, int], int, RunState, StepState]
    """The rank of the run, the rank of the step, a unique number; the run and the step."""

__all__ = ["Starts"]

# Bound once: looking a member up on its enum costs more than a comparison.
_STEP_READY: Final = EventKind.STEP_READY
_STEP_STARTED: Final = EventKind.STEP_STARTED
_STEP_CONTINUED: Final = EventKind.STEP_CONTINUED
_PENDING: Final = StepStatus.PENDING
_READY: Final = StepStatus.READY
_ATTEMPT: Final = Due.ATTEMPT
_TOTAL: Final = Due.TOTAL
_run_of: Final = itemgetter(3)


class Starts:
    """Starts ready steps when a worker or their run's sync lane is free.

    Args:
        outbox: Where events and grants go.
        deadlines: The deadlines of all runs.
        workers: The async worker budget.
        ageing: Seconds of waiting that count as one priority; None if waiting counts for nothing.
        reclaim: Called for a run without a place whose body has ended while it was suspended.
    """

    def __init__(
        self,
        outbox: Outbox,
        deadlines: Deadlines,
        workers: Workers,
        ageing: float | None,
        reclaim: Callable[[RunState], None],
    ) -> None:
        self._reclaim = reclaim
        self._ageing = ageing
        self._key: Callable[[_Ready], tuple[Any, ...]] | None = None if ageing is None else _by_sum
        """Ranks steps that are ready together, if they do not compare by themselves."""
        self._outbox = outbox
        self._deadlines = deadlines
        self._cancel: Callable[[Deadline], None] = deadlines.cancel
        self._workers = workers
        self._queue = ReadyQueue()
        self._ready: list[_Ready] = []
        """The steps that have become ready within the current decision."""
        self._freed: list[RunState] = []
        """The runs whose sync lane has been given back while steps waited for it."""
        self._number: Callable[[], int] = itertools.count().__next__

    # ── Steps that become ready ──────────────────────────────────────────────────────────────

    def begin(self, run: RunState) -> None:
        """Have the first steps of a run compete."""
        steps, ready = run.steps, self.ready
        for name in steps if run.revived else run.plan.first_steps:
            step = steps[name]
            if step.status is _PENDING and not step.open:
                ready(run, step)

    def ready(self, run: RunState, step: StepState) -> None:
        """Record that a step is ready, and have it compete when the decision is concluded."""
        self._outbox.step(run, step, _STEP_READY)
        self._ready.append((run.rank, step.plan.rank, self._number(), run, step))

    def ready_to_undo(self, run: RunState, undo: StepState) -> None:
        """Have a compensator compete when the decision is concluded."""
        self._outbox.compensator(run, undo, _STEP_READY)
        self._ready.append((run.rank, undo.plan.rank, self._number(), run, undo))

    def ready_to_continue(self, run: RunState, known: Continuation) -> None:
        """Have a suspended step compete when the decision is concluded."""
        known.compete()
        self._ready.append((run.rank, known.plan.rank, self._number(), run, known))

    def grant(self) -> None:
        """Rank what has become ready, and start what a worker or a lane is free for."""
        if self._ready:
            self._rank()
        if self._queue.order:
            self._empty_queue()
        if self._freed:
            self._fill_lanes()

    def _rank(self) -> None:
        """Start the steps that have become ready, in order, or queue them."""
        ready, self._ready = self._ready, []
        queue = self._queue
        enough = len(ready) <= self._workers.free and not queue.order
        if len(ready) > 1:
            ready.sort(key=self._key)
            # Steps of several runs go through the queue, where runs take turns.
            enough = enough and len(set(map(_run_of, ready))) == 1
        for _, _, _, run, step in ready:
            if step.status is not _READY:
                continue  # cancelled within the same decision
            if step.step.async_:
                if enough:
                    self._start(run, step)
                else:
                    queue.push(run, step, self._level(run.rank, step.plan.rank[0]))
            elif not (run.lane.busy or run.lane.waiting):
                self._start(run, step)
            else:
                _, level = self._level(0, step.plan.rank[0])
                run.lane.push(step, level, 0.0 if run.ways is None else run.ways[step.id])
                self._freed.append(run)

    def _level(self, run: int, step: int) -> Level:
        """Return what a step that has become ready now competes by, for as long as it waits.

        Args:
            run: The run's negated priority.
            step: That of the step.
        """
        if self._ageing is None:
            return run, step
        # A step that waits gains as fast as all others do, so who came earlier by so many seconds
        # stays ahead by one priority: the level need not change.
        return 0, run + step + self._outbox.now / self._ageing

    def compare_ways(self) -> None:
        """Take note that there is a run whose steps are ranked by their way to the end."""
        if self._key is None:
            self._key = _by_way

    def _empty_queue(self) -> None:
        queue, workers = self._queue, self._workers
        while workers.free and queue.order:
            following = queue.pop()
            if following is not None:
                self._start(*following)

    def _fill_lanes(self) -> None:
        freed, self._freed = self._freed, []
        for run in freed:
            lane = run.lane
            while lane.waiting and not lane.busy:
                following = lane.pop()
                if following is not None:
                    self._start(run, following)

    def forget(self, run: RunState) -> None:
        """Drop the waiting steps of a run that has ended."""
        if self._queue.order:
            self._queue.forget(run.run_id)

    # ── Attempts ─────────────────────────────────────────────────────────────────────────────

    def _start(self, run: RunState, step: StepState) -> None:
        outbox = self._outbox
        if step.step.async_:
            self._workers.free -= 1
        else:
            run.lane.busy = True
        run.in_flight += 1
        step.attempts = number = step.attempts + 1
        if number == 1:
            step.started_at = outbox.wall
        elif step.undoes is None:
            run.retried[step.id].append(AttemptResult(number=number, started_at=outbox.wall))
        if step.undoes is not None:
            if isinstance(step, Continuation):
                self._continue(run, step)
            else:
                self._undo(run, step)
            return
        step.current = attempt = Attempt(run.scope, step.id, number, None, step.executor, step.plan)
        outbox.step(run, step, _STEP_STARTED, number)
        outbox.grants.append((run, step, Execute(attempt)))

    def _undo(self, run: RunState, undo: StepState) -> None:
        undo.current = attempt = Compensation(
            run.scope, undo.id, undo.attempts, None, undo.executor, undo.plan
        )
        self._outbox.compensator(run, undo, _STEP_STARTED)
        self._outbox.grants.append((run, undo, Compensate(attempt, seen_by(run, undo))))

    def _continue(self, run: RunState, known: Continuation) -> None:
        run.in_flight -= 1  # it was in flight all the time
        step = known.undoes
        if step is None or step.current is None or run.suspended.get(step) is not known:
            raise AssertionError(f"{known.id} was not suspended")
        if step.stopping:
            self._give_back(run, step)
            return
        self._forget_suspended(run, step)
        if known.total_left is not None:  # the attempt may end before its grant is sent
            self._restart(run, step, _TOTAL, self._outbox.now + known.total_left)
        self._outbox.attempt(run, step, _STEP_CONTINUED, step.current.number)
        self._outbox.grants.append((run, known, ContinueAttempt(step.current)))

    def start_clocks(self, grants: Sequence[Grant], now: float) -> list[Effect]:
        """Set the deadlines of attempts, and return the effects that send their grants.

        The grants may have waited for their events to be recorded; that time counts for nothing.
        """
        deadlines = self._deadlines
        effects: list[Effect] = []
        for run, step, message in grants:
            attempt: Attempt = message.attempt
            options, deadline = step.step, run.deadline
            effects.append((None if step.undoes else run, step.id, message))
            if step.current is not attempt or step.stopping:
                if isinstance(step, Continuation):
                    self._restart_clocks(run, step, attempt, now)
                continue
            if options.total_timeout is not None:
                if step.total_deadline is None:
                    moment = now + options.total_timeout
                    step.total_deadline = deadlines.set(moment, _TOTAL, run.run_id, step)
                deadline = _earlier(step.total_deadline[0], deadline)
            if options.timeout is not None:
                moment = now + options.timeout
                step.attempt_deadline = deadlines.set(moment, _ATTEMPT, run.run_id, step)
                if deadline is None or moment < deadline:
                    deadline = moment
            attempt.deadline = deadline
        return effects

    def _restart_clocks(
        self, run: RunState, known: Continuation, attempt: Attempt, now: float
    ) -> None:
        """Set the deadlines of an attempt that continues, unless it has ended since."""
        step, deadline = known.undoes, run.deadline
        if step is None or step.current is not attempt or step.stopping:
            return
        for left, due in ((known.total_left, _TOTAL), (known.attempt_left, _ATTEMPT)):
            if left is not None:
                moment = self._restart(run, step, due, now + left)
                deadline = _earlier(moment, deadline)
        attempt.deadline = deadline

    def _restart(self, run: RunState, step: StepState, due: Due, moment: float) -> float:
        entry = self._deadlines.set(moment, due, run.run_id, step)
        if due is _TOTAL:
            if step.total_deadline is not None:
                self._cancel(step.total_deadline)
            step.total_deadline = entry
        else:
            step.attempt_deadline = entry
        return moment

    def suspend(self, run: RunState, step: StepState) -> None:
        """Release what an attempt holds that is suspended."""
        self._give_back(run, step)
        self._outbox.perform(RunStirred(run.run_id))

    def release(self, run: RunState, step: StepState) -> None:
        """Release what an attempt that is over held."""
        step.current = None
        run.in_flight -= 1
        if step.attempt_deadline is not None:
            self._cancel(step.attempt_deadline)
            step.attempt_deadline = None
        if step.grace is not None:
            self._cancel(step.grace)
        if run.suspended and self._held_nothing(run, step):
            return
        if step.step.async_:
            self._workers.free += 1
        else:
            run.lane.busy = False
            if run.lane.waiting:
                self._freed.append(run)

    def _give_back(self, run: RunState, step: StepState) -> None:
        if step.step.async_:
            self._workers.free += 1
        else:
            run.lane.busy = False
            if run.lane.waiting:
                self._freed.append(run)

    def _held_nothing(self, run: RunState, step: StepState) -> bool:
        """Return whether an attempt that is over was suspended."""
        self._outbox.perform(RunStirred(run.run_id))
        known = run.suspended.get(step)
        if known is None:
            return False
        self._forget_suspended(run, step)
        known.leave()
        if known.total_left is not None:
            self._restart(run, step, _TOTAL, self._outbox.now + known.total_left)
        if not run.active and (run.undoing is not None or not run.ending):
            self._reclaim(run)
        return True

    def _forget_suspended(self, run: RunState, step: StepState) -> None:
        run.suspended = {it: known for it, known in run.suspended.items() if it is not step}


def _earlier(moment: float, other: float | None) -> float:
    return moment if other is None or moment < other else other


def _by_way(ready: _Ready) -> tuple[float, ...]:
    rank, (priority, position), count, run, step = ready
    way = 0.0 if run.ways is None else run.ways[step.id]
    return rank, priority, -way, position, count


def _by_sum(ready: _Ready) -> tuple[float, ...]:
    rank, priority, *rest = _by_way(ready)
    return (rank + priority, *rest)


_RETURNED: Final = frozenset(
    {StepStatus.COMPLETED, StepStatus.COMPENSATED, StepStatus.COMPENSATION_FAILED}
)


def seen_by(run: RunState, undo: StepState) -> list[DependencyCompleted]:
    """Return the arguments of a compensator: what its step received, and the step's output.

    Some dependencies may be undone already, if the workflow was changed before the run was resumed.
    """
    steps = [run.steps[step_id] for step_id in undo.plan.dependencies]
    return [
        DependencyCompleted(step.id, step.output, step.status not in _RETURNED) for step in steps
    ]
