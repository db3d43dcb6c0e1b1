"""The supervisor: the actor that owns every run, worker and deadline, around the brain."""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from thespian.actors import (
    Actor,
    ActorAddress,
    ActorExitRequest,
    ChildActorExited,
    PoisonMessage,
    WakeupMessage,
)

from actorflow.actors.held import Held, is_of_another, lost_runs
from actorflow.actors.host import ConfigureSupervisor
from actorflow.actors.run import RunActor
from actorflow.errors.running import StepCancelled
from actorflow.errors.storage import InvalidAnswer
from actorflow.model.families import ChildrenFound, ChildUndone, EndChildren, UndoChild
from actorflow.model.mailing import AnswerWait, AskEviction, RunEvicted
from actorflow.model.messages import (
    AbandonAttempt,
    ActorBroken,
    ActorLost,
    AttemptAbandoned,
    AttemptFinished,
    CancelRun,
    Committed,
    Compensate,
    CompensatorLost,
    ContinueAttempt,
    DependencyCompleted,
    Execute,
    ForStep,
    MakeSteps,
    ReviveStep,
    RunActorLost,
    RunFinished,
    RunLeft,
    RunStirred,
    RunUnknown,
    Settled,
    StepMoved,
    StepsMade,
    StopAttempt,
    Wake,
    run_of,
)
from actorflow.support.interrupts import is_for_the_program
from actorflow.support.safe_text import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from actorflow.actors.host import Host
    from actorflow.model.context import Attempt
    from actorflow.model.events import Event
    from actorflow.scheduling.ledger import RunState
    from actorflow.scheduling.outbox import Effect, Grant

__all__ = ["Supervisor"]

_NEVER: Final = float("inf")
_FOR_STEPS: Final = (Execute, Settled, DependencyCompleted)
"""What step actors are sent; a run may have ended before such a message could not be handled."""
_OF_RUN_ACTORS: Final = frozenset({StepsMade, StepMoved, ActorLost, CompensatorLost})
"""What run actors report; a run's former actor, which has died, is not believed."""


_ALWAYS: Final = (StopAttempt, AbandonAttempt, RunFinished, RunLeft, EndChildren, UndoChild)
"""Effects that are performed even if the events of their run could not be recorded."""


def _never_put_off(_call: Callable[[], None]) -> bool:
    return False


class Supervisor(Actor):
    """Records what `Decisions` decides, and then performs the effects.

    Messages that arrive together are decided together, at one time, recorded in one batch and
    performed in one go, if the system can put off a call (`Cell.put_off`). On other systems each
    message is concluded by itself.

    When the state manager needs time to record a batch of events, the batch's effects and all later
    ones wait for it, in order: nothing is acknowledged before it is recorded.
    """

    _host: Host

    def __init__(self) -> None:
        super().__init__()
        self._understood: Collection[type[Any]] = ()
        """The types of message that the scheduler decides on, from any sender."""
        self._run_actors: dict[str, ActorAddress] = {}
        self._leaving: deque[ActorAddress] = deque()
        """The run actors that were asked to exit and have not, in order."""
        self._unrecorded: dict[str, BaseException] = {}
        """The errors of runs in progress whose events could not be recorded, by run id."""
        self._concluding = False
        """Whether it has taken messages, and a call of `conclude` is due."""
        self._held: deque[Held] = deque()
        self._wakeups = [_NEVER]
        """The moments of the pending wakeups, the earliest first."""
        self._perform: dict[type[Any], Callable[[Any], None]] = {
            MakeSteps: self._make_steps,
            ReviveStep: self._tell_run_actor,
            Compensate: self._tell_run_actor,
            StopAttempt: self._stop_attempt,
            AbandonAttempt: self._abandon_attempt,
            RunFinished: self._run_finished,
            RunUnknown: self._run_unknown,
            ContinueAttempt: lambda it: self._host.moved(it.attempt),
            RunStirred: self._decide_later,
            RunLeft: self._run_left,
            RunEvicted: self._run_left,
            EndChildren: self._end_children,
            UndoChild: self._undo_child,
        }

    def receiveMessage(self, message: object, sender: ActorAddress) -> None:  # noqa: N802, D102
        try:
            if type(message) in self._understood:
                self._think(message)
            else:
                self._administer(message, sender)
        except BaseException as error:
            self._host.broken(message, error)
            if is_for_the_program(error):
                raise

    @property
    def runs(self) -> int:
        """How many runs have an actor that was not asked to exit."""
        return len(self._run_actors)

    def _is_believed(self, message: object, sender: ActorAddress) -> bool:
        """Return whether a run actor's report is from the run's current actor."""
        address = self._run_actors.get(run_of(message) or "")
        return address is not None and address == sender

    def _administer(self, message: object, sender: ActorAddress) -> None:
        if isinstance(message, WakeupMessage):
            # They cannot be cancelled, and arrive in the order of their times.
            heapq.heappop(self._wakeups)
            self._think(Wake())
        elif isinstance(message, Committed):
            self._committed(message)
        elif isinstance(message, ConfigureSupervisor):
            self._configure(message)
        elif isinstance(message, PoisonMessage):
            self._poisoned(message, sender)
        elif isinstance(message, ActorBroken):
            self._broken(message)
        elif type(message) in _OF_RUN_ACTORS and self._is_believed(message, sender):
            self._think(message)
        elif isinstance(message, ChildActorExited):
            self._child_exited(message)

    def _configure(self, message: ConfigureSupervisor) -> None:
        self._host = message.host
        self._perform[AnswerWait] = message.host.answered
        self._perform[AskEviction] = message.host.may_evict
        self._record = message.host.state.record
        self._when_committed = message.host.committed
        self._audience = message.host.audience
        self._brain = brain = message.brain
        self._take, self._deadlines = brain.take, brain.deadlines
        self._begin, self._conclude_brain = brain.begin, brain.conclude
        self._start_clocks = brain.start_clocks
        self._understood = brain.understood - _OF_RUN_ACTORS
        self._now, self._wall = message.host.clock.now, message.host.clock.wall
        self._put_off = getattr(self._myRef, "put_off", _never_put_off)

    # ── Deciding ─────────────────────────────────────────────────────────────────────────────

    def _think(self, message: object) -> None:
        if self._concluding:
            self._take(message)
            return
        self._began_at = now = self._now()
        self._begin(now, self._wall(now))
        self._take(message)
        if self._put_off(self._conclude_later):
            self._concluding = True
        else:
            self._conclude()

    def _conclude_later(self) -> None:
        self._concluding = False
        try:
            self._conclude()
        except BaseException as error:
            self._host.broken(None, error)
            if is_for_the_program(error):
                raise

    def _conclude(self) -> None:
        try:
            events, effects, grants = self._conclude_brain()
            recorded = True
            if events:
                try:
                    recorded = self._record(events, self._when_committed)
                    if recorded is not True and recorded is not False:
                        raise InvalidAnswer("record", text_of(recorded))  # noqa: TRY301 - as if it raised
                except BaseException as error:
                    self._held.append(Held(events, effects, grants, recorded=True, error=error))
                    self._go_on()
                    if is_for_the_program(error):
                        raise
                    events, effects, grants, recorded = [], [], [], True
            if recorded and not self._held:
                self._act(events, effects, grants)
            else:
                self._held.append(Held(events, effects, grants, recorded=recorded))
        finally:
            # Also after a KeyboardInterrupt.
            if self._deadlines.earliest < self._wakeups[0]:
                self._set_wakeup()

    def _set_wakeup(self) -> None:
        # One is pending for the earliest deadline, or for an earlier one that has passed.
        heapq.heappush(self._wakeups, self._deadlines.earliest)
        self.wakeupAfter(self._deadlines.earliest - self._began_at)

    # ── Recording ────────────────────────────────────────────────────────────────────────────

    def _committed(self, message: Committed) -> None:
        batch = next((batch for batch in self._held if not batch.recorded), None)
        if batch is None:
            return  # its `record` returned neither True nor False, and its runs have been given up
        batch.recorded, batch.error = True, message.error
        try:
            self._go_on()
        finally:
            if self._deadlines.earliest < self._wakeups[0]:
                self._set_wakeup()

    def _go_on(self) -> None:
        """Perform, or give up, the decisions that wait for no record, in order."""
        interrupt: BaseException | None = None
        while self._held and self._held[0].recorded:
            batch = self._held.popleft()
            try:
                if batch.error is None:
                    self._act(batch.events, batch.effects, batch.grants)
                else:
                    self._give_up(batch, batch.error)
            except BaseException as error:  # noqa: BLE001 - nothing else performs later batches
                interrupt = error
        if interrupt is not None:
            raise interrupt

    def _give_up(self, batch: Held, error: BaseException) -> None:
        """End the runs whose events were not recorded, and perform the decisions for the others."""
        events, lost = batch.events, lost_runs(batch, error)
        self._host.unrecorded([event for event in events if event.run_id in lost], error)
        for run_id, why in lost.items():
            if run_id not in self._unrecorded:  # a second message might meet the run's next life
                self._unrecorded[run_id] = why
                reason = f"its events could not be recorded: {text_of(why)}"
                self.send(self.myAddress, CancelRun(run_id, reason, None, unrecorded=True))
        self._act([event for event in events if event.run_id not in lost], [], ())
        for run, step_id, message in batch.effects:
            if is_of_another(lost, run, message):
                self._act((), [(run, step_id, message)], ())
            else:
                self._perform_all_the_same(message, lost)
        self._act((), [], [grant for grant in batch.grants if grant[0].run_id not in lost])
        for run, _, message in batch.grants:
            if run.run_id in lost and not isinstance(message, ContinueAttempt):
                self._take_back(message.attempt, lost)

    def _perform_all_the_same(self, message: object, lost: Mapping[str, BaseException]) -> None:
        """Perform an effect of a run that is not recorded any further, or take back its grant."""
        if isinstance(message, _ALWAYS):
            self._perform[type(message)](message)
        elif isinstance(message, MakeSteps) and not message.step_ids:
            self._make_steps(message)
        elif isinstance(message, Compensate):  # again, for a new actor
            self._take_back(message.attempt, lost)

    def _take_back(self, attempt: Attempt, lost: Mapping[str, BaseException]) -> None:
        """End an attempt of a run that is not recorded any further; no actor has its grant."""
        attempt.cancelled = True  # a new actor may be told of it all the same
        why = lost[attempt.scope.run_id]
        self.send(self.myAddress, AttemptFinished(attempt, None, why))

    # ── Effects ──────────────────────────────────────────────────────────────────────────────

    def _act(self, events: Sequence[Event], effects: list[Effect], grants: Sequence[Grant]) -> None:
        if events and self._audience.present:
            self._audience.publish(events)
        if grants:
            # Recording may have taken time, which the timeouts must not lose.
            self._began_at = now = self._now()
            effects += self._start_clocks(grants, now)
        if self._unrecorded:
            effects = [one for one in effects if self._is_recorded(one)]
        send = self._myRef.actor_send
        interrupt: BaseException | None = None
        for run, step_id, message in effects:
            try:
                if run is None:
                    self._perform[type(message)](message)
                elif run.addresses is not None and step_id in run.addresses:
                    send(run.addresses[step_id], message)
                else:
                    self._tell_through_run(run, step_id, message)
            except BaseException as error:  # noqa: BLE001 - other effects belong to other runs
                self._host.broken(message, error)
                if is_for_the_program(error):
                    interrupt = error
        if interrupt is not None:
            raise interrupt

    def _is_recorded(self, effect: Effect) -> bool:
        """Return whether a step may be told what the brain knows of its run."""
        run, _, _ = effect
        return run is None or run.run_id not in self._unrecorded

    def _tell_through_run(self, run: RunState, step_id: str, message: object) -> None:
        """Have a run's actor tell a step whose address is not known, or the run's actor itself."""
        if run.run_id in self._run_actors:
            passed_on = message if type(message) is ForStep else ForStep(step_id, message)
            self._myRef.actor_send(self._run_actors[run.run_id], passed_on)

    def _make_steps(self, message: MakeSteps) -> None:
        address = self._run_actors[message.scope.run_id] = self.createActor(RunActor)
        self.send(address, message)

    def _tell_run_actor(self, message: object) -> None:
        # A run has no actor while a new one waits for its decision to be recorded; the new one is
        # told everything then.
        address = self._run_actors.get(run_of(message) or "")
        if address is not None:
            self.send(address, message)

    def _stop_attempt(self, message: StopAttempt) -> None:
        attempt = message.attempt
        if not attempt.submitted:
            # Its grant or its data is on the way. It is over at once, and never begins.
            attempt.submitted = True
            error = StepCancelled(run_of(message) or "", attempt.step_id, "it never began")
            self.send(self.myAddress, AttemptFinished(attempt, None, error))
            return
        try:
            attempt.executor.stop(attempt)
        except BaseException as error:  # noqa: BLE001 - it is abandoned when its grace has passed
            self._host.misbehaved(attempt, "stop", error)
        self._host.moved(attempt)

    def _decide_later(self, message: RunStirred) -> None:
        self.send(self.myAddress, message)

    def _abandon_attempt(self, message: AbandonAttempt) -> None:
        attempt = message.attempt
        if not attempt.was_submitted:
            return  # it was stopped before, and has been reported
        try:
            stack = attempt.executor.abandon(attempt)
        except BaseException as error:  # noqa: BLE001 - an abandoned attempt no longer counts
            stack = f"the executor could not abandon it: {text_of(error)}"
            self._host.misbehaved(attempt, "abandon", error)
        self.send(self.myAddress, AttemptAbandoned(attempt, stack))

    def _run_finished(self, message: RunFinished) -> None:
        # A run that was cancelled before it got a place never had an actor.
        address = self._run_actors.pop(message.result.run_id, None)
        if address is not None:
            self._dismiss(address)
        unrecorded = self._unrecorded.pop(message.result.run_id, None)
        result = message.result if unrecorded is None else message.result.failed_by(unrecorded)
        self._host.finished(result)

    def _run_left(self, message: RunLeft | RunEvicted) -> None:
        address = self._run_actors.pop(message.run_id, None)
        if address is not None:
            self._dismiss(address)
        unrecorded = self._unrecorded.pop(message.run_id, None)
        if isinstance(message, RunEvicted) and unrecorded is None:
            self._host.evicted(message)
        else:
            self._host.left(message.run_id)

    def _run_unknown(self, message: RunUnknown) -> None:
        self._host.unknown(message.run_id, message.asked)

    def _end_children(self, message: EndChildren) -> None:
        if message.run_id in self._unrecorded:  # by its record it goes on, and so do its children
            self.send(self.myAddress, ChildrenFound(message.run_id, message, ()))
        else:
            self._host.end_children(message)

    def _undo_child(self, message: UndoChild) -> None:
        if message.run_id in self._unrecorded:
            self.send(self.myAddress, ChildUndone(message.run_id, message.child_id, undone=False))
        else:
            self._host.undo_child(message)

    def _dismiss(self, run_actor: ActorAddress) -> None:
        self._leaving.append(run_actor)
        self.send(run_actor, ActorExitRequest())

    def _poisoned(self, message: PoisonMessage, sender: ActorAddress) -> None:
        """Treat an actor that could not handle a message as one that died."""
        details = str(message.details)
        for run_id, address in self._run_actors.items():
            if address == sender:
                self._dismiss(sender)
                self._replace(run_id, details)
                return
        replaced = self._broken(ActorBroken(sender, details))
        if not replaced and not isinstance(message.poisonMessage, _FOR_STEPS):
            self._host.broken(message.poisonMessage, RuntimeError(details))

    def _broken(self, message: ActorBroken) -> bool:
        """Have a step's actor replaced; return whether it may be one."""
        found = False
        for run_id, run in self._brain.runs.items():
            known = run.addresses
            # While the addresses of a run's steps are not known, the run's actor finds the step.
            if run_id in self._run_actors and (known is None or message.address in known.values()):
                self.send(self._run_actors[run_id], message)
                found = True
        return found

    def _child_exited(self, message: ChildActorExited) -> None:
        """Replace a run's actor that has died; the actors of finished runs were asked to exit."""
        address, leaving = message.childAddress, self._leaving
        if leaving and leaving[0] == address:
            leaving.popleft()
        elif address in leaving:
            leaving.remove(address)
        else:
            for run_id, known in self._run_actors.items():
                if known == address:
                    self._replace(run_id, "the run's actor exited")
                    return

    def _replace(self, run_id: str, details: str) -> None:
        # From now on, nothing that the former actor reports is believed.
        del self._run_actors[run_id]
        self._think(RunActorLost(run_id, details))
