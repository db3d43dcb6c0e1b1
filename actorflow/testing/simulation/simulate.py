"""An orchestrator in virtual time, controlled by a test: the production actors on one schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

from actorflow.errors.storage import RunNotFound
from actorflow.model.lifecycle import RunStatus
from actorflow.support.suggestions import checks_options
from actorflow.testing.errors import NotNow
from actorflow.testing.simulation.checks import (
    as_moment,
    check_callable,
    check_script,
    check_whole,
    plan_of,
)
from actorflow.testing.simulation.runtime import SimulatedRuntime
from actorflow.testing.simulation.scripts import Script
from actorflow.testing.simulation.settings import NO_FAULTS, Faults, Settings
from actorflow.testing.simulation.steering import Steering
from actorflow.testing.simulation.tape import Choices
from actorflow.testing.simulation.tracing import trace_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Unpack

    from actorflow.definition.durations import Duration
    from actorflow.definition.workflow import Workflow
    from actorflow.model.protocols import StateManager
    from actorflow.model.results import RunResult
    from actorflow.orchestrator.requests import RunOptions
    from actorflow.systems.delivery import Envelope
    from actorflow.systems.simulated.system import SimulatedSystem
    from actorflow.testing.simulation.account import Body
    from actorflow.testing.simulation.tape import Source
    from actorflow.testing.trace.trace import Trace

__all__ = ["Simulation"]

_FOREVER: Final = float("inf")
_PLAIN_SCRIPT: Final = Script()
_HAPPENINGS: Final = 10_000
_HAPPENINGS_OF_A_STEP: Final = 100


@checks_options
class Simulation(Steering):
    """An orchestrator in virtual time, controlled by a test.

    Nothing happens until it is given time, by `deliver`, `advance` or `run_until_quiet`. Used as a
    context manager, it lets real coroutines clean up at the end.

    Args:
        script: What steps do, in runs started without a script of their own. By default each step
            returns a string that names it, after a duration left to the tape.
        tape: Where choices come from: a tape, a `random.Random`, a callable, or `Choices` that have
            already been made. Without one, everything happens in the default order.
        async_workers: As in an `Orchestrator`.
        max_active_runs: As in an `Orchestrator`.
        stop_grace: As in an `Orchestrator`.
        ageing: As in an `Orchestrator`.
        max_takeovers: As in an `Orchestrator`.
        evict_after: As in an `Orchestrator`, but None by default.
        faults: How many faults may happen.
        race: Whether the next timer may fire while messages wait.
        max_happenings: The number of deliveries and timers after which a schedule counts as
            endless; by default 10,000, plus 100 for each step.
        max_time: The virtual moment after which a schedule counts as endless, if any.
        state: Opens the state manager, at the start and again after each crash, when the previous
            one has been closed. The new one must know what was recorded. Writes are waited for, in
            no virtual time. By default runs are kept in memory.

    Example:
        >>> from actorflow import Step, Workflow
        >>> from actorflow.testing import Simulation
        >>> flow = Workflow("greeting")
        >>> greet = flow.add(Step("greet", lambda: "hello"))
        >>> with Simulation() as simulation:
        ...     run_id = simulation.start(flow)
        ...     simulation.advance(0.5)
        ...     simulation.cancel(run_id)
        ...     simulation.run_until_quiet()
        ...     simulation.results[run_id].status.value
        'cancelled'
    """

    def __init__(
        self,
        *,
        script: Script | None = None,
        tape: Source | Choices = None,
        async_workers: int = 2,
        max_active_runs: int = 100,
        stop_grace: float = 5.0,
        ageing: float | None = None,
        max_takeovers: int = 10,
        evict_after: float | None = None,
        faults: Faults | None = None,
        race: bool = True,
        max_happenings: int | None = None,
        max_time: float | None = None,
        state: Callable[[], StateManager] | None = None,
    ) -> None:
        self.settings: Final = Settings(
            async_workers=async_workers,
            max_active_runs=max_active_runs,
            stop_grace=stop_grace,
            ageing=ageing,
            max_takeovers=max_takeovers,
            evict_after=evict_after,
            race=race,
            faults=NO_FAULTS if faults is None else faults,
        )
        if max_happenings is not None:
            check_whole(max_happenings, "max_happenings", 1)
        if state is not None:
            check_callable(state, "state", "Give a function that opens a state manager")
        self._script = _PLAIN_SCRIPT if script is None else script
        check_script(self._script)
        self._choices = tape if isinstance(tape, Choices) else Choices(tape)
        self._left = _HAPPENINGS if max_happenings is None else max_happenings
        self._more_for_a_step = _HAPPENINGS_OF_A_STEP if max_happenings is None else 0
        self._max_time = _FOREVER if max_time is None else as_moment(max_time, "max_time")
        self._quiescent = True
        self._busy = False
        self._endless = False
        told = self.settings.faults
        chaos = told.cancels or told.restarts or told.handovers or told.pauses
        choices, disturb = self._choices, self._disturb if chaos else None
        self._kept: SimulatedRuntime | None = SimulatedRuntime(
            self.settings, choices.choose, disturb, state, choices.choose_rarely
        )
        self._runtime.allow = self._allow
        self._cancel_now = self._runtime.countdown("cancel")
        self._crash_now = self._runtime.countdown("restart")
        self._leave_now = self._runtime.countdown("hand over")
        self._pause_now = self._runtime.countdown("pause")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _runtime(self) -> SimulatedRuntime:
        if self._kept is None:
            raise NotNow("the simulation has been concluded. Use its trace, or create another one.")
        return self._kept

    # ── Runs ─────────────────────────────────────────────────────────────────────────────────

    def start(
        self,
        flow: Workflow,
        inputs: Mapping[str, Any] | None = None,
        *,
        script: Script | None = None,
        **options: Unpack[RunOptions],
    ) -> str:
        """Start a run, and return its id: "run-1", "run-2", and so on.

        Raises:
            DefinitionError: When the workflow, the script or an option is invalid.
            MissingInput: When a step needs an input that is not given.
        """
        plan = plan_of(flow)
        script = self._script if script is None else script
        check_script(script)
        script.check(plan)
        return self._runtime.start(plan, inputs, script, options)

    def _allow(self, steps: int) -> None:
        """Let more happen, for a run of so many steps."""
        self._left += self._more_for_a_step * steps

    def cancel(
        self,
        run_id: str,
        reason: str = "cancelled",
        grace: Duration | None = None,
        *,
        compensate: bool = False,
    ) -> None:
        """Cancel a run; with `compensate`, also run its compensators.

        With a grace, attempts and compensators get that many seconds to end, as at a shutdown.

        Raises:
            RunNotFound: When no such run was started.
            DefinitionError: When the grace is invalid.
        """
        self._known(run_id)
        limit = None if grace is None else as_moment(grace, "grace")
        self._runtime.cancel(run_id, reason, limit, compensate=compensate)

    def cancel_at(self, moment: Duration, run_id: str, reason: str = "cancelled") -> None:
        """Cancel a run at a virtual moment.

        Raises:
            DefinitionError: When the moment is invalid.
            RunNotFound: When no such run was started.
        """
        self._known(run_id)
        self.call_at(moment, self.cancel, run_id, reason)

    def call_at(self, moment: Duration, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function, such as `start`, at a virtual moment; a crash drops the call.

        Raises:
            DefinitionError: When the moment is invalid, or the function is not callable.
        """
        check_callable(function, "function", "Give a function, followed by its arguments")
        when = as_moment(moment, "moment")
        self._runtime.system.call_at(when, function, *arguments)

    def crash(self) -> None:
        """Crash the whole orchestrator at once, as with `kill -9`, and start another one.

        What was recorded is kept; runs that have not ended go on when they are resumed.
        """
        self._runtime.crash()

    def hand_over(self, grace: Duration | None = None) -> None:
        """Shut the orchestrator down as a deploy does, and start another one that goes on.

        Its runs are left: their attempts are stopped, and nothing is recorded about that. When all
        of them are left, another orchestrator takes them over. Give it time to happen.

        Args:
            grace: Seconds that attempts get to end; by default `stop_grace`.

        Raises:
            DefinitionError: When the grace is invalid.
        """
        limit = self.settings.stop_grace if grace is None else as_moment(grace, "grace")
        runtime = self._runtime
        if runtime.live and not runtime.leaving:
            runtime.leave(limit, self._take_over)

    def _take_over(self) -> None:
        """Take over the runs that have not ended."""
        runtime = self._runtime
        for run_id in [id_ for id_ in runtime.account.runs if id_ not in runtime.results]:
            runtime.take_over(run_id)

    def crash_at_write(self, number: int, *, recorded: bool = False) -> bool:
        """Let things happen until a given write, and crash at that point.

        Args:
            number: The number of the write, counted from 1, starting now.
            recorded: Whether the write is made. In either case it is not acknowledged.

        Returns whether there was such a write; without it there is no crash.

        Raises:
            DefinitionError: When the number is invalid.
        """
        check_whole(number, "number", 1)
        store, system = self._runtime.state, self._runtime.system
        store.cut_at(store.writes + number, recorded=recorded)
        crashes, usual = len(self._runtime.crashes), system.before_choice
        system.before_choice = self._runtime.crash_if_cut
        try:
            self._run(self._left, self._max_time)
        finally:
            system.before_choice = usual
            store.cut_at(0, recorded=False)
        return len(self._runtime.crashes) > crashes

    def resume(
        self,
        run_id: str,
        flow: Workflow | None = None,
        *,
        script: Script | None = None,
        taken_over: bool = False,
    ) -> None:
        """Resume a run that failed, was cancelled, or lost its orchestrator in a crash.

        Args:
            run_id: The run. A run that is in progress or has completed is left as it is.
            flow: Its workflow, if it has been changed.
            script: What steps do from now on.
            taken_over: Whether the orchestrator takes the run over, as with `recover=True`, and
                counts attempts and take-overs on. By default a person resumes it.

        Raises:
            RunNotFound: When no such run was started.
        """
        known = self._known(run_id)
        result = self._runtime.results.get(run_id)
        completed = result is not None and result.status is RunStatus.COMPLETED
        if completed or run_id in self._runtime.live:
            return
        plan = known.plan if flow is None else flow.plan()
        script = known.script if script is None else script
        self._runtime.resume(run_id, plan, script, taken_over=taken_over)

    def _known(self, run_id: str) -> Any:
        try:
            return self._runtime.account.runs[run_id]
        except KeyError:
            raise RunNotFound(run_id) from None

    # ── Time ─────────────────────────────────────────────────────────────────────────────────

    @property
    def now(self) -> float:
        """The current virtual time, in seconds from 0."""
        return self._runtime.system.time

    def deliver(self) -> bool:
        """Let one delivery, timer or callback happen; return whether there was one.

        A callback of a real coroutine may deliver messages itself.
        """
        return self._run(1, _FOREVER) > 0

    def advance(self, seconds: Duration) -> None:
        """Let virtual seconds pass, with everything that is due in them.

        Raises:
            DefinitionError: When it is not a number of seconds, or negative.
        """
        until = self.now + as_moment(seconds, "seconds")
        self._run(self._left, until)
        self._runtime.system.time = max(self.now, until)

    def run_until_quiet(self) -> None:
        """Let things happen until nothing is left, or a bound is reached."""
        while self._run(most := self._left, self._max_time) == most and self._left > 0:
            pass  # children have been started in the meantime
        self._endless = not self._quiescent

    def _run(self, most: int, until: float) -> int:
        if self._busy:
            raise NotNow("a simulation cannot be advanced from within itself.")
        self._busy = True
        try:
            happened = self._runtime.system.run(most, until)
        finally:
            self._busy = False
        if self._choices.error is not None:
            raise self._choices.error
        self._left -= happened
        self._quiescent = happened < most and self._runtime.system.next_timer() is None
        return happened

    def _disturb(self) -> None:
        """Crash the orchestrator, hand its runs over, cancel or pause one, if the schedule says."""
        runtime = self._runtime
        if len(runtime.results) < len(runtime.account.runs) and self._crash_now.due():
            runtime.crash()
            self._take_over()
        if runtime.live and not runtime.leaving and self._leave_now.due():
            self.hand_over()
        if runtime.brain.runs and self._cancel_now.due():
            self.cancel(self._chosen("cancel whom"), "the schedule has it cancelled")
        if runtime.brain.runs and self._pause_now.due():
            runtime.pauses.disturb(self._chosen("pause whom"))

    def _chosen(self, label: str) -> str:
        """Choose a run in progress."""
        live = list(self._runtime.brain.runs)
        return live[self._choices.choose(len(live), label) if live[1:] else 0]

    @property
    def offered(self) -> Sequence[Envelope]:
        """The messages that can be delivered next, oldest first: the options of a "deliver" choice.

        Each is a receiver, a message and a sender. The options after these need no message: making
        calls that were put off, or firing the next timer.
        """
        return self._runtime.system.offered

    # ── The end ──────────────────────────────────────────────────────────────────────────────

    @property
    def system(self) -> SimulatedSystem:
        """The actor system, for inspection only, until the simulation is concluded."""
        return self._runtime.system

    @property
    def bodies(self) -> Sequence[Body]:
        """The attempts so far, of steps and then of compensators, by their executors' account."""
        account = self._runtime.account
        return (*account.bodies, *account.undoings)

    @property
    def runs(self) -> Sequence[str]:
        """The ids of the started runs, in order."""
        return tuple(self._runtime.account.runs)

    @property
    def writes(self) -> int:
        """Number of writes requested from the state manager."""
        return self._runtime.state.writes

    @property
    def results(self) -> Mapping[str, RunResult]:
        """The results of the runs that have ended, by run id."""
        return self._runtime.results

    def trace(self) -> Trace:
        """Return the trace so far."""
        endless = self._endless or self._left <= 0
        return trace_of(
            self._runtime, self.settings, self._choices, quiescent=self._quiescent, endless=endless
        )

    def conclude(self) -> Trace:
        """Let things happen until nothing is left, and return the whole trace.

        The simulation cannot be used afterwards: it raises `NotNow`.
        """
        self.run_until_quiet()
        trace = self.trace()
        self.close()
        self._runtime.dissolve()
        self._kept = None
        return trace

    def close(self) -> None:
        """Let unfinished real coroutines clean up, and close the state manager.

        Nothing happens afterwards.
        """
        if self._kept is not None:
            self._kept.places.close()
            self._kept.state.close()
