"""One orchestrator in virtual time: the production actors, wired as production wires them.

It is to a simulation what `actorflow.orchestrator.runtime` is to an `Orchestrator`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ClassVar, Final

import attrs

from actorflow.actors import ConfigureSupervisor, Supervisor
from actorflow.errors.running import IllegalMove
from actorflow.model.mailing import EvictRun
from actorflow.model.messages import CancelRun, Committed, LeaveRuns
from actorflow.model.results import RunResult
from actorflow.orchestrator.executor_table import finishing
from actorflow.orchestrator.requests import new_run, resumed_run
from actorflow.scheduling.decisions import Decisions
from actorflow.state import MemoryStateManager
from actorflow.support.safe_text import text_of
from actorflow.systems.delivery import Cell
from actorflow.systems.simulated.mischief import Countdown, Mischief
from actorflow.systems.simulated.system import SimulatedSystem
from actorflow.testing.simulation.account import Account, RunTrace
from actorflow.testing.simulation.children import Offspring, SimulatedChildren
from actorflow.testing.simulation.mail import SimulatedMail
from actorflow.testing.simulation.pausing import SimulatedPauses
from actorflow.testing.simulation.places import SimulatedPlaces
from actorflow.testing.simulation.settings import MESSAGE_FAULTS, SPANS, may_strike
from actorflow.testing.simulation.stock import leftovers_of, note_idle
from actorflow.testing.simulation.store import SimulatedStateManager
from actorflow.testing.trace.labels import EXECUTOR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.model.context import Attempt
    from actorflow.model.events import Event
    from actorflow.model.families import EndChildren, UndoChild
    from actorflow.model.mailing import AnswerWait, AskEviction, RunEvicted
    from actorflow.model.protocols import StateManager
    from actorflow.model.records import Parent
    from actorflow.orchestrator.requests import Request, RunOptions
    from actorflow.testing.simulation.places import Reporters
    from actorflow.testing.simulation.scripts import Script
    from actorflow.testing.simulation.settings import Settings
    from actorflow.testing.trace.trace import Leftovers

__all__ = ["SimulatedRuntime", "VirtualClock"]

_FOREVER: Final = float("inf")
_UNITS: Final = (0.5, 0.0, 1 - 2**-53)
"""Where a backoff may lie in its jitter range: in the middle, or at either end."""


class VirtualClock:
    """A virtual clock, whose zero counts as the epoch."""

    def __init__(self, system: SimulatedSystem) -> None:
        self.now: Callable[[], float] = system.now

    def wall(self, now: float) -> float:
        """Return the moment unchanged, so that events carry virtual time."""
        return now


class _Audience:
    """A watcher that keeps what it is shown, and how many events were recorded by then."""

    present = True

    def __init__(self, log: Sequence[Event]) -> None:
        self.shown: list[tuple[int, Sequence[Event]]] = []
        self._log = log

    def publish(self, events: Sequence[Event]) -> None:
        """Keep the events."""
        self.shown.append((len(self._log), events))


def _in_memory() -> Callable[[], StateManager]:
    """Return a function that opens a state manager which forgets nothing."""
    memory = MemoryStateManager(max_runs=10**9, max_age=float("inf"), max_events=10**12)
    return lambda: memory


class SimulatedRuntime:
    """The running parts of a simulated orchestrator.

    Args:
        settings: The limits, and how many faults may happen.
        choose: Makes the choices.
        before_choice: See `SimulatedSystem`.
        state: Opens the state manager, at the start and after each crash; in memory by default.
        choose_rarely: See `SimulatedSystem`.
    """

    manager: ClassVar[type[SimulatedStateManager]] = SimulatedStateManager
    postbox: ClassVar[type[SimulatedMail]] = SimulatedMail
    """The kinds of its state manager and of its mail."""
    keeps_attributes: ClassVar[bool] = True
    """Whether runs may be started with attributes."""

    def __init__(
        self,
        settings: Settings,
        choose: Callable[[int, str], int],
        before_choice: Callable[[], None] | None,
        state: Callable[[], StateManager] | None = None,
        choose_rarely: Callable[[int, str, int], int] | None = None,
    ) -> None:
        self._settings = settings
        self._choose = choose
        self._steps = 0
        self.system: Final = SimulatedSystem(
            choose,
            race=settings.race,
            mischief=self._mischief() if settings.faults.any else None,
            when_idle=functools.partial(note_idle, self),
            before_choice=before_choice,
            choose_rarely=choose_rarely,
        )
        self.clock: Final = VirtualClock(self.system)
        self.account: Final = Account(self.system, choose, self.countdown("late result"))
        self.state: Final = self.manager(
            _in_memory() if state is None else state,
            self.system,
            choose,
            fails=self.countdown("store fails"),
            stalls=self.countdown("store stalls"),
        )
        told = self.tell, self.take_over
        self.messages: Final = self.postbox(self.system, self.state, choose, *told)
        self.places: Final = SimulatedPlaces(self.account, self.messages)
        self.places.open(self._reporters(), self._reporters())
        self.audience: Final = _Audience(self.state.log)
        self.children: Final = None
        self.mail: Final = None
        self.pauses: Final = SimulatedPauses(self.state, self.system, choose, self.tell)
        self.results: dict[str, RunResult] = {}
        self.handed: list[tuple[int, int, str]] = []
        """For each result handed out: the numbers of recorded events and deliveries; its run."""
        self.live: set[str] = set()
        """The ids of the runs that this orchestrator was given and that have not ended."""
        self.left_runs: list[tuple[int, int, str]] = []
        """For each run that was left: as in `handed`."""
        self.evicted_runs: list[tuple[int, str]] = []
        """For each of these that was evicted: the count of deliveries, and the run id."""
        self.defects: list[str] = []
        self.crashes: list[tuple[int, float]] = []
        """Its crashes and hand-overs: the number of deliveries before each, and the moment."""
        self.handovers: list[int] = []
        """The indexes of those that are hand-overs."""
        self._when_left: Callable[[], None] | None = None
        self._started = 0
        self.allow: Callable[[int], None] = lambda _steps: None
        """Called when a run is accepted, with the number of its steps."""
        self.offspring: Offspring = SimulatedChildren(self, self.account)
        self.end_children: Callable[[EndChildren], None] = self.offspring.end_children
        self.undo_child: Callable[[UndoChild], None] = self.offspring.undo_child
        self.account.children = self.offspring
        self.lulls: list[tuple[float, int, int, int, int, int, int]] = []
        """The state at each moment when nothing could be delivered; see `trace.Idle`."""
        self.open()

    # ── Faults ───────────────────────────────────────────────────────────────────────────────

    def _mischief(self) -> Mischief:
        countdowns = {fault: self.countdown(fault.value) for fault in MESSAGE_FAULTS}
        return Mischief(countdowns, may_strike)

    def countdown(self, label: str) -> Countdown:
        """Return the countdown that decides when a fault happens."""
        budget = self._settings.faults.budget(label)
        return Countdown(self._choose, label, budget, lambda: SPANS[label] * self._steps)

    # ── Start and end ────────────────────────────────────────────────────────────────────────

    def open(self) -> None:
        """Create a supervisor with no runs."""
        settings = self._settings
        self._finished = finishing(self.state.powers)
        self.brain: Decisions = Decisions(
            async_workers=settings.async_workers,
            max_active_runs=settings.max_active_runs,
            grace=settings.stop_grace,
            random=self._jitter,
            ageing=settings.ageing,
            evict_after=settings.evict_after,
        )
        self._supervisor = self.system.create(Supervisor, self.system.system_cell)
        self.tell(ConfigureSupervisor(brain=self.brain, host=self))
        self.pauses.open()

    def _jitter(self) -> float:
        return _UNITS[self._choose(len(_UNITS), "jitter")]

    def dissolve(self) -> None:
        """Release everything.

        The remains of a schedule are full of reference cycles. The garbage collector would take
        longer to find them than it took to make them.
        """
        for body in self.account.bodies:
            body.handle = body.attempt.handle = None
        self._lose()
        for part in (self.account, self.messages, self.system, self.offspring, self):
            vars(part).clear()

    def _lose(self) -> None:
        """Drop everything that lives in the orchestrator's process."""
        supervisor = self._supervisor.actor
        self.live.clear()
        self.system.clear()
        while self.brain.deadlines.pop_due(_FOREVER) is not None:
            pass  # each is detached from the step that keeps it
        if supervisor is not None:  # the system may have been cleared
            vars(supervisor).clear()
        vars(self.brain).clear()

    def crash(self) -> None:
        """Drop everything except what the state manager has recorded, and start again."""
        self._restart(list(self.live))

    def leave(self, grace: float, then: Callable[[], None]) -> None:
        """Leave all runs, as a shutdown does; when they are left, start again and call `then`."""
        self._when_left = then
        self.tell(LeaveRuns(tuple(self.live), grace))

    @property
    def leaving(self) -> bool:
        """Whether the runs are being left."""
        return self._when_left is not None

    def _gone(self, run_id: str) -> None:
        """Note that a run is no longer in progress here."""
        self.live.discard(run_id)
        self.messages.forget(run_id)
        if self._when_left is not None and not self.live:
            self.system.call_at(self.system.time, self._hand_over)

    def _hand_over(self) -> None:
        then = self._when_left
        if then is not None and not self.live:
            self.handovers.append(len(self.crashes))
            self._restart(())
            then()

    def _restart(self, lost: Iterable[str]) -> None:
        self._when_left = None
        self.crashes.append((len(self.system.deliveries), self.system.time))
        self._lose()
        self.account.lose()
        self.offspring.forget()
        self.messages.lose()
        self.state.crash(lost)
        self.places.close()
        for run_id in self.account.runs:
            self._recover_result(run_id)
        self.open()

    def crash_if_cut(self) -> None:
        """Crash if the state manager has reached the write chosen for it."""
        if self.state.cut:
            self.crash()

    def _recover_result(self, run_id: str) -> None:
        """Take a run's result from its record, if it ended but was never handed out."""
        try:
            recorded = self.state.snapshot(run_id)
        except IllegalMove as error:
            self._note_illegal(run_id, error)
            return
        if recorded.status.terminal:
            self.results.setdefault(run_id, RunResult.of(recorded))

    # ── Runs ─────────────────────────────────────────────────────────────────────────────────

    def ways(self, plan: WorkflowPlan) -> Mapping[str, float] | None:
        """Return the longest way from each step to the end, by the expected durations alone."""
        return plan.ways({})

    def start(
        self,
        plan: WorkflowPlan,
        inputs: Mapping[str, Any] | None,
        script: Script,
        options: RunOptions,
    ) -> str:
        """Start a run, and return its id."""
        self._started += 1
        run_id = f"run-{self._started}"
        self.accept(new_run(self, plan, inputs, options, run_id=run_id), script)
        return run_id

    def accept(self, request: Request, script: Script) -> None:
        """Record a new run, and begin it."""
        steps = len(request.message.plan.steps)
        self._steps += steps
        self.allow(steps)
        if request.record is not None:
            self.state.create(request.record, _ignore_commit)
        self.take(request, script)

    def resume(
        self, run_id: str, plan: WorkflowPlan, script: Script, *, taken_over: bool = False
    ) -> None:
        """Resume a run from its record, as a person does or as an orchestrator takes it over.

        A record that holds an illegal move is a defect.
        """
        try:
            recorded = self.state.claim(run_id)
        except IllegalMove as error:
            self._note_illegal(run_id, error)
            return
        self.results.pop(run_id, None)
        recorded = attrs.evolve(recorded, deadline_at=self.messages.asleep.take(run_id))
        most = self._settings.max_takeovers if taken_over else None
        self.take(resumed_run(self, plan, recorded, max_takeovers=most), script)

    def take_over(self, run_id: str) -> None:
        """Have a run go on as an orchestrator takes it over."""
        known = self.account.runs[run_id]
        self.resume(run_id, known.plan, known.script, taken_over=True)

    def _note_illegal(self, run_id: str, error: IllegalMove) -> None:
        self.defects.append(f"the record of {run_id} could not be read: {text_of(error)}")

    def take(self, request: Request, script: Script) -> None:
        """Tell the supervisor to start a run."""
        message, known = request.message, self.account.runs.get(request.run_id)
        self.live.add(request.run_id)
        self.account.runs[request.run_id] = RunTrace(
            run_id=request.run_id,
            plan=message.plan,
            script=script,
            inputs=message.scope.inputs,
            priority=message.priority,
            timeout=message.timeout,
            parent=known.parent if request.record is None and known else _parent(request),
        )
        self.tell(message)

    def cancel(
        self, run_id: str, reason: str, grace: float | None = None, *, compensate: bool = False
    ) -> None:
        """Tell the supervisor to cancel a run."""
        self.messages.asleep.wake(run_id)
        self.tell(CancelRun(run_id, reason, grace, compensate))

    def tell(self, message: object) -> None:
        """Send a message to the supervisor."""
        self.system.post(self._supervisor, message, self.system.system_cell)

    def _reporters(self) -> Reporters:
        """Return the functions with which one executor reports; what it says keeps its order.

        The first schedules a delivery, and the second does not. The third tells what bodies say
        that wait.
        """
        sender = Cell(0, self.system, None)
        sender.globalName = EXECUTOR
        system = self.system

        def report(attempt: Attempt, output: Any, error: BaseException | None) -> None:
            attempt.ended_at = system.time
            system.post(self._supervisor, self._finished(attempt, output, error), sender)

        def leave(attempt: Attempt, output: Any, error: BaseException | None) -> None:
            attempt.ended_at = system.time
            system.leave(self._supervisor, self._finished(attempt, output, error), sender)

        def tell(message: object) -> None:
            system.post(self._supervisor, message, sender)

        return report, leave, tell

    # ── The supervisor's host ────────────────────────────────────────────────────────────────

    def committed(self, error: BaseException | None, /) -> None:
        """Tell the supervisor that a batch of events is recorded, or why it is not."""
        self.tell(Committed(error))

    def unknown(self, run_id: str, _asked: CancelRun) -> None:
        """Do nothing: no caller waits for a run cancelled before its start or after its end."""

    def left(self, run_id: str) -> None:
        """Note that a run was left, and may go on in the next orchestrator."""
        self.left_runs.append((len(self.state.log), len(self.system.deliveries), run_id))
        self._gone(run_id)

    def finished(self, result: RunResult) -> None:
        """Keep a run's result."""
        self.results[result.run_id] = result
        self.handed.append((len(self.state.log), len(self.system.deliveries), result.run_id))
        self.offspring.ended(result)
        self._gone(result.run_id)

    def unrecorded(self, events: Sequence[Event], error: BaseException) -> None:
        """Do nothing: the schedule made this write fail, and the results show the effect."""

    def moved(self, attempt: Attempt) -> None:
        """Tell a body that waits that its attempt continues or has to stop."""
        executor: Any = attempt.executor
        executor.moved(attempt)

    def answered(self, answer: AnswerWait) -> None:
        """Tell a body that waits for a message what it gets."""
        executor: Any = answer.attempt.executor
        executor.answered(answer)

    def may_evict(self, message: AskEviction) -> None:
        """Have a run evicted."""
        self.tell(EvictRun(message.run_id))

    def evicted(self, message: RunEvicted) -> None:
        """Note that a run waits for messages without an orchestrator."""
        self.evicted_runs.append((len(self.system.deliveries), message.run_id))
        self.messages.asleep.put(message.run_id, message.eviction)
        self.left(message.run_id)

    def misbehaved(self, attempt: Attempt, what: str, error: BaseException) -> None:
        """Record an executor's error as a defect."""
        self.defects.append(f"{what}() of the executor of {attempt} raised {text_of(error)}")

    @property
    def supervisor(self) -> Any:
        """The supervisor; None once it has ended."""
        return self._supervisor.actor

    def leftovers(self) -> Leftovers:
        """Count what exists now."""
        return leftovers_of(self)

    def broken(self, message: object, error: BaseException) -> None:
        """Record a message that could not be handled as a defect."""
        kind = type(message).__name__
        self.defects.append(f"a message could not be handled: {kind}: {text_of(error)}")


def _parent(request: Request) -> Parent | None:
    return None if request.record is None else request.record.parent


def _ignore_commit(_error: BaseException | None, /) -> None:
    """Do nothing: the run was recorded at once."""
