"""Leaving: runs are stopped without being ended, so that another orchestrator goes on with them.

Part of the supervisor's brain and as pure as the rest (see `decisions`). A shutdown leaves the runs
that have not ended, if others can take them:

    LeaveRuns        -> StopAttempt for each attempt in flight; no event
    AttemptFinished  -> the worker or the lane is released; no event, whatever the outcome
    a grace passes   -> AbandonAttempt
    with the run's last attempt: RunLeft, or RunEvicted for one that is evicted (see `evictions`)

The record thus stays as it was, and says what a record says after a crash: the run is in progress,
and the attempts in flight have not ended. What an attempt returns after it was asked to stop is not
recorded; the step runs again elsewhere.

A run that is ending already, because it has failed or was cancelled, ends first. If it must be
undone, it is left when that is recorded. A run that is cancelled while its attempts stop is
cancelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorflow.model.lifecycle import RunStatus, StepStatus
from actorflow.model.mailing import RunEvicted
from actorflow.model.messages import (
    AttemptAbandoned,
    AttemptFinished,
    CompensatorLost,
    RunLeft,
)
from actorflow.scheduling.deadlines import Due

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.model.mail import Eviction
    from actorflow.model.messages import BlockedLoop
    from actorflow.scheduling.deadlines import Deadlines
    from actorflow.scheduling.endings import Endings
    from actorflow.scheduling.ledger import RunState, StepState
    from actorflow.scheduling.outbox import Outbox
    from actorflow.scheduling.starts import Starts

    _AboutAttempt = AttemptFinished | AttemptAbandoned | BlockedLoop | CompensatorLost

__all__ = ["Leaving"]


class Leaving:
    """The runs that are being left.

    Args:
        outbox: Where effects go; it gets no event.
        deadlines: The deadlines of all runs.
        starts: Releases what attempts held.
        endings: Stops and abandons attempts.
        live: The runs in progress, by id; those that are left are removed.
    """

    def __init__(
        self,
        outbox: Outbox,
        deadlines: Deadlines,
        starts: Starts,
        endings: Endings,
        live: dict[str, RunState],
    ) -> None:
        self._live = live
        self._evicted: dict[str, Eviction] = {}
        """How runs go whose attempts have not all ended, and that are evicted; by run id."""
        self.begun: bool = False
        """Whether the orchestrator leaves its runs, so that none begins."""
        self.runs: dict[str, RunState] = {}
        """The runs whose attempts have not all ended, by id."""
        self._grace = 0.0
        self._outbox = outbox
        self._deadlines = deadlines
        self._starts = starts
        self._endings = endings

    def begin(self, grace: float) -> None:
        """Leave runs from now on; the first grace counts."""
        if not self.begun:
            self.begun, self._grace = True, grace

    def may_take(self, run: RunState) -> bool:
        """Return whether a run can be left now; one that is ending gets the grace to end."""
        if not run.ending or run.status is RunStatus.COMPENSATING:
            return True
        self._endings.give_grace(run, self._grace)
        return False

    def evict(self, run: RunState, eviction: Eviction, grace: float) -> None:
        """Stop the attempts of a run, and say how it goes when they have ended."""
        self._evicted[run.run_id] = eviction
        self.take(run, grace)

    def take(self, run: RunState, grace: float | None = None) -> None:
        """Stop the attempts of a run, and forget what it waits for; each gets a grace to end."""
        del self._live[run.run_id]
        self.runs[run.run_id] = run
        run.grace = self._grace if grace is None else grace
        for step in _steps(run):
            if step.current is not None:
                self._stop(run, step)
            elif step.status is StepStatus.READY:
                step.step_back()
            for deadline in (step.backoff, step.total_deadline):
                if deadline is not None:
                    self._deadlines.cancel(deadline)
        for deadline in (run.expiry, run.cut):
            if deadline is not None:
                self._deadlines.cancel(deadline)
        if not run.in_flight:
            self._let_go(run)

    def _stop(self, run: RunState, step: StepState) -> None:
        if step.stopping and step.grace is not None:
            self._deadlines.cancel(step.grace)
            self._endings.wait_for_end(run, step)
        else:
            self._endings.stop(run, step, None)

    def over(self, message: _AboutAttempt) -> None:
        """Release what an attempt of a left run held; let the run go once nothing is in flight."""
        attempt = message.attempt
        run = self.runs.get(attempt.scope.run_id)
        step = None if run is None else _holder(run, message)
        if run is None or step is None:
            return
        if isinstance(message, CompensatorLost) and attempt.submitted:
            return  # it runs, and its executor will report how it ended
        if not isinstance(message, (AttemptFinished, AttemptAbandoned, CompensatorLost)):
            return
        attempt.submitted = True  # a former actor may still hold its grant
        self._starts.release(run, step)
        if not run.in_flight:
            self._let_go(run)

    def due(self, due: Due, run_id: str, step: StepState | None) -> None:
        """Abandon an attempt whose grace has passed."""
        if due is Due.GRACE and run_id in self.runs and step is not None:
            self._endings.abandon(step)

    def _let_go(self, run: RunState) -> None:
        """Forget a run of which nothing is in flight."""
        run_id = run.run_id
        del self.runs[run_id]
        eviction = self._evicted.pop(run_id, None)
        self._outbox.perform(RunLeft(run_id) if eviction is None else RunEvicted(run_id, eviction))
        self._starts.forget(run)

    def take_back(self, run_id: str) -> RunState | None:
        """Return a run whose attempts have not all ended, to be ended after all."""
        run = self.runs.get(run_id)
        if run is None or run.ending:
            return None
        self._evicted.pop(run_id, None)
        self._live[run_id] = self.runs.pop(run_id)
        return run


def _steps(run: RunState) -> Iterator[StepState]:
    yield from run.steps.values()
    if run.undoing is not None:
        yield run.undoing


def _holder(run: RunState, message: _AboutAttempt) -> StepState | None:
    """Return the step or compensator whose attempt in flight a message is about."""
    return next((step for step in _steps(run) if step.current is message.attempt), None)
