"""Runs of workflows in virtual time, with the production actors, on a schedule that is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actorflow.actors import ConfigureSupervisor, Supervisor
from actorflow.actors.decisions import Decisions
from actorflow.errors import RunNotFound
from actorflow.messages import AttemptFinished, CancelRun, Committed
from actorflow.orchestrator.requests import new_run
from actorflow.systems.mischief import Countdown, Mischief
from actorflow.systems.simulated import SimulatedSystem
from actorflow.testing.executor import Account, SimulatedExecutor
from actorflow.testing.faults import NO_FAULTS, Faults
from actorflow.testing.mischief import budgets, may_strike
from actorflow.testing.scripts import Script
from actorflow.testing.store import SimulatedStateManager
from actorflow.testing.tape import Choices, Source
from actorflow.testing.trace import Leftovers, Settings, Trace
from actorflow.texts import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Unpack

    from actorflow.context import Attempt
    from actorflow.events import Event
    from actorflow.orchestrator.requests import RunOptions
    from actorflow.plan import WorkflowPlan
    from actorflow.protocols import Executor
    from actorflow.results import RunResult
    from actorflow.workflow import Workflow

__all__ = ["Simulation", "simulate"]

_UNITS: Final = (0.5, 0.0, 1 - 2**-53)
"""Where in the range of its jitter a backoff may lie."""
_FOREVER: Final = float("inf")


class VirtualClock:
    """The virtual time; people call its nought the beginning of the epoch."""

    def __init__(self, system: SimulatedSystem) -> None:
        self.now = system.now

    def wall(self, now: float) -> float:
        """Return the moment itself, so that an event's time is the virtual one."""
        return now


class _Places:
    """Coroutine steps here, all others there."""

    def __init__(self, coroutines: Executor, threads: Executor) -> None:
        self._coroutines = coroutines
        self._threads = threads

    def of(self, plan: WorkflowPlan) -> Mapping[str, Executor]:
        """Return the executor of each step."""
        coroutines, threads = self._coroutines, self._threads
        return {step.id: coroutines if step.is_coroutine else threads for step in plan.steps}


class _Nobody:
    """The audience of a simulation."""

    present = False

    def publish(self, events: Sequence[Event]) -> None:
        """There is nobody to show them to."""


class Simulation:
    """An orchestrator in virtual time, in the hands of a test.

    Args:
        script: What steps do, in runs that are started without a script of their own.
        tape: Where choices come from: a tape, a `random.Random`, or whoever is to be asked.
        async_workers: As of an `Orchestrator`.
        max_active_runs: As of an `Orchestrator`.
        stop_grace: As of an `Orchestrator`.
        faults: How much may go wrong.
        race: Whether the next timer may fire while messages wait.
        max_happenings: After so many deliveries and timers a schedule counts as endless.
        max_time: The virtual moment after which it does.
    """

    def __init__(
        self,
        *,
        script: Script | None = None,
        tape: Source = None,
        async_workers: int = 2,
        max_active_runs: int = 100,
        stop_grace: float = 5.0,
        faults: Faults | None = None,
        race: bool = True,
        max_happenings: int = 100_000,
        max_time: float = 1e7,
    ) -> None:
        self.settings = Settings(
            async_workers=async_workers,
            max_active_runs=max_active_runs,
            stop_grace=stop_grace,
            race=race,
            faults=faults or NO_FAULTS,
        )
        self._script = script or Script()
        self._choices = Choices(tape)
        self._left = max_happenings
        self._max_time = max_time
        self._quiescent = True
        self._idle: list[tuple[Any, ...]] = []
        self._results: dict[str, RunResult] = {}
        self._defects: list[str] = []
        self.audience = _Nobody()
        self._set_up(self.settings.faults)
        self._open()

    def _set_up(self, faults: Faults) -> None:
        choose = self._choices.choose
        mischief = None
        if faults.any:
            mischief = Mischief(choose, budgets(faults), span=60, may_strike=may_strike)
        self.system = SimulatedSystem(
            choose, race=self.settings.race, mischief=mischief, when_idle=self._note_idle
        )
        self.clock = VirtualClock(self.system)
        self.state = SimulatedStateManager(
            self.system,
            choose,
            fails=Countdown(choose, "store fails", faults.store_failures, 60),
            stalls=Countdown(choose, "store stalls", faults.store_stalls, 60),
        )
        self._account = Account(
            self.system, choose, Countdown(choose, "late result", faults.late_results, 4)
        )
        coroutines = SimulatedExecutor(self._account, preemptive=True)
        threads = SimulatedExecutor(self._account, preemptive=False)
        coroutines.open(self._report)
        threads.open(self._report)
        self.places = _Places(coroutines, threads)

    def _open(self) -> None:
        """Bring a supervisor to life."""
        self._brain = Decisions(
            async_workers=self.settings.async_workers,
            max_active_runs=self.settings.max_active_runs,
            grace=self.settings.stop_grace,
            random=self._jitter,
        )
        self._supervisor = self.system.create(Supervisor, self.system.system_cell)
        self._tell(ConfigureSupervisor(brain=self._brain, host=self))

    def _tell(self, message: object) -> None:
        self.system.post(self._supervisor, message, self.system.system_cell)

    def _jitter(self) -> float:
        return _UNITS[self._choices.choose(len(_UNITS), "jitter")]

    # ── What a test does ─────────────────────────────────────────────────────────────────────

    def start(
        self,
        flow: Workflow,
        inputs: Mapping[str, Any] | None = None,
        *,
        script: Script | None = None,
        **options: Unpack[RunOptions],
    ) -> str:
        """Have a run begin, and return its id: "run-1", "run-2", and so on.

        Nothing happens before time is given to it, by `deliver`, `advance` or `run_until_quiet`.
        """
        plan = flow.plan()
        script = script or self._script
        script.check(plan.by_id)
        run_id = f"run-{len(self._account.runs) + 1}"
        request = new_run(self, plan, inputs, options, run_id)
        self._account.runs[run_id] = plan, script
        if request.record is not None:
            self.state.create(request.record)
        self._tell(request.message)
        return run_id

    def cancel(self, run_id: str, reason: str = "cancelled", grace: float | None = None) -> None:
        """Ask for a run's end.

        Raises:
            RunNotFound: When no such run was started.
        """
        if run_id not in self._account.runs:
            raise RunNotFound(run_id)
        self._tell(CancelRun(run_id, reason, grace))

    def cancel_at(self, when: float, run_id: str, reason: str = "cancelled") -> None:
        """Ask for a run's end at a virtual moment."""
        self.system.call_at(when, self.cancel, run_id, reason)

    def deliver(self) -> bool:
        """Let one thing happen, and return whether anything is left that could."""
        return not self._run(1, _FOREVER)

    def advance(self, seconds: float) -> None:
        """Let virtual seconds pass, and all that happens in them."""
        until = self.system.time + seconds
        self._run(self._left, until)
        self.system.time = max(self.system.time, until)

    def run_until_quiet(self) -> None:
        """Let things happen until nothing is left that could, or a bound is reached."""
        self._quiescent = self._run(self._left, self._max_time)

    def _run(self, most: int, until: float) -> bool:
        return self.system.run(most, until)

    def trace(self) -> Trace:
        """Return what has happened so far."""
        account, system, brain = self._account, self.system, self._brain
        return Trace(
            settings=self.settings,
            plans={run_id: plan for run_id, (plan, _) in account.runs.items()},
            scripts={run_id: script for run_id, (_, script) in account.runs.items()},
            results=dict(self._results),
            events=tuple(self.state.log),
            choices=tuple(self._choices.used),
            max_in_flight=account.most_in_flight,
            now=system.time,
            lulls=tuple(self._idle),
            leftovers=Leftovers(
                actors=system.population - 1,
                timers=system.timers,
                messages=system.waiting,
                deadlines=len(brain.deadlines),
                runs=len(brain.runs),
                leases=brain.leases.held,
            ),
            quiescent=self._quiescent,
            defects=tuple(self._defects),
            rows=[body.row() for body in account.bodies],
            envelopes=tuple(system.deliveries),
            struck=tuple(system.faults),
        )

    # ── What executors report ────────────────────────────────────────────────────────────────

    def _report(self, attempt: Attempt, output: Any, error: BaseException | None) -> None:
        attempt.ended_at = self.system.time
        self._tell(AttemptFinished(attempt, output, error))

    # ── What the supervisor needs ────────────────────────────────────────────────────────────

    def committed(self, error: BaseException | None, /) -> None:
        """Tell the supervisor that a batch of events is recorded."""
        self._tell(Committed(error))

    def unknown(self, run_id: str) -> None:
        """Nobody waits for a run that was cancelled after its end."""

    def finished(self, result: RunResult) -> None:
        """Keep a run's result."""
        self._results[result.run_id] = result

    def unrecorded(self, events: Sequence[Event], error: BaseException) -> None:
        """Nothing more is known of events that could not be recorded."""

    def misbehaved(self, attempt: Attempt, what: str, error: Exception) -> None:
        """Keep what an executor did wrong."""
        self._defects.append(f"executor.{what}({attempt}) raised {text_of(error)}")

    def broken(self, message: object, error: BaseException) -> None:
        """Keep what could not be handled."""
        self._defects.append(f"{text_of(message)} could not be handled: {text_of(error)}")

    def _note_idle(self) -> None:
        leases = self._brain.leases
        self._idle.append(
            (
                self.system.time,
                len(self.state.log),
                len(self.system.deliveries),
                leases.total - leases.free,
                leases.free,
                self._account.in_flight,
            )
        )


def simulate(
    flow: Workflow,
    inputs: Mapping[str, Any] | None = None,
    *,
    script: Script | None = None,
    tape: Source = None,
    async_workers: int = 2,
    faults: Faults | None = None,
    race: bool = True,
    cancel_at: float | None = None,
    **options: Unpack[RunOptions],
) -> Trace:
    """Run a workflow once in virtual time, and return what happened.

    Args:
        flow: The workflow.
        inputs: The run's inputs.
        script: What its steps do; by default each returns a text that names it, after a time
            that is left to the tape. Its functions are called only where the script says
            `real()`.
        tape: Where choices come from: a tape, a `random.Random`, or whoever is to be asked.
            Without one everything happens in the plainest order.
        async_workers: How many async steps may be in flight at once.
        faults: How much may go wrong.
        race: Whether the next timer may fire while messages wait.
        cancel_at: The virtual moment at which the run is cancelled.
        options: Of the run, as for `Orchestrator.run`.
    """
    simulation = Simulation(
        script=script, tape=tape, async_workers=async_workers, faults=faults, race=race
    )
    run_id = simulation.start(flow, inputs, **options)
    if cancel_at is not None:
        simulation.cancel_at(cancel_at, run_id)
    simulation.run_until_quiet()
    return simulation.trace()
