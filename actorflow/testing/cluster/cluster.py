"""Several orchestrators in virtual time, controlled by a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

from actorflow.definition.durations import seconds
from actorflow.errors.definition import DefinitionError
from actorflow.orchestrator.requests import new_run
from actorflow.schedules.book import ScheduleBook
from actorflow.support.suggestions import checks_options
from actorflow.testing.cluster.children import calls_of
from actorflow.testing.cluster.steering import Steering
from actorflow.testing.cluster.trace import Absence, ProcessTrace, cluster_trace_of, results_of
from actorflow.testing.cluster.world import World
from actorflow.testing.simulation.checks import as_moment, check_script, check_whole, plan_of
from actorflow.testing.simulation.scripts import Script
from actorflow.testing.simulation.settings import NO_FAULTS, Faults, Settings
from actorflow.testing.simulation.tape import Choices

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Unpack

    from actorflow.definition.durations import Duration
    from actorflow.definition.workflow import Workflow
    from actorflow.model.results import RunResult
    from actorflow.orchestrator.requests import RunOptions
    from actorflow.orchestrator.schedules import ScheduleOptions
    from actorflow.testing.cluster.process import Process
    from actorflow.testing.cluster.trace import ClusterTrace
    from actorflow.testing.cluster.world import Orchestrated
    from actorflow.testing.simulation.tape import Source

__all__ = ["Cluster"]

_FOREVER: Final = float("inf")
_PLAIN_SCRIPT: Final = Script()
_HAPPENINGS: Final = 100_000
_MOST_TIME: Final = 1_000.0
_PATIENCE: Final = 30.0
"""Seconds for which a write is repeated before its run fails, as in production."""


@checks_options
class Cluster(World, Steering):
    """Several orchestrators in virtual time over one simulated store, controlled by a test.

    Each has a process of its own: actors, executors, a lease and a wall clock. They run the code of
    production, with `recover=True`. Nothing happens until the cluster is given time, by `advance`
    or `run_until_quiet`. An orchestrator is named by its number, counted from 0.

    Args:
        orchestrators: How many there are.
        script: What steps do, in runs of workflows that were not given a script of their own.
        tape: Where choices come from, as in a `Simulation`.
        lease: Seconds without a renewal after which another orchestrator may take runs over.
        recover_every: Seconds between two searches for unowned runs.
        server_clock: Whether the store's clock decides when a lease is over, as on PostgreSQL.
            Otherwise each orchestrator watches the others' counters, as on SQLite.
        one_host: Whether the processes are on one machine, so that they know of each other's end.
        async_workers: As in an `Orchestrator`; likewise the next four.
        max_active_runs: See there.
        stop_grace: See there.
        ageing: See there.
        max_takeovers: See there.
        evict_after: See there, but None by default: runs that wait stay in memory.
        faults: How many faults may happen.
        race: Whether the next timer may fire while messages wait.
        max_happenings: The number of deliveries and timers after which a schedule counts as
            endless.
        max_time: The virtual moment after which it does.

    Example:
        >>> from actorflow import Step, Workflow
        >>> from actorflow.testing import Cluster
        >>> flow = Workflow("greeting")
        >>> greet = flow.add(Step("greet", lambda: "hello"))
        >>> with Cluster(orchestrators=2) as cluster:
        ...     run_id = cluster.start(flow, orchestrator=0)
        ...     cluster.advance(0.5)
        ...     cluster.crash(0, down=60.0)
        ...     cluster.run_until_quiet()
        ...     trace = cluster.trace()
        >>> trace.results[run_id].status.value, [one.owner for one in trace.owned]
        ('completed', ['0.1', '1.1'])
    """

    clocks_are_right: bool

    def __init__(
        self,
        orchestrators: int = 2,
        *,
        script: Script | None = None,
        tape: Source | Choices = None,
        lease: Duration = 6.0,
        recover_every: Duration = 1.0,
        server_clock: bool = False,
        one_host: bool = False,
        async_workers: int = 2,
        max_active_runs: int = 100,
        stop_grace: float = 5.0,
        ageing: float | None = None,
        max_takeovers: int = 10,
        evict_after: Duration | None = None,
        faults: Faults | None = None,
        race: bool = True,
        max_happenings: int = _HAPPENINGS,
        max_time: Duration = _MOST_TIME,
    ) -> None:
        check_whole(orchestrators, "orchestrators", 1)
        check_whole(max_happenings, "max_happenings", 1)
        script = _PLAIN_SCRIPT if script is None else script
        check_script(script)
        super().__init__(
            orchestrators,
            Settings(
                async_workers=async_workers,
                max_active_runs=max_active_runs,
                stop_grace=stop_grace,
                ageing=ageing,
                max_takeovers=max_takeovers,
                evict_after=None if evict_after is None else seconds(evict_after, "evict_after"),
                race=race,
                faults=NO_FAULTS if faults is None else faults,
            ),
            tape if isinstance(tape, Choices) else Choices(tape),
            script,
            lease=seconds(lease, "lease"),
            recover_every=seconds(recover_every, "recover_every"),
            server_clock=server_clock,
            one_host=one_host,
            most=max_happenings,
            max_time=as_moment(max_time, "max_time"),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ── Faults ───────────────────────────────────────────────────────────────────────────────

    def crash(self, orchestrator: int, *, down: Duration = 2.0) -> None:
        """Kill the process of an orchestrator; another one starts after `down` seconds."""
        member = self._member(orchestrator)
        process = member.process
        if process is not None:
            process.recorder.die(self.hazards.get_through)
            self._end(member, "crashed")
            self._after(as_moment(down, "down"), lambda: self._begin(member))

    def halt(self, orchestrator: int, for_: Duration) -> None:
        """Have a process stand still, as with SIGSTOP; it does not know that time has passed."""
        member = self._member(orchestrator)
        process, length = member.process, as_moment(for_, "for_")
        if process is not None and not member.halted:
            self._away(member, "halted")
            member.halted = True
            self._after(length, lambda: self._wake(member, process))

    def _wake(self, member: Orchestrated, process: Process) -> None:
        if member.process is process:
            member.halted = False
            self._back(member)

    def cut_off(self, orchestrator: int, for_: Duration) -> None:
        """Have an orchestrator not reach the store for a while; its writes wait."""
        member = self._member(orchestrator)
        process, length = member.process, as_moment(for_, "for_")
        if process is None or process.recorder.cut_off:
            return
        self._away(member, "cut off")
        process.recorder.be_cut_off()
        if length > _PATIENCE:
            self._after(_PATIENCE, lambda: self._give_up(member, process))
        self._after(length, lambda: self._reconnect(member, process))

    def _give_up(self, member: Orchestrated, process: Process) -> None:
        if member.process is process:
            process.recorder.give_up_writes()

    def _reconnect(self, member: Orchestrated, process: Process) -> None:
        if member.process is process and process.recorder.cut_off:
            process.recorder.reconnect()
            self._back(member)

    def deploy(
        self, orchestrator: int, *, grace: Duration | None = None, down: Duration = 0.0
    ) -> None:
        """Shut an orchestrator down, which leaves its runs; another process takes its place.

        Args:
            orchestrator: Its number.
            grace: Seconds that attempts get to end; by default `stop_grace`.
            down: Seconds until the other process starts.
        """
        member = self._member(orchestrator)
        limit = self.settings.stop_grace if grace is None else as_moment(grace, "grace")
        until = as_moment(down, "down")
        process = member.process
        if process is None or process.leaving:
            return

        def ended() -> None:
            if member.process is process:
                self._after(0.0, lambda: self._replace(member, process, until))

        self._away(member, "left")
        process.shut_down(limit, ended)

    def _replace(self, member: Orchestrated, process: Process, down: float) -> None:
        if member.process is process:
            self._end(member, "left")
            self._after(down, lambda: self._begin(member))

    def set_clock(self, orchestrator: int, wrong_by: float) -> None:
        """Set the wall clock of an orchestrator's machine wrong by some seconds."""
        self._member(orchestrator).wrong_by = wrong_by
        self.clocks_are_right = False

    def set_store_clock(self, wrong_by: float) -> None:
        """Set the clock of the store wrong by some seconds.

        Raises:
            DefinitionError: When leases count by that clock, which must then be right.
        """
        if self.server_clock:
            problem = "with server_clock=True leases count by the clock of the store"
            raise DefinitionError(None, problem, "Leave the clock right, or server_clock out")
        self._store_wrong_by = wrong_by
        self.clocks_are_right = False

    # ── Runs ─────────────────────────────────────────────────────────────────────────────────

    def register(self, flow: Workflow, script: Script | None = None) -> None:
        """Register a workflow in every process, and say what its steps do.

        The workflows of children that its script starts are registered as well. A workflow has one
        script, which was given last.

        Raises:
            DefinitionError: When the workflow or the script is invalid.
        """
        plan = plan_of(flow)
        if script is not None:
            check_script(script)
            script.check(plan)
            self._scripts[plan.workflow_id] = script
        known = self._script_of(plan.workflow_id)
        known.check(plan)
        new = (plan.workflow_id, plan.version) not in self._flows
        if new:
            self._flows[plan.workflow_id, plan.version] = flow
            for process in self._living():
                process.parts.registry.register(flow)
        if new or script is not None:
            self._register_children(known)

    def _register_children(self, script: Script) -> None:
        for call in calls_of(script):
            if call.script is not None:
                self.register(call.flow, call.script)
            elif call.flow.id not in self._scripts:
                self.register(call.flow, _PLAIN_SCRIPT)

    def start(
        self,
        flow: Workflow,
        inputs: Mapping[str, Any] | None = None,
        *,
        orchestrator: int = 0,
        script: Script | None = None,
        **options: Unpack[RunOptions],
    ) -> str:
        """Start a run in one orchestrator, and return its id, or that of the earlier one.

        Raises:
            DefinitionError: When the workflow, the script or an option is invalid.
            KeyInUse: When a live run with its key keeps it out.
            NotNow: When the orchestrator is down, stands still, or is being shut down.
            StoreUnavailable: When it cannot reach the store.
        """
        self.register(flow, script)
        process = self._able(orchestrator)
        premises: Any = process.parts.premises
        process.recorder.check_not_stalled()
        request = new_run(premises, flow.plan(), inputs, options, run_id=self._new_id())
        with process.recorder.at_once():
            run = process.parts.launcher.start(premises, request)
        process.keep_beating()
        self.acknowledged.append(run.id)
        return run.id

    def enqueue(
        self,
        flow: Workflow,
        inputs: Mapping[str, Any] | None = None,
        *,
        orchestrator: int = 0,
        script: Script | None = None,
        **options: Unpack[RunOptions],
    ) -> str:
        """Record a run that any orchestrator may take; see `start`."""
        self.register(flow, script)
        process = self._able(orchestrator)
        premises: Any = process.parts.premises
        process.recorder.check_not_stalled()
        request = new_run(premises, flow.plan(), inputs, options, run_id=self._new_id())
        with process.recorder.at_once():
            run = process.parts.launcher.enqueue(premises, request)
        self.acknowledged.append(run.id)
        return run.id

    def schedule(
        self,
        name: str,
        flow: Workflow,
        *,
        orchestrator: int = 0,
        script: Script | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> None:
        """Make a schedule, or replace the one of this name, through one orchestrator."""
        self.register(flow, script)
        process = self._able(orchestrator)
        process.parts.schedules.put(name, flow, options)
        recorded = self.store.schedules.get_schedule(name)
        self.made[name] = recorded.state

    def stop_schedule(self, name: str) -> None:
        """Pause a schedule, so that the cluster comes to rest."""
        ScheduleBook(self.store.schedules, self._store_wall).pause(name)
        self._stopped.add(name)

    def cancel(
        self,
        run_id: str,
        reason: str = "cancelled",
        *,
        orchestrator: int = 0,
        compensate: bool = False,
    ) -> None:
        """Cancel a run through one orchestrator, wherever it is in progress.

        Raises:
            RunNotFound: When there is no such run.
            NotNow: When the orchestrator is down, stands still, or is being shut down.
            StoreUnavailable: When it cannot reach the store.
        """
        process = self._able(orchestrator)
        process.recorder.check_not_stalled()
        with process.recorder.at_once():
            process.parts.premises.cancel_elsewhere(run_id, reason, compensate=compensate)

    def call_at(self, moment: Duration, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function, such as `crash`, at a virtual moment, whatever has happened by then."""
        when = as_moment(moment, "moment")
        self._after(max(0.0, when - self.now), lambda: function(*arguments))

    # ── Time ─────────────────────────────────────────────────────────────────────────────────

    def advance(self, seconds: Duration) -> None:
        """Let virtual seconds pass, with everything that is due in them."""
        until = self.now + as_moment(seconds, "seconds")
        self._run(until, to_the_end=False)
        self._set_time(until)

    def run_until_quiet(self, until: Duration | None = None) -> None:
        """Let things happen until every run has ended, a moment has come, or a bound is reached."""
        moment = self._max_time if until is None else as_moment(until, "until")
        self._run(min(moment, self._max_time), to_the_end=True)

    # ── The end ──────────────────────────────────────────────────────────────────────────────

    @property
    def results(self) -> Mapping[str, RunResult]:
        """The results of the runs that have ended, by run id."""
        return results_of(self.store)

    @property
    def runs(self) -> Sequence[str]:
        """The ids of the accepted runs, in order."""
        return tuple(self.store.rows)

    def trace(self) -> ClusterTrace:
        """Return the trace; every process ends here, and the cluster cannot be used afterwards."""
        if not self._closed:
            self._conclude()
        return self._trace

    def _conclude(self) -> None:
        left = self._next_time(self.members)  # a wrong clock may have set a timer too far away
        quiescent = left is None and not self._endless and self._is_over()
        for member in self.members:
            process = member.process
            if process is not None:
                heard, lost = tuple(process.heard), tuple(process.owner.lost)
                said, name = tuple(process.parts.said), process.name
                news = tuple(process.post.news)
                trace = process.end(quiescent=quiescent, endless=self._endless)
                self.processes.append(
                    ProcessTrace(name, member.number, "", _FOREVER, trace, heard, lost, said, news)
                )
                member.process = None
            if member.away_since is not None:
                since = member.away_since
                self.absences.append(Absence(member.number, since, _FOREVER, member.why))
        self._closed = True
        self._trace = cluster_trace_of(
            self, self._choices, self._marks, quiescent=quiescent, endless=self._endless
        )

    def conclude(self) -> ClusterTrace:
        """Let things happen until every run has ended, and return the trace."""
        self.run_until_quiet()
        return self.trace()

    def close(self) -> None:
        """End every process; nothing happens afterwards."""
        if not self._closed:
            self._conclude()
