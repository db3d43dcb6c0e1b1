"""Pauses: runs of which nothing starts, while attempts in flight go on to their end.

Part of the supervisor's brain and as pure as the rest (see `decisions`):

    PauseRun         -> run.paused; what competes for workers, for the sync lane or for a place is
                        withdrawn
    the conclusion   -> what has become ready of paused runs is left out; a paused run of which
                        nothing is in flight, but for attempts that wait, releases its place
    PauseRun(None)   -> run.unpaused; the run waits for a place, if it has none; then everything
                        that is ready competes again

Nothing is kept in a line of its own: a step that is ready says so itself, and so do a compensator
and a suspended attempt whose wait is over. A paused run has one thing more to settle, which is its
pause, so that it does not complete. It may fail, by its deadline or by what was in flight, and it
may be cancelled, which ends the pause. If it must then be undone, compensation begins when the
pause is over.

With `freeze`, clocks stand still: the deadline of the run, and the total timeouts and backoffs of
its steps. They are kept as cancelled deadlines, by the moment at which the pause began, and are set
again at the end of the pause, later by its length. The timeout of an attempt in flight goes on.

While no run is held, nothing of this is asked: the conclusion is another function then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorflow.errors.running import StepTimeout
from actorflow.model.events import NO_DATA
from actorflow.model.lifecycle import EventKind, StepStatus
from actorflow.model.messages import RunStirred
from actorflow.scheduling.deadlines import Due
from actorflow.scheduling.ledger import Hold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from actorflow.model.pausing import Pause, Pausing
    from actorflow.scheduling.deadlines import Deadline, Deadlines
    from actorflow.scheduling.ledger import RunState, StepState
    from actorflow.scheduling.outbox import Outbox
    from actorflow.scheduling.queues import RunQueue
    from actorflow.scheduling.starts import Starts
    from actorflow.scheduling.suspensions import Suspensions

__all__ = ["Pauses"]


class Pauses:
    """Holds runs, and lets them go on.

    Args:
        outbox: Where events go.
        deadlines: The deadlines of all runs.
        starts: Starts what is ready.
        suspensions: Gives a run its place back.
        waiting: The runs that wait for a place.
        runs: The runs in progress, by id.
        admit: Gives free places to waiting runs.
    """

    def __init__(
        self,
        outbox: Outbox,
        deadlines: Deadlines,
        starts: Starts,
        suspensions: Suspensions,
        waiting: RunQueue,
        *,
        runs: Mapping[str, RunState],
        admit: Callable[[], None],
    ) -> None:
        self._outbox = outbox
        self._deadlines = deadlines
        self._starts = starts
        self._suspensions = suspensions
        self._waiting = waiting
        self._runs = runs
        self._admit = admit
        self.grant: Callable[[], None] = starts.grant
        """Grants what can start of the runs that are not held."""
        self._held: dict[str, RunState] = {}
        self._restless: dict[str, RunState] = {}
        """Those of them that may still release a place, or end."""

    # ── Pauses ───────────────────────────────────────────────────────────────────────────────

    def begin(self, run: RunState, pausing: Pausing) -> None:
        """Have a run begin that is paused, or was when its former life ended."""
        if pausing.wanted is not None:
            self._hold(run, pausing.wanted, recorded=pausing.recorded)
            return
        self._outbox.run(run, EventKind.RUN_UNPAUSED)
        self._waiting.push(run)

    def take(self, run: RunState, pause: Pause | None) -> None:
        """Pause a run or let it go on; one that was cancelled must end, and is not paused."""
        if pause is None:
            self._unpause(run)
        elif run.cancel_reason is not None:
            self._outbox.run(run, EventKind.RUN_UNPAUSED, _lifted(run.cancel_reason))
        elif run.hold is None or run.hold.pause is None:
            self._hold(run, pause)

    def lift(self, run: RunState, reason: str) -> None:
        """End the pause of a run that is cancelled, if it is paused."""
        self._unpause(run, _lifted(reason))

    def let_go(self, run: RunState) -> None:
        """Have everything of a run compete that is ready; the run has a place."""
        self._drop(run)
        run.away = run.rejoins = False
        self._starts.compete(run)
        if run.suspended:  # it may only wait, and need no place
            self._outbox.perform(RunStirred(run.run_id))

    def _unpause(self, run: RunState, data: Mapping[str, Any] = NO_DATA) -> None:
        hold = run.hold
        if hold is None or hold.pause is None:
            return
        self._outbox.run(run, EventKind.RUN_UNPAUSED, data)
        hold.settle(run)
        hold.pause = None
        self._thaw(run, hold)
        if run.active:
            self.let_go(run)
        elif run.family is not None and run.family.undoing is not None:
            self._drop(run)  # the child that is undone may need the place
        elif run.away:
            self._restless[run.run_id] = run
            self._suspensions.rejoin(run)
        else:
            self._drop(run)
            self._waiting.push(run)

    def _hold(self, run: RunState, pause: Pause, *, recorded: bool = False) -> None:
        if not recorded:
            data = {"reason": pause.reason, "freeze": pause.freeze}
            self._outbox.run(run, EventKind.RUN_PAUSED, data)
        if run.hold is None:
            run.hold = Hold(self._restless)
        run.hold.pause = pause
        run.hold.count(run)
        self._starts.withdraw(run)
        if not run.active:
            self._waiting.forget(run)
            run.rejoins = False
        if pause.freeze:
            self._freeze(run, run.hold)
        self._held[run.run_id] = self._restless[run.run_id] = run
        self.grant = self._grant

    def _drop(self, run: RunState) -> None:
        run.hold = None
        self._forget(run)

    def _forget(self, run: RunState) -> None:
        self._held.pop(run.run_id, None)
        self._restless.pop(run.run_id, None)

    # ── Conclusions ──────────────────────────────────────────────────────────────────────────

    def _grant(self) -> None:
        """Grant what can start, if not all runs are free to start anything."""
        for run in tuple(self._restless.values()):
            if self._runs.get(run.run_id) is not run:
                self._forget(run)  # it has ended, or is left
            elif run.active and run.in_flight == len(run.suspended):
                run.active, run.away = False, True
                self._waiting.release()
                self._admit()
            if not (run.active or run.ending or run.rejoins):
                self._restless.pop(run.run_id, None)
        self._starts.withhold()
        self._starts.grant()
        if not self._held:
            self.grant = self._starts.grant

    # ── Clocks ───────────────────────────────────────────────────────────────────────────────

    def _freeze(self, run: RunState, hold: Hold) -> None:
        hold.still = self._outbox.now
        hold.deadline = run.deadline
        if run.expiry is not None:
            self._deadlines.cancel(run.expiry)
        _postpone(run, None)
        for step in _unsettled(run):
            for deadline in (step.total_deadline, step.backoff):
                if deadline is not None:
                    self._deadlines.cancel(deadline)
            _limit(run, step)

    def _thaw(self, run: RunState, hold: Hold) -> None:
        if hold.still is None:
            return
        later = self._outbox.now - hold.still
        hold.still = None
        if hold.deadline is not None and not run.ending:
            _postpone(run, hold.deadline + later)
            run.expiry = self._deadlines.set(hold.deadline + later, Due.RUN, run.run_id)
        for step in _unsettled(run):
            if step.backoff is not None and step.status is StepStatus.RETRYING:
                step.backoff = self._moved(step.backoff, later, Due.BACKOFF, step)
            total = step.total_deadline
            if total is not None and not _has_overrun(step):
                step.total_deadline = self._moved(total, later, Due.TOTAL, step)
            _limit(run, step)

    def _moved(self, deadline: Deadline, later: float, due: Due, step: StepState) -> Deadline:
        self._deadlines.cancel(deadline)
        return self._deadlines.set(deadline[0] + later, due, step.run_id, step)


def _lifted(reason: str) -> Mapping[str, Any]:
    """Return the data of an event with which a cancellation ends a pause."""
    return {"reason": reason, "cancelled": True}


def _unsettled(run: RunState) -> Iterator[StepState]:
    """Yield the steps whose clocks may run, and the current compensator."""
    yield from (step for step in run.steps.values() if not step.status.settled)
    if run.undoing is not None:
        yield run.undoing


def _has_overrun(step: StepState) -> bool:
    """Return whether the attempt in flight is being stopped because all attempts took too long."""
    error = step.stop_error
    return step.stopping and isinstance(error, StepTimeout) and error.kind == "total"


def _postpone(run: RunState, deadline: float | None) -> None:
    run.deadline = deadline
    run.scope.postpone(deadline)


def _limit(run: RunState, step: StepState) -> None:
    """Tell an attempt in flight by when it has to end."""
    if step.current is not None:
        clocks = [step.attempt_deadline]
        if run.hold is None or run.hold.still is None:
            clocks.append(step.total_deadline)
        moments = [clock[0] for clock in clocks if clock is not None]
        if run.deadline is not None and step.undoes is None:
            moments.append(run.deadline)
        step.current.deadline = min(moments, default=None)
