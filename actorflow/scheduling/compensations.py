"""Compensation: the completed steps of a failed run are undone, one at a time.

Part of the supervisor's brain and as pure as the rest (see `decisions`). A failed run does not end
with its last attempt if it has steps to undo, and neither does a cancelled run that was cancelled
with `compensate=True`:

    run.compensating        says why the run ends, and which steps are undone, in order
    compensation.started    an attempt of the current compensator; Compensate
    AttemptFinished      -> compensation.completed, then the next compensator
                            compensation.retrying, and .started again after the backoff
                            compensation.failed, then the next compensator nevertheless
    run.failed or .cancelled, when no step is left

Steps are undone in the reverse order of their completion, one at a time, so that a step is undone
only after the steps that built on it. The order is in `run.compensating`, so a run can be resumed
from that event and those that follow it. The children of a step are undone after the step itself
(see `families`).

A compensator runs like a step. It has its own `StepState`, whose `undoes` is the step's. It holds
a worker if it is async, and its run's sync lane if it is not. It has its own retries and timeouts,
and a new actor for each attempt. The run's timeout no longer applies. Cancelling the run changes
nothing; the grace of a shutdown does (see `cut`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorflow.errors.running import ActorCrashed, CompensationCut
from actorflow.model.lifecycle import EventKind, RunStatus
from actorflow.model.messages import (
    AttemptAbandoned,
    AttemptFinished,
    Compensate,
    CompensatorLost,
)
from actorflow.scheduling.crashes import MOST_CRASHES
from actorflow.scheduling.deadlines import Due
from actorflow.scheduling.endings import timeout_of, verdict
from actorflow.scheduling.families import is_to_be_undone
from actorflow.scheduling.ledger import StepState, UndoneChild
from actorflow.scheduling.starts import seen_by

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actorflow.model.context import Attempt
    from actorflow.model.messages import BlockedLoop, CancelRun
    from actorflow.scheduling.deadlines import Deadlines
    from actorflow.scheduling.endings import Endings
    from actorflow.scheduling.families import Families
    from actorflow.scheduling.ledger import RunState
    from actorflow.scheduling.outbox import Outbox
    from actorflow.scheduling.starts import Starts

    _AboutAttempt = AttemptFinished | AttemptAbandoned | BlockedLoop | CompensatorLost

__all__ = ["Compensations"]

_LAST_SECONDS: Final = 0.5
"""Seconds that a compensator gets to clean up when it is stopped because a grace has passed."""


class Compensations:
    """Undoes the completed steps of runs.

    Args:
        outbox: Where events and effects go.
        deadlines: The deadlines of all runs.
        starts: Starts compensators, as it starts steps.
        endings: Stops, abandons and retries them.
        families: Has the children of runs undone.
    """

    def __init__(
        self,
        outbox: Outbox,
        deadlines: Deadlines,
        starts: Starts,
        endings: Endings,
        families: Families,
    ) -> None:
        self._outbox = outbox
        self._families = families
        self._deadlines = deadlines
        self._starts = starts
        self._endings = endings
        self.leaving: bool = False
        """Whether runs are left once it is recorded that they are undone; they need no place."""

    # ── Runs ─────────────────────────────────────────────────────────────────────────────────

    def undo(self, run: RunState) -> bool:
        """Continue undoing a run that has nothing in flight; return False once that is over."""
        if run.undoing is not None or (run.family is not None and run.family.undoing is not None):
            return True
        if not is_to_be_undone(run):
            return False
        if not run.undoable and run.status is not RunStatus.COMPLETED:
            return False
        if not (run.active or run.cut_short or self.leaving):
            return True  # it begins when it gets a place
        if run.status is not RunStatus.COMPENSATING:
            self._begin(run, _steps_among(run.undoable or ()))
        if run.poison is not None:
            self._give_up(run, run.poison)
        if run.cut_short or not run.undoable:
            return False
        self._next(run, run.undoable.pop())
        return True

    def _begin(self, run: RunState, steps: list[StepState]) -> None:
        run.ending, run.deadline = True, None
        run.compensations = tuple(step.id for step in reversed(steps))
        _, why = verdict(run)
        self._outbox.run(run, EventKind.RUN_COMPENSATING, {**why, "steps": run.compensations})

    def _next(self, run: RunState, following: StepState | UndoneChild) -> None:
        if isinstance(following, UndoneChild):
            self._families.undo(run, following)
        else:
            self._starts.ready_to_undo(run, _compensator(run, following))

    def _give_up(self, run: RunState, error: BaseException) -> None:
        """Fail the compensator with which the process has died again and again."""
        run.poison, undoable = None, run.undoable or []
        for step in _steps_among(undoable)[-1:]:
            undoable.remove(step)
            self._settle(run, _compensator(run, step), error)

    def limit(self, run: RunState, message: CancelRun) -> None:
        """Apply the limits that a cancellation sets on compensation; the first grace counts."""
        if run.cancel_reason is not None and message.compensate:
            run.undo_if_cancelled = True
        undoes = run.undoable is not None or run.family is not None
        if message.grace is not None and run.cut is None and undoes:
            moment = self._outbox.now + message.grace
            run.cut = self._deadlines.set(moment, Due.CUT, run.run_id)

    def cut(self, run: RunState) -> None:
        """Stop compensating: cut the compensator in flight almost immediately."""
        run.cut_short = True
        if run.family is not None:
            run.family.undoing = None  # the child is cut as well, unless it runs elsewhere
        undo = run.undoing
        if undo is None:
            return
        if undo.current is None:
            self._leave(run, undo)
        elif undo.stopping:
            self._endings.abandon(undo)
        else:
            run.grace = _LAST_SECONDS
            self._endings.stop(run, undo, None)

    def _leave(self, run: RunState, undo: StepState) -> None:
        """Give up a compensator that waits for a worker or for its next attempt."""
        if undo.error is not None:
            self._settle(run, undo, undo.error)
        else:
            self._outbox.compensator(run, undo, EventKind.STEP_CANCELLED)
            run.undoing = None

    # ── Attempts ─────────────────────────────────────────────────────────────────────────────

    def take(self, run: RunState, message: _AboutAttempt) -> bool:
        """Handle a message about the current compensator's attempt; return False for any other."""
        undo = run.undoing
        if undo is None or undo.current is not message.attempt:
            return False
        if isinstance(message, AttemptFinished):
            self._finished(run, undo, message)
        elif isinstance(message, AttemptAbandoned):
            self._abandoned(run, undo, message)
        elif isinstance(message, CompensatorLost):
            self._lost(run, undo, message.attempt, message.details)
        else:
            data = {"seconds": message.seconds, "stack": message.stack}
            self._outbox.compensator(run, undo, EventKind.STEP_BLOCKING, data)
        return True

    def _finished(self, run: RunState, undo: StepState, message: AttemptFinished) -> None:
        overrun = self._endings.overrun(run, undo, message.attempt)
        self._starts.release(run, undo)
        error = overrun or undo.stop_error or message.error
        if error is None:
            self._settle(run, undo, None)
        else:
            self._failed(run, undo, error)

    def _abandoned(self, run: RunState, undo: StepState, message: AttemptAbandoned) -> None:
        self._endings.abandoned(run, undo, message.attempt, message.stack)
        self._starts.release(run, undo)
        self._failed(run, undo, undo.stop_error)

    def orphaned(self, run: RunState, details: str) -> None:
        """Handle the death of a run's actor, and of its current compensator's actor with it.

        A new actor of the run must have been made by then.
        """
        undo = run.undoing
        if undo is not None and undo.current is not None:
            self._lost(run, undo, undo.current, details)

    def _lost(self, run: RunState, undo: StepState, attempt: Attempt, details: str) -> None:
        if attempt.submitted:
            return  # it runs, and its executor will report how it ended
        undo.crashes += 1
        if undo.crashes <= MOST_CRASHES:
            self._outbox.perform(Compensate(attempt, seen_by(run, undo)))
        else:
            attempt.submitted = True  # a former actor may still hold its grant
            self._starts.release(run, undo)
            self._failed(run, undo, ActorCrashed(run.run_id, undo.id, details))

    def _failed(self, run: RunState, undo: StepState, error: BaseException | None) -> None:
        unwanted = undo.stopping and undo.stop_error is None
        undo.stopping, undo.stop_error = False, None
        undo.error = CompensationCut(run.run_id, undo.id) if unwanted else error
        if run.cut_short or not self._endings.retry(run, undo, error):
            self._settle(run, undo, undo.error)

    def _settle(self, run: RunState, undo: StepState, error: BaseException | None) -> None:
        """End a compensator, and record the outcome."""
        step = undo.undoes
        if step is None:
            raise AssertionError(f"{undo.id} undoes nothing")
        step.error = error
        if error is None:
            self._outbox.compensator(run, undo, EventKind.STEP_COMPLETED)
        else:
            self._outbox.compensator(run, undo, EventKind.STEP_FAILED, {"error": error})
        for deadline in (undo.total_deadline, undo.backoff):
            if deadline is not None:
                self._deadlines.cancel(deadline)
        run.undoing = None

    # ── Deadlines ────────────────────────────────────────────────────────────────────────────

    def due(self, due: Due, run: RunState, undo: StepState) -> None:
        """Handle a compensator's deadline."""
        if due is Due.BACKOFF:
            self._starts.ready_to_undo(run, undo)
        elif due is Due.GRACE:
            self._endings.abandon(undo)
        elif not undo.stopping:
            self._timed_out(run, undo, due)

    def _timed_out(self, run: RunState, undo: StepState, due: Due) -> None:
        error = timeout_of(due, run, undo)
        self._endings.timed_out(run, undo, error)
        if undo.current is None:
            self._settle(run, undo, error)
        else:
            self._endings.stop(run, undo, error)


def _compensator(run: RunState, step: StepState) -> StepState:
    """Make a step's compensator the current one."""
    plan = step.plan.compensation
    if plan is None:
        raise AssertionError(f"{step.id} has no compensator")
    run.undoing = undo = StepState(run.run_id, plan, run.compensators[step.id], step)
    if run.past is not None:
        undo.attempts = run.past.undo_attempts.get(step.id, 0)
    return undo


def _steps_among(undoable: Iterable[StepState | UndoneChild]) -> list[StepState]:
    return [one for one in undoable if isinstance(one, StepState)]
