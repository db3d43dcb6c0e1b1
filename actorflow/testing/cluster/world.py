"""The processes of a cluster, its time and its choices: what happens, one thing after the other.

At each step one process does one thing: it delivers a message, or a timer of it fires. Which of
those that can is a choice. Time passes when none can, to the next timer of any process, or when a
process lets it pass although messages wait. No process is ahead of the others.
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING, Any, Final

from actorflow.errors.definition import DefinitionError
from actorflow.testing.cluster.hazards import Hazards
from actorflow.testing.cluster.manager import SharedStateManager
from actorflow.testing.cluster.process import Process
from actorflow.testing.cluster.store import SharedStore
from actorflow.testing.cluster.trace import Absence, ProcessTrace
from actorflow.testing.errors import NotNow
from actorflow.testing.simulation.checks import check_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from actorflow.definition.workflow import Workflow
    from actorflow.model.schedules import ScheduleState
    from actorflow.systems.simulated.system import SimulatedSystem
    from actorflow.testing.simulation.scripts import Script
    from actorflow.testing.simulation.settings import Settings
    from actorflow.testing.simulation.tape import Choices

__all__ = ["Orchestrated", "World"]

_FOREVER: Final = float("inf")


class Orchestrated:
    """One orchestrator of a cluster, over all of its lives."""

    def __init__(self, number: int) -> None:
        self.number: Final = number
        """Counted from 0."""
        self.lives: int = 0
        self.process: Process | None = None
        """Its current process; None while it is down."""
        self.halted: bool = False
        self.wrong_by: float = 0.0
        """Seconds by which its wall clock is wrong."""
        self.away_since: float | None = 0.0
        """Since when it cannot do its work; None while it can."""
        self.why: str = "down"
        """Why it cannot."""


class World:
    """The processes of a cluster over one store, in virtual time.

    Args:
        orchestrators: How many there are.
        settings: The limits of each, and how many faults may happen.
        choices: Makes the choices.
        script: What steps do, in runs of workflows that were not given a script of their own.
        lease: Seconds for which a lease lasts.
        recover_every: Seconds between two searches for unowned runs.
        server_clock: Whether the store's clock decides when a lease is over.
        one_host: Whether the processes are on one machine.
        most: The number of happenings after which a schedule counts as endless.
        max_time: The moment after which it does.
    """

    def __init__(
        self,
        orchestrators: int,
        settings: Settings,
        choices: Choices,
        script: Script,
        *,
        lease: float,
        recover_every: float,
        server_clock: bool,
        one_host: bool,
        most: int,
        max_time: float,
    ) -> None:
        self.settings: Final = settings
        self.lease: Final = lease
        self.recover_every: Final = recover_every
        self.server_clock: Final = server_clock
        self.one_host: Final = one_host
        self._script = script
        self._scripts: dict[str, Script] = {}
        self._flows: dict[tuple[str, str], Workflow] = {}
        self._choices = choices
        self._left = most
        self._max_time = max_time
        self._busy = self._closed = self._endless = self._quiet_at_the_end = False
        self._current: Process | None = None
        self.now: float = 0.0
        """The current virtual time, in seconds from 0."""
        self._store_wrong_by = 0.0
        self.clocks_are_right: bool = True
        """Whether no wall clock was ever set wrong."""
        self.store: Final = SharedStore(self._time, self._store_wall, by_clock=server_clock)
        """What the orchestrators share, for inspection."""
        self.store.signal, self.store.ended = self._signal, self._tell_followers
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._runs = itertools.count(1)
        self.processes: Final[list[ProcessTrace]] = []
        """The processes that have ended, in order."""
        self.absences: Final[list[Absence]] = []
        self.acknowledged: Final[list[str]] = []
        """The ids of the runs whose start succeeded."""
        self.deliveries: Final[list[tuple[str, int]]] = []
        """The process of each delivery, with its number there."""
        self._marks: list[int] = []
        self.made: Final[dict[str, ScheduleState]] = {}
        """How each schedule stood when it was last put."""
        self._stopped: set[str] = set()
        cluster: Any = self  # hazards use what a `Cluster` offers to tests
        self.hazards: Final = Hazards(cluster, choices)
        self.members: Final = [Orchestrated(number) for number in range(orchestrators)]
        """The orchestrators."""
        for member in self.members:
            self._begin(member)

    # ── Processes ────────────────────────────────────────────────────────────────────────────

    def _store_wall(self) -> float:
        return self._time() + self._store_wrong_by

    def _time(self) -> float:
        """Return the current moment, also while a process lets time pass."""
        current = self._current
        return self.now if current is None else max(self.now, current.system.time)

    def _begin(self, member: Orchestrated) -> None:
        """Start a process."""
        if member.process is not None or self._closed:
            return
        member.lives += 1
        name = f"{member.number}.{member.lives}"
        process = Process(
            name,
            self.settings,
            self._choices.choose,
            self._choices.choose_rarely,
            manager=lambda process: self._manager(member, name, process),
            recover_every=self.recover_every,
            script_of=self._script_of,
            wrong_by=lambda: member.wrong_by,
            new_id=self._new_id,
            active=self._is_active,
        )
        process.system.time = self.now
        member.process = process
        process.begin(list(self._flows.values()))
        self._back(member)

    def _manager(self, member: Orchestrated, name: str, process: Process) -> SharedStateManager:
        return SharedStateManager(
            self.store,
            name,
            host="host" if self.one_host else f"host {member.number}",
            lease=self.lease,
            now=process.system.now,
            by_clock=self.server_clock,
            has_ended=self._has_ended,
            reach=lambda: self._reach(process),
        )

    def _reach(self, process: Process) -> None:
        self.hazards.before_transaction(process)
        process.recorder.check_reachable()

    def _has_ended(self, owner: str) -> bool:
        return all(it.process is None or it.process.name != owner for it in self.members)

    def _script_of(self, workflow_id: str) -> Script:
        return self._scripts.get(workflow_id, self._script)

    def _new_id(self) -> str:
        return f"run-{next(self._runs)}"

    def _away(self, member: Orchestrated, why: str) -> None:
        """Note that an orchestrator cannot do its work from now on."""
        if member.away_since is None:
            member.away_since, member.why = self.now, why

    def _back(self, member: Orchestrated) -> None:
        since = member.away_since
        if since is not None and not self._hinders(member):
            self.absences.append(Absence(member.number, since, self.now, member.why))
            member.away_since = None

    def _hinders(self, member: Orchestrated) -> bool:
        """Return whether something keeps an orchestrator from its work."""
        process = member.process
        return process is None or member.halted or process.leaving or process.recorder.cut_off

    def _end(self, member: Orchestrated, how: str) -> None:
        process = member.process
        if process is None:
            return
        self._away(member, how)
        heard = tuple(process.heard)
        lost, name, said = tuple(process.owner.lost), process.name, tuple(process.parts.said)
        news = tuple(process.post.news)
        member.process, member.halted = None, False
        trace = process.end()
        self.processes.append(
            ProcessTrace(name, member.number, how, self.now, trace, heard, lost, said, news)
        )

    def _signal(self, owner: str) -> None:
        """Have an owner look at the requests to cancel its runs, soon, late or never."""
        delay = self.hazards.delay_of_signal()
        for member in self.members:
            process = member.process
            if process is not None and process.name == owner and delay is not None:
                process.system.call_at(self.now + delay, _hear, process)

    def _tell_followers(self, run_id: str) -> None:
        """Have each process that follows a run look at it, soon, late or at its next look."""
        for process in self._living():
            if process.ears.follows(run_id):
                delay = self.hazards.delay_of_signal()
                if delay is not None:
                    process.system.call_at(self._time() + delay, process.ears.hear, run_id)

    # ── Time ─────────────────────────────────────────────────────────────────────────────────

    def _after(self, delay: float, call: Callable[[], object]) -> None:
        entry: Any = (self.now + delay, next(self._count), call)
        heapq.heappush(self._agenda, entry)

    def _member(self, orchestrator: int) -> Orchestrated:
        check_whole(orchestrator, "orchestrator", 0)
        if orchestrator >= len(self.members):
            problem = f"there is no orchestrator {orchestrator}"
            cure = f"Give a number from 0 to {len(self.members) - 1}"
            raise DefinitionError(None, problem, cure)
        return self.members[orchestrator]

    def _able(self, orchestrator: int) -> Process:
        member = self._member(orchestrator)
        process = member.process
        if process is None or member.halted or process.leaving:
            raise NotNow(f"orchestrator {orchestrator} is {member.why}.")
        return process

    def others_able(self, process: Process) -> Sequence[Process]:
        """Return the other processes that can do their work now, at this moment's time."""
        present = (it.process for it in self.members if it.away_since is None)
        able = [
            it
            for it in present
            if it is not None and it is not process and it.recorder.is_reachable
        ]
        for one in able:
            one.system.time = max(one.system.time, self._time())
        return able

    @property
    def system(self) -> SimulatedSystem:
        """The actor system in which something happens at this moment."""
        process = self._current or next(self._living())
        return process.system

    def _living(self) -> Iterator[Process]:
        return (it.process for it in self.members if it.process is not None)

    def _is_active(self) -> bool:
        return not self._is_over()

    def _is_over(self) -> bool:
        """Return whether nothing is left to do but for what polls."""
        if self._agenda or not self._quiet_at_the_end:
            return False
        return not self.in_progress

    @property
    def in_progress(self) -> bool:
        """Whether a run has not ended, or a schedule may start another one."""
        if any(not row.ended for row in self.store.rows.values()):
            return True
        if not self.made:
            return False
        return any(
            it.definition.name not in self._stopped or it.state.pending
            for it in self.store.schedules.list_schedules()
        )

    def _set_time(self, moment: float) -> None:
        self.now = max(self.now, moment)
        for process in self._living():
            if process.system.time < self.now:
                process.system.make_calls()  # no time passes between a decision and its record
            process.system.time = max(process.system.time, self.now)

    def _run(self, until: float, *, to_the_end: bool) -> None:
        if self._busy or self._closed:
            raise NotNow("a cluster cannot be advanced from within itself, or after its end.")
        self._busy, self._quiet_at_the_end = True, to_the_end
        try:
            while self._left > 0 and self._step(until):
                if self._choices.error is not None:
                    raise self._choices.error
        finally:
            self._busy = False
        self._endless = to_the_end and not self._is_over()

    def _step(self, until: float) -> bool:
        """Have one thing happen; return whether there was anything."""
        self._left -= 1
        running = [it for it in self.members if it.process is not None and not it.halted]
        busy = [it for it in running if it.process is not None and it.process.system.busy]
        upcoming = self._next_time(running)
        if not busy:
            if upcoming is None or upcoming > until:
                return False
            self._set_time(upcoming)
            if self._agenda and self._agenda[0][0] <= self.now:
                heapq.heappop(self._agenda)[2]()
                self._mark()
                return True
            busy = [it for it in running if self._has_timer(it, self.now)]
        self._happen(busy, until if upcoming is None else min(until, upcoming))
        return True

    def _happen(self, able: Sequence[Orchestrated], until: float) -> None:
        member = able[self._choices.choose(len(able), "who") if able[1:] else 0]
        process = member.process
        if process is None:
            return
        self._current = process
        system = process.system
        before = len(system.deliveries)
        system.run(1, max(until, self.now))
        after = len(system.deliveries)
        self.deliveries.extend((process.name, place) for place in range(before, after))
        self._mark()
        self._set_time(system.time)
        self._current = None
        self.hazards.strike(member)

    def _mark(self) -> None:
        """Note how many messages were delivered when the new events were recorded."""
        new = len(self.store.log) - len(self._marks)
        self._marks += [len(self.deliveries)] * new

    def _has_timer(self, member: Orchestrated, moment: float) -> bool:
        process = member.process
        due = None if process is None else process.system.next_timer()
        return due is not None and due <= moment

    def _next_time(self, running: Sequence[Orchestrated]) -> float | None:
        """Return when the next timer of any process fires, or the next entry is due."""
        moments = [
            moment
            for it in running
            if it.process is not None and (moment := it.process.system.next_timer()) is not None
        ]
        if self._agenda:
            moments.append(self._agenda[0][0])
        return min(moments, default=None)


def _hear(process: Process) -> None:
    if process.recorder.is_reachable:
        with process.recorder.at_once():
            process.owner.hear_requests()
