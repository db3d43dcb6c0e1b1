"""The supervisor's brain: it decides what happens next, and does nothing else.

It is pure. A message and the time go in, events and effects come out. It reads no clock, sends
nothing, holds no lock and touches no actor. Every promise about scheduling is decided here, and
can be tested here one message at a time.

The life of a step, as messages and their effects:

    StartRun         -> run.started, MakeSteps; step.ready for each step without dependencies
    AttemptFinished  -> the worker is released; then one of
                          step.completed, Settled
                          step.retrying, and step.ready again after the backoff
                          step.failed, which ends the run (or cancels the step's dependents)
                          step.skipped, Settled, when the step is optional
                        step.ready for each dependent that waited for this step alone
                        with the run's last attempt the run ends, or is compensated first
                        (see `compensations`)
    PauseRun         -> nothing of the run starts until another one (see `pauses`)
    a deadline       -> step.timed_out, StopAttempt; the attempt must end, or be abandoned after
                        a grace, before the step continues
    the conclusion   -> all steps that have become ready are ranked; for each that gets a worker or
                        its run's sync lane: step.started, Execute

Messages that are taken between two conclusions are decided together: nothing starts before all of
them have been taken, so a step competes with everything that is ready by then.

Two rules keep the worker budget correct. A worker is taken where an attempt starts and released
where it is over (see `starts`), and nowhere else. An attempt is over when its executor reports it
or gives it up; asking it to stop releases nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actorflow.model.families import ChildrenFound, ChildStarted, ChildUndone
from actorflow.model.lifecycle import EventKind, RunStatus
from actorflow.model.mailing import EvictRun
from actorflow.model.messages import (
    ActorLost,
    AttemptAbandoned,
    AttemptFinished,
    BlockedLoop,
    CancelRun,
    CompensatorLost,
    LeaveRuns,
    PauseRun,
    RunActorLost,
    RunLeft,
    RunStirred,
    RunUnknown,
    StartPaused,
    StartRun,
    StepMoved,
    StepsMade,
    SuspendAttempt,
    Wake,
    WakeAttempt,
)
from actorflow.scheduling.alarms import Alarms
from actorflow.scheduling.compensations import Compensations
from actorflow.scheduling.crashes import Crashes, bindings, resumption
from actorflow.scheduling.deadlines import Deadlines, Due
from actorflow.scheduling.endings import Endings
from actorflow.scheduling.evictions import Evictions
from actorflow.scheduling.families import Families
from actorflow.scheduling.leaving import Leaving
from actorflow.scheduling.ledger import RunState, StepState
from actorflow.scheduling.mailboxes import Mailboxes
from actorflow.scheduling.outbox import Effect, Grant, Outbox
from actorflow.scheduling.pauses import Pauses
from actorflow.scheduling.queues import RunQueue, Workers
from actorflow.scheduling.starts import Starts
from actorflow.scheduling.suspensions import Suspensions

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.model.context import Attempt
    from actorflow.model.events import Event

__all__ = ["Decisions"]

# Bound once: looking a member up on its enum costs more than the rest of a comparison.
_STEP_COMPLETED: Final = EventKind.STEP_COMPLETED


class Decisions:
    """Decides which steps run, and how steps and runs continue and end.

    Args:
        async_workers: How many async attempts may be in flight at once, over all runs.
        max_active_runs: How many runs may be in progress; later ones wait, by priority.
        grace: Seconds that a stopped attempt gets to end before it is abandoned.
        random: Draws from [0, 1), for the jitter of backoffs.
        ageing: Seconds of waiting that count as one priority; None if waiting counts for nothing.
        evict_after: Seconds after which a run that waits for messages is evicted; None for never.
    """

    def __init__(
        self,
        *,
        async_workers: int,
        max_active_runs: int,
        grace: float,
        random: Callable[[], float],
        ageing: float | None = None,
        evict_after: float | None = None,
    ) -> None:
        self.workers: Final = Workers(async_workers)
        self.deadlines: Final = Deadlines()
        self.runs: dict[str, RunState] = {}
        self.late: int = 0
        self.waiting: Final = RunQueue(max_active_runs)
        self._outbox = Outbox()
        self._starts = Starts(self._outbox, self.deadlines, self.workers, ageing, self._reclaim)
        self.start_clocks: Final = self._starts.start_clocks
        """Starts the clocks of attempts whose grants are sent now; returns what sends them."""
        self._endings = Endings(self._outbox, self.deadlines, self._starts, grace, random)
        self._crashes = Crashes(self._outbox, self._starts, self._endings, self.runs)
        self._families = Families(self._outbox, self.runs, self.waiting)
        self._compensations = Compensations(
            self._outbox, self.deadlines, self._starts, self._endings, self._families
        )
        self._suspensions = Suspensions(self._outbox, self.deadlines, self._starts, self.waiting)
        parts = self._outbox, self.deadlines, self._starts, self._suspensions, self.waiting
        self._pauses = Pauses(*parts, runs=self.runs, admit=self._admit)
        ends = self._outbox, self.deadlines
        self.leaving: Final = Leaving(*ends, self._starts, self._endings, self.runs)
        """The runs that are being left."""
        self._mail = Mailboxes(*ends, self.runs, self._find_any, evict_after)
        self._evictions = Evictions(*ends, self._mail)
        alarms = Alarms(
            self._outbox,
            self.runs,
            self._starts,
            self._endings,
            self._compensations,
            of_runs={
                Due.RUN: self._endings.expire,
                Due.CUT: self._compensations.cut,
                Due.WAIT: self._mail.expire,
                Due.EVICTION: self._evictions.due,
            },
            of_left=self.leaving.due,
            follow=self._follow,
        )
        self._grace = grace
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            StartRun: self._start_run,
            StartPaused: self._start_run,
            StepsMade: self._crashes.made,
            AttemptFinished: self._attempt_finished,
            AttemptAbandoned: self._attempt_abandoned,
            BlockedLoop: self._blocked_loop,
            CancelRun: self._cancel_run,
            PauseRun: self._pause_run,
            LeaveRuns: self._leave_runs,
            EvictRun: self._evict_run,
            ActorLost: self._actor_lost,
            StepMoved: self._crashes.made,
            CompensatorLost: self._compensator,
            RunActorLost: self._run_actor_lost,
            Wake: lambda _: alarms.ring(self.deadlines),
            SuspendAttempt: self._suspend,
            WakeAttempt: self._wake_attempt,
            RunStirred: self._run_stirred,
            **self._mail.handlers,
            ChildStarted: self._families.started,
            ChildrenFound: self._children,
            ChildUndone: self._children,
        }
        self.understood: Final = self._handlers.keys()
        """The types of the messages that it decides."""

    def begin(self, now: float, wall: float) -> None:
        """Set the moment at which the next messages are decided.

        Args:
            now: Monotonic seconds.
            wall: The same moment in seconds since the epoch.
        """
        self._outbox.now, self._outbox.wall = now, wall

    def take(self, message: object) -> None:
        """Decide one message, of a type that has a handler above."""
        self._handlers[type(message)](message)

    def conclude(self) -> tuple[list[Event], list[Effect], list[Grant]]:
        """Grant what can start, and return what was decided since the last conclusion, in order.

        The effects are to be performed before the grants are sent.
        """
        self._pauses.grant()
        outbox = self._outbox
        decided = outbox.events, outbox.effects, outbox.grants
        outbox.events, outbox.effects, outbox.grants = [], [], []
        return decided

    # ── Runs ─────────────────────────────────────────────────────────────────────────────────

    def _start_run(self, message: StartRun) -> None:
        if self.leaving.begun:
            self._outbox.perform(RunLeft(message.scope.run_id))
            return
        run = RunState(message)
        self.runs[run.run_id] = run
        if run.deadline is not None:
            run.expiry = self.deadlines.set(run.deadline, Due.RUN, run.run_id)
        if not run.events:
            known = run.scope.bindings()
            self._outbox.run(run, EventKind.RUN_ACCEPTED, known, message.accepted_at)
        if message.resumed is not None and message.undo is None:
            self._outbox.run(run, EventKind.RUN_RESUMED, resumption(message))
        if message.receipts is not None:
            self._mail.take_up(run, message.receipts)
        if run.ways is not None:
            self._starts.compare_ways()
        if message.pausing is None:
            self.waiting.push(run)
        else:
            self._pauses.begin(run, message.pausing)
        self._admit()

    def _admit(self) -> None:
        while not self.leaving.begun and (run := self.waiting.pop()) is not None:
            run.active = True
            if run.away:
                (self._suspensions.admit if run.hold is None else self._pauses.let_go)(run)
                self._follow(run)
                continue
            if run.status is RunStatus.PENDING:
                run.started_at = self._outbox.wall
                self._outbox.run(run, EventKind.RUN_STARTED, bindings(run.scope, run.takeovers))
            self._crashes.make_steps(run)
            if not self._endings.fails_at_once(run):
                self._starts.begin(run)
            if not run.unsettled:
                self._finish(run)

    def _cancel_run(self, message: CancelRun) -> None:
        run = self.runs.get(message.run_id) or self.leaving.take_back(message.run_id)
        if run is None:
            if not (message.unrecorded or message.run_id in self.leaving.runs):
                self._outbox.perform(RunUnknown(message.run_id, message))
            return
        self._pauses.lift(run, message.reason)
        self._endings.give_grace(run, message.grace)
        self._compensations.limit(run, message)
        if not (run.ending or self._endings.fails_at_once(run)):
            run.cancel_reason, run.undo_if_cancelled = message.reason, message.compensate
            self._endings.end(run)
        self._follow(run)
        self._admit()

    def _pause_run(self, message: PauseRun) -> None:
        run = None if self.leaving.begun else self.runs.get(message.run_id)
        if run is not None:  # else its record says so, to the one that starts it
            self._pauses.take(run, message.pause)
            self._follow(run)
            self._admit()

    # ── Runs that are left ───────────────────────────────────────────────────────────────────

    def _leave_runs(self, message: LeaveRuns) -> None:
        self.leaving.begin(message.grace)
        self._compensations.leaving = True
        for run_id in message.run_ids:
            if run_id not in self.runs and run_id not in self.leaving.runs:
                self._outbox.perform(RunLeft(run_id))
        for run in list(self.runs.values()):
            self._leave(run)
            self._follow(run)

    def _leave(self, run: RunState) -> None:
        if self.leaving.may_take(run):
            self._mail.forget(run.run_id)
            self.leaving.take(run)

    def _evict_run(self, message: EvictRun) -> None:
        run = self.runs.get(message.run_id)
        if run is not None and (eviction := self._evictions.of(run)) is not None:
            self._mail.forget(run.run_id)
            self.leaving.evict(run, eviction, self._grace)

    # ── Ends of attempts ─────────────────────────────────────────────────────────────────────

    def _find(self, attempt: Attempt) -> tuple[RunState, StepState] | None:
        """Return the run and step of an attempt, or None if the attempt is no longer in flight."""
        run = self.runs.get(attempt.scope.run_id)
        if run is not None:
            step = run.steps[attempt.step_id]
            if step.current is attempt:
                return run, step
        return None

    def _attempt_finished(self, message: AttemptFinished) -> None:
        attempt, error = message.attempt, message.error
        # As `_find` does; most messages are of this kind.
        run = self.runs.get(attempt.scope.run_id)
        step = None if run is None else run.steps[attempt.step_id]
        if run is None or step is None or step.current is not attempt:
            self._compensator(message)
            return
        deadline, ended_at = attempt.deadline, attempt.ended_at
        if deadline is not None and ended_at is not None and ended_at >= deadline:
            error = self._endings.overrun(run, step, attempt) or error
        self._starts.release(run, step)
        if error is None and step.stop_error is None:
            step.output, step.error, step.stopping = message.output, None, False
            self._endings.settle(run, step, _STEP_COMPLETED, {"output": message.output})
            if run.undoable is not None and step.plan.compensation is not None:
                run.undoable.append(step)
            if not run.ending:
                self._endings.emit(run, step, message.output, skipped=False)
        else:
            self._endings.failed(run, step, step.stop_error or error)
        if not run.unsettled and not run.in_flight:
            self._finish(run)

    def _attempt_abandoned(self, message: AttemptAbandoned) -> None:
        found = self._find(message.attempt)
        if found is None:
            self._compensator(message)
        else:
            run, step = found
            self._endings.abandoned(run, step, message.attempt, message.stack)
            self._starts.release(run, step)
            self._endings.failed(run, step, step.stop_error)
            self._follow(run)

    def _compensator(
        self, message: AttemptFinished | AttemptAbandoned | CompensatorLost | BlockedLoop
    ) -> None:
        """Handle a message about a compensator's attempt, or one that is no longer in flight."""
        run = self.runs.get(message.attempt.scope.run_id)
        if run is not None and self._compensations.take(run, message):
            self._follow(run)
        elif message.attempt.scope.run_id in self.leaving.runs:
            self.leaving.over(message)
        else:
            self.late += 1

    def _follow(self, run: RunState) -> None:
        """Finish a run that has nothing left to do."""
        if not run.unsettled and not run.in_flight and run.run_id in self.runs:
            self._finish(run)

    def _finish(self, run: RunState) -> None:
        if run.family is not None and self._families.ask(run):
            return
        if run.undoable is not None and self._compensations.undo(run):
            if self.leaving.begun:
                self._leave(run)
            elif run.family is not None and run.family.undoing is not None:
                self._admit()  # it has given back its place, which the child may need
            elif run.away:
                self._suspensions.rejoin(run)
                self._admit()
            return
        self._endings.finish(run)
        del self.runs[run.run_id]
        if self._mail.boxes:
            self._mail.forget(run.run_id)
        self._starts.forget(run)
        if not run.active:
            self.waiting.forget(run)
        else:
            self.waiting.release()
            self._admit()

    # ── Children ─────────────────────────────────────────────────────────────────────────────

    def _children(self, message: ChildrenFound | ChildUndone) -> None:
        run = self._families.take(message)
        if run is not None:
            self._follow(run)

    # ── Attempts that wait ───────────────────────────────────────────────────────────────────

    def _suspend(self, message: SuspendAttempt) -> None:
        found = self._find_any(message.attempt)
        if found is not None:
            self._suspensions.suspend(*found, message)

    def _wake_attempt(self, message: WakeAttempt) -> None:
        found = self._find_any(message.attempt)
        if found is not None:
            self._suspensions.wake(*found)
            self._admit()

    def _find_any(self, attempt: Attempt) -> tuple[RunState, StepState] | None:
        """Return the run and the step or compensator of an attempt that is in flight, or None."""
        if not attempt.compensates:
            return self._find(attempt)
        run = self.runs.get(attempt.scope.run_id)
        undo = None if run is None else run.undoing
        if run is None or undo is None or undo.current is not attempt:
            return None
        return run, undo

    def _run_stirred(self, message: RunStirred) -> None:
        """Release the place of a run that only waits, and admit another run in its place."""
        run = self.runs.get(message.run_id)
        if run is not None:
            self._mail.look(run)  # its steps may have given messages back
            if self._suspensions.release_place(run):
                self._mail.watch(run)
                self._admit()

    def _reclaim(self, run: RunState) -> None:
        """Give a run its place back at once, because the body of a waiting attempt has ended."""
        if run.run_id in self.runs:  # else it is being left
            self.waiting.take(run)
            run.active = True
            self._suspensions.admit(run)

    # ── Actors ──────────────────────────────────────────────────────────────────────────────

    def _actor_lost(self, message: ActorLost) -> None:
        run = self.runs.get(message.run_id)
        if run is not None:
            self._crashes.lost(run, run.steps[message.step_id], message.details)
            self._follow(run)

    def _run_actor_lost(self, message: RunActorLost) -> None:
        run = self.runs.get(message.run_id)
        if run is not None:
            self._crashes.lost_all(run, message.details)
            self._compensations.orphaned(run, message.details)
            self._follow(run)

    # ── What else can happen ─────────────────────────────────────────────────────────────────

    def _blocked_loop(self, message: BlockedLoop) -> None:
        found = self._find(message.attempt)
        if found is None:
            self._compensator(message)
        else:
            data = {"seconds": message.seconds, "stack": message.stack}
            self._outbox.step(*found, EventKind.STEP_BLOCKING, message.attempt.number, data)
