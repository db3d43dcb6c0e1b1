"""One process of a cluster: an orchestrator from its start to its end, in virtual time."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

import attrs

from actorflow.errors.storage import LeaseLost, StoreUnavailable
from actorflow.model.families import ChildStarted
from actorflow.model.messages import CancelRun, LeaveRuns, PauseRun
from actorflow.orchestrator.powers import hand_back
from actorflow.orchestrator.requests import Request
from actorflow.testing.cluster.children import ClusterChildren
from actorflow.testing.cluster.ears import Ears
from actorflow.testing.cluster.mail import News, ProcessMail
from actorflow.testing.cluster.premises import Parts, Premises
from actorflow.testing.cluster.recorder import Recorder
from actorflow.testing.simulation.runtime import SimulatedRuntime
from actorflow.testing.simulation.tracing import trace_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.model.families import EndChildren, UndoChild
    from actorflow.model.mailing import RunEvicted
    from actorflow.model.messages import StartRun
    from actorflow.model.pausing import Pause
    from actorflow.model.results import RunResult
    from actorflow.orchestrator.live import LiveRuns
    from actorflow.systems.simulated.timers import Timer
    from actorflow.testing.cluster.manager import SharedStateManager
    from actorflow.testing.simulation.children import Offspring
    from actorflow.testing.simulation.mail import SimulatedMail
    from actorflow.testing.simulation.scripts import Script
    from actorflow.testing.simulation.settings import Settings
    from actorflow.testing.simulation.store import SimulatedStateManager
    from actorflow.testing.simulation.tape import Choice
    from actorflow.testing.trace.trace import Trace

__all__ = ["Process"]

_SHORTEST: Final = 0.05
"""The shortest pause between two renewals of a lease when they fail, as in production."""
_AGAIN: Final = 0.5
"""Seconds between two attempts to renew a lease while the store cannot be reached."""
_MARGIN: Final = 5.0
"""Seconds beyond the grace for which a shutdown waits for its runs."""


class _SkewedClock:
    """The clock of a process, whose wall time may be wrong by some seconds."""

    def __init__(self, now: Callable[[], float], wrong_by: Callable[[], float]) -> None:
        self.now = now
        self._wrong_by = wrong_by

    def wall(self, now: float) -> float:
        """Return what the wall clock says at a moment."""
        return now + self._wrong_by()


class _NoChoices:
    """Stands for the choices of one process, which are kept for all together."""

    used: ClassVar[Sequence[Choice]] = ()


class Process(SimulatedRuntime):
    """An orchestrator in a process of its own.

    Args:
        name: Its name: the number of the orchestrator, and of its lives.
        settings: The limits.
        choose: Makes the choices.
        choose_rarely: See `SimulatedSystem`.
        manager: Makes its state manager, given the process.
        recover_every: Seconds between two searches for unowned runs.
        script_of: Returns the script of a run, given its workflow's id.
        wrong_by: Returns by how many seconds its wall clock is wrong.
        new_id: Returns the id of a run that a schedule starts.
        active: Returns whether it must go on searching, watching and firing.
    """

    manager: ClassVar[type[SimulatedStateManager]] = Recorder
    postbox: ClassVar[type[SimulatedMail]] = ProcessMail

    def __init__(
        self,
        name: str,
        settings: Settings,
        choose: Callable[[int, str], int],
        choose_rarely: Callable[[int, str, int], int],
        *,
        manager: Callable[[Process], SharedStateManager],
        recover_every: float,
        script_of: Callable[[str], Script],
        wrong_by: Callable[[], float],
        new_id: Callable[[], str],
        active: Callable[[], bool],
    ) -> None:
        self.name: Final = name
        self._every = recover_every
        self._script_of = script_of
        self._active = active
        self._ended: Callable[[], None] | None = None
        self._beating = self._woken = False
        super().__init__(settings, choose, None, lambda: manager(self), choose_rarely)
        clock = _SkewedClock(self.system.now, wrong_by)
        self.post.recorded_by_all = lambda: len(self.owner.store.log)
        self.ears: Final = Ears(self.system, self.recorder, active)
        offspring = ClusterChildren(self)
        self.offspring: Offspring = offspring
        self.account.children = offspring
        self.end_children: Callable[[EndChildren], None] = offspring.end_children
        self.undo_child: Callable[[UndoChild], None] = offspring.undo_child

        def premises(live: LiveRuns) -> Premises:
            return Premises(
                powers=attrs.evolve(self.recorder.powers, follows=self.ears),
                places=self.places,
                clock=clock,
                start=self._start,
                cancel=self._tell_to_cancel,
                pause=self._tell_to_pause,
                mail=self.post,
                idle=lambda: sum(run.away and not run.rejoins for run in self.brain.runs.values()),
                live=live,
                at_once=self.recorder.at_once,
                is_reachable=lambda: self.recorder.is_reachable,
                tell=self._tell_of_families,
                later=self._later,
                when_over=offspring.watch,
            )

        self.parts: Final = Parts(settings, recover_every, premises, new_id)
        self.parts.starter.take_turns_elsewhere(self._wake)
        self.heard: Final[list[tuple[float, str]]] = []
        """When it was told to cancel which run."""

    @property
    def recorder(self) -> Recorder:
        """Its state manager."""
        recorder: Any = self.state
        return cast("Recorder", recorder)

    @property
    def post(self) -> ProcessMail:
        """Its mail."""
        return cast("ProcessMail", self.messages)

    @property
    def owner(self) -> SharedStateManager:
        """Its state manager, without the faults."""
        return self.recorder.owner

    def begin(self, plans: Sequence[Any]) -> None:
        """Register workflows, and begin to search for runs and to fire schedules."""
        for flow in plans:
            self.parts.registry.register(flow)
        self.system.call_at(self.system.time, self._search)
        self.system.call_at(self.system.time, self._fire)

    # ── What production does on threads ──────────────────────────────────────────────────────

    def _turn(self, turn: Callable[[Any], float | None]) -> float | None:
        """Take a turn, unless the store cannot be reached; return when to take the next."""
        if not self.recorder.is_reachable:
            return self._every
        with self.recorder.at_once():
            pause = turn(self.parts.premises)
        self.keep_beating()
        return pause

    @property
    def turns(self) -> Sequence[Callable[[Any], float | None]]:
        """The turns that it takes by itself: it searches, fires schedules and starts runs."""
        parts = self.parts
        return parts.recovery.turn, parts.firing.turn, parts.starter.turn

    def take_turn(self, index: int) -> None:
        """Take one of its turns now, in addition to those that are due."""
        self._turn(self.turns[index])

    def _search(self) -> None:
        if self._active() and not self.parts.closed:
            pause = self._turn(self.parts.recovery.turn)
            self.system.call_at(self.system.time + (pause or self._every), self._search)

    def _fire(self) -> None:
        if self._active() and not self.parts.closed:
            pause = self._turn(self.parts.firing.turn)
            self.system.call_at(self.system.time + (pause or self._every), self._fire)

    def _wake(self) -> None:
        """Have the starter look soon."""
        if not self._woken:
            self._woken = True
            self.system.call_at(self.system.time, self._look)

    def _look(self) -> None:
        self._woken = False
        if self.parts.closed:
            return
        pause = self._turn(self.parts.starter.turn)
        if pause is not None and not self._woken and self._active():
            self._woken = True
            self.system.call_at(self.system.time + pause, self._look)

    def keep_beating(self) -> None:
        """Renew the lease in time, while runs belong to this process."""
        if self.owner.open and not self._beating:
            self._beating = True
            pause = max(self.owner.until_renewal, _SHORTEST)
            self.system.call_at(self.system.time + pause, self._beat)

    def _beat(self) -> None:
        self._beating = False
        if not self._active():
            return
        try:
            self.recorder.check_not_stalled()
            with self.recorder.at_once():
                self.owner.heartbeat()
        except StoreUnavailable:
            self._beating = True
            self.system.call_at(self.system.time + _AGAIN, self._beat)
        else:
            self.keep_beating()

    # ── Runs ─────────────────────────────────────────────────────────────────────────────────

    def _start(self, message: StartRun) -> None:
        plan: WorkflowPlan = message.plan
        self._steps += len(plan.steps)
        run_id = message.scope.run_id
        record = self.owner.store.rows[run_id].record
        request = Request(plan.workflow_id, run_id, message, record)
        self.results.pop(run_id, None)  # of an earlier life of the run in this process
        self.take(request, self._script_of(plan.workflow_id))
        self.keep_beating()

    def _later(self, seconds: float, function: Callable[..., None], *arguments: Any) -> Timer:
        return self.system.call_at(self.system.time + seconds, function, *arguments)

    def _tell_of_families(self, message: object) -> None:
        if isinstance(message, ChildStarted):
            self.brain.take(message)  # before the end of the attempt, as in production's inbox
        else:
            self.tell(message)

    def _tell_to_cancel(
        self,
        run_id: str,
        reason: str,
        grace: float | None,
        compensate: bool,  # noqa: FBT001
        kept: bool,  # noqa: FBT001
    ) -> None:
        self.heard.append((self.system.time, run_id))
        self.tell(CancelRun(run_id, reason, grace, compensate, kept=kept))

    def _tell_to_pause(self, run_id: str, pause: Pause | None) -> None:
        self.post.news.append(News(self.system.time, run_id, None, pause is not None))
        self.tell(PauseRun(run_id, pause))

    def finished(self, result: RunResult) -> None:
        """Keep a run's result, and let runs with its key start."""
        super().finished(result)
        live: Any = self.parts.live
        error = result.error
        live.finish(result, error if isinstance(error, LeaseLost) else None)
        if live.waiting.has_keys:
            live.waiting.changed()

    def left(self, run_id: str) -> None:
        """Hand back a run that was stopped without an end."""
        super().left(run_id)
        hand_back(self.recorder.powers, run_id)
        self.parts.live.leave(run_id)

    def evicted(self, message: RunEvicted) -> None:
        """Hand back a run until there is news for it."""
        self.evicted_runs.append((len(self.system.deliveries), message.run_id))
        super().left(message.run_id)
        self.recorder.evict(message.run_id, message.eviction)
        self.parts.live.evict(message.run_id)

    def unknown(self, run_id: str, asked: CancelRun) -> None:
        """Discard a run that the supervisor does not know, or cancel one that was evicted."""
        with self.recorder.at_once():
            self.parts.premises.unknown(run_id, asked)

    # ── The end ──────────────────────────────────────────────────────────────────────────────

    @property
    def leaving(self) -> bool:
        """Whether it is being shut down."""
        return self._ended is not None

    def shut_down(self, grace: float, then: Callable[[], None]) -> None:
        """Leave all runs, as a deploy does, and call `then` when the process has ended."""
        self._ended = then
        self.parts.close()
        live = self.parts.live
        live.all_ended.when_done(self._close_soon)
        if not live.all_ended.done:
            self.tell(LeaveRuns(tuple(live.ids()), grace))
            self.system.call_at(self.system.time + grace + _MARGIN, self._close)

    def _close_soon(self) -> None:
        self.system.call_at(self.system.time, self._close)

    def _close(self) -> None:
        then, self._ended = self._ended, _nothing
        if then is not None and then is not _nothing:
            with contextlib.suppress(StoreUnavailable):  # others wait until the lease is over
                self.recorder.check_not_stalled()
                self.owner.close()
            then()

    def end(self, *, quiescent: bool = False, endless: bool = False) -> Trace:
        """End the process at once, and return its trace."""
        if not quiescent:
            self.crashes.append((len(self.system.deliveries), self.system.time))
            self.account.lose()
            if self.leaving:
                self.handovers.append(0)
        choices: Any = _NoChoices
        trace = trace_of(self, self._settings, choices, quiescent=quiescent, endless=endless)
        self.places.close()
        self.dissolve()
        return trace


def _nothing() -> None:
    """Do nothing a second time."""
