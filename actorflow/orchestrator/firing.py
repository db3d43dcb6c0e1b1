"""Fires the schedules of one orchestrator, on a thread that exists only while there are some.

A firing takes two writes. The first records the decision, if the schedule has not changed since it
was read: several orchestrators may decide at once, and one prevails. Then the run is started, under
an idempotency key made of the schedule's name and the nominal time, and the second write says so.
After a crash in between, any orchestrator that has the workflow starts the run again, which starts
nothing if it was started.
"""

from __future__ import annotations

import contextlib
import functools
import math
import threading
from typing import TYPE_CHECKING, Any, Final

import attrs

from actorflow.errors import ActorflowError
from actorflow.errors.definition import OrchestratorClosed
from actorflow.errors.running import Overloaded
from actorflow.errors.storage import (
    AlreadyStarted,
    NotRestorable,
    RunNotFound,
    ScheduleNotFound,
    StoreOverloaded,
    StoreUnavailable,
)
from actorflow.model.requests import new_run_id
from actorflow.orchestrator.powers import is_recorded
from actorflow.orchestrator.requests import new_run
from actorflow.schedules.firing import decide, delay, key_of, local_time
from actorflow.schedules.times import timetable
from actorflow.support.logs import get_logger
from actorflow.support.oneshot import Alarm, Once, settle
from actorflow.support.safe_text import said_by

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.model.powers import KeepsSchedules
    from actorflow.model.schedules import RecordedSchedule, ScheduleDefinition
    from actorflow.orchestrator.launch import Launcher
    from actorflow.orchestrator.lifetime import Lifetime
    from actorflow.orchestrator.powers import Powers
    from actorflow.orchestrator.registry import Registry
    from actorflow.orchestrator.requests import Request, RunOptions
    from actorflow.orchestrator.runtime import Runtime

__all__ = ["Firing", "options_of"]

_POLL: Final = 2.0
"""Seconds after which schedules are read again, because another process may have changed them."""
_LONGEST: Final = 60.0
"""Seconds of the longest wait, so that a wall clock that is set is noticed."""
_SOON: Final = 0.5
"""Seconds between two looks at a run whose end is waited for."""
_NOTICE: Final = 5.0
"""Seconds between two looks for schedules that other processes have made."""
_REQUESTS: Final = 100
"""How many requested runs start in one turn, so that other schedules get theirs."""
_PASSES: Final = (Overloaded, StoreOverloaded, StoreUnavailable, NotRestorable)
"""Errors that keep a run from being started here for the moment."""


def options_of(definition: ScheduleDefinition, at: float) -> RunOptions:
    """Return the options of the run for a nominal time."""
    return {
        "metadata": {"schedule": definition.name, "scheduled_for": local_time(definition, at)},
        "idempotency_key": key_of(definition.name, at),
    }


class Firing:
    """Fires schedules, in the background of one orchestrator.

    Args:
        life: The orchestrator's lifetime.
        registry: The workflows that it has registered; it fires the schedules of these.
        launcher: Starts its runs.
        powers: Its state manager.
        enqueues: Whether runs that find no place here are left to any orchestrator.
    """

    def __init__(
        self,
        life: Lifetime,
        registry: Registry,
        launcher: Launcher,
        powers: Powers,
        *,
        enqueues: bool,
    ) -> None:
        self._life = life
        self._registry = registry
        self._launcher = launcher
        self._powers = powers
        self._enqueues = enqueues
        # Reentrant, because a signal handler may shut down at this moment.
        self._lock = threading.RLock()
        self._changed = Alarm()
        self.over: bool = False
        """Whether it must fire nothing further."""
        self._thread: threading.Thread | None = None
        self._runtime: Runtime | None = None
        self._noticed_at = -math.inf
        self._complaints: dict[str | None, str] = {}
        """The last error of each schedule, so that it is logged once."""
        self._due: dict[str, tuple[int, float]] = {}
        """When to serve each schedule again, if it has the same revision then."""
        self.ended: Once[None] = Once()
        """Resolved when it fires nothing further."""
        self.new_id: Callable[[], str] = new_run_id
        """Returns the id for a run; a simulation counts them."""
        self.log: Callable[..., None] = _log
        """Says what a person should know; a simulation keeps it."""

    # ── Its thread ───────────────────────────────────────────────────────────────────────────

    def begin(self, runtime: Runtime) -> None:
        """Get ready; the thread starts with the first schedule."""
        self._runtime = runtime

    def end(self) -> None:
        """Fire nothing further; see `ended`."""
        with self._lock:
            self.over = True
            self._changed.ring()
            if self._thread is None:
                self.ended.set(None)

    def wake(self) -> None:
        """Look at the schedules now, because one has changed."""
        with self._lock:
            if self.over or self._runtime is None:
                return
            self._changed.ring()
            if self._thread is None:
                work = functools.partial(self._work, self._runtime)
                thread = threading.Thread(target=work, name="actorflow schedules", daemon=True)
                self._thread = thread
                try:
                    thread.start()
                except BaseException:
                    self._thread = None
                    raise

    def notice(self) -> None:
        """Look for schedules of other processes once in a while; never raises."""
        runtime, keeper = self._runtime, self._powers.schedules
        if runtime is None or keeper is None or self._thread is not None:
            return
        if runtime.clock.now() - self._noticed_at >= _NOTICE:
            self._noticed_at = runtime.clock.now()
            with contextlib.suppress(Exception):  # it looks again
                if keeper.list_schedules():
                    self.wake()

    def wall(self) -> float:
        """Return the time, in seconds since the epoch."""
        clock = self._life.runtime("use a schedule").clock
        return clock.wall(clock.now())

    def _work(self, runtime: Runtime) -> None:
        try:
            while not self.over:
                self._changed.silence()
                pause = self.turn(runtime)
                if pause is None and self._leave():
                    return
                self._changed.wait(pause)
        except OrchestratorClosed:
            pass
        finally:
            with self._lock:
                if self._thread is threading.current_thread():
                    self._thread = None
                if self.over:
                    self.ended.set(None)

    def _leave(self) -> bool:
        """Give up the thread, unless a schedule has been made in the meantime."""
        with self._lock:
            if not self._changed.rung:
                self._thread = None
            return self._thread is None

    # ── A turn ───────────────────────────────────────────────────────────────────────────────

    def turn(self, runtime: Runtime) -> float | None:
        """Fire what is due; return the seconds until the next turn, or None without schedules."""
        keeper = self._powers.schedules
        if keeper is None:
            return None
        pause = _POLL if runtime.slow_to_read else _LONGEST
        try:
            recorded = keeper.list_schedules()
        except Exception as error:  # noqa: BLE001 - it reads again after any error
            self.complain("schedules.unread", None, error)
            return pause
        self._complaints.pop(None, None)
        if len(self._due) > len(recorded):  # some have been deleted
            self._due.clear()
        waits = [self._serve(runtime, keeper, each) for each in recorded if not self.over]
        return max(0.0, min(pause, *waits)) if waits else None

    def _serve(self, runtime: Runtime, keeper: KeepsSchedules, recorded: RecordedSchedule) -> float:
        """Fire what is due of one schedule; return the seconds until more is due."""
        it = recorded.definition
        plan = self._registry.planned(it.workflow_id, it.workflow_version)
        if plan is None:
            return _LONGEST
        revision, until = self._due.get(it.name, (None, 0.0))
        if revision == recorded.revision and until > self.wall():
            return until - self.wall()
        try:
            serving = _Serving(self, runtime, keeper, plan, recorded)
            wait = serving.all_due()
        except OrchestratorClosed:
            raise
        except ScheduleNotFound:
            return 0.0
        except Exception as error:  # noqa: BLE001 - one schedule must not stop the others
            self.complain("schedule.failed", it.name, error)
            return _POLL
        if serving.waits_for_its_time:
            self._due[it.name] = serving.revision, self.wall() + wait
        return wait

    def forgive(self, name: str) -> None:
        """Log the next error of a schedule, even if it is the same."""
        self._complaints.pop(name, None)

    def complain(self, event: str, name: str | None, error: BaseException) -> None:
        """Log an error, once until it has gone."""
        said = f"{event}: {said_by(error)}"
        if self._complaints.get(name) != said:
            self._complaints[name] = said
            self.log(event, **({} if name is None else {"schedule": name}), exc_info=error)

    def start(self, runtime: Runtime, request: Request) -> str:
        """Start a run, or enqueue it; return its id, or that of the earlier one with its key."""
        try:
            try:
                self._launch(request)
            except Overloaded:
                if not self._enqueues:
                    raise
                self._enqueue(request)
        except AlreadyStarted as known:
            return known.run_id
        return request.run_id

    def _enqueue(self, request: Request) -> None:
        queue, record = self._powers.queue, request.record
        assert queue is not None  # noqa: S101 - it was required of this state manager
        assert record is not None  # noqa: S101 - a new run has one
        done: Once[None] = Once()
        if is_recorded("enqueue", queue.enqueue(record, functools.partial(settle, done))):
            return
        done.result()

    def _launch(self, request: Request) -> None:
        # Without waiting for a place, because other schedules wait for this thread.
        ticket = self._life.admission.ticket()
        try:
            self._life.admission.enter(ticket, may_block=False)
            self._launcher.launch(request, ticket)[1].result()
        except BaseException:
            self._launcher.withdraw(request.run_id, ticket)
            raise


class _Serving:
    """One turn of one schedule."""

    def __init__(
        self,
        firing: Firing,
        runtime: Runtime,
        keeper: KeepsSchedules,
        plan: WorkflowPlan,
        recorded: RecordedSchedule,
    ) -> None:
        self._firing = firing
        self._runtime = runtime
        self._keeper = keeper
        self._plan = plan
        self._recorded = recorded
        self._timetable = timetable(recorded.definition)

    @property
    def revision(self) -> int:
        """The last revision of the schedule that was read."""
        return self._recorded.revision

    @property
    def waits_for_its_time(self) -> bool:
        """Whether nothing is left to do before the next nominal time is due."""
        state = self._recorded.state
        return not (state.pending or state.requested or state.queued is not None)

    @property
    def _name(self) -> str:
        return self._recorded.definition.name

    def all_due(self) -> float:
        """Decide and start everything that is due; return the seconds until more is due."""
        while self._is_ours():
            state = self._recorded.state
            if state.pending or state.requested:
                wait = self._start_some()
                if wait is not None:
                    return wait
            wait = self._until_due()
            if wait > 0.0:
                return wait
            if not self._decide():
                return _SOON
        return 0.0

    def _is_ours(self) -> bool:
        """Return whether to go on: not at the end, nor if the schedule has another workflow now."""
        it = self._recorded.definition
        same = (it.workflow_id, it.workflow_version) == (self._plan.workflow_id, self._plan.version)
        return same and not self._firing.over

    def _until_due(self) -> float:
        """Return the seconds until there is something to decide."""
        state, definition = self._recorded.state, self._recorded.definition
        if state.paused:
            return _LONGEST
        if state.queued is not None:
            return 0.0
        following = next(self._timetable.after(state.decided_until), None)
        if following is None:
            return _LONGEST
        return following + delay(definition, following) - self._firing.wall()

    def _decide(self) -> bool:
        """Decide what is due, and record it; return whether to go on at once."""
        definition, state = self._recorded.definition, self._recorded.state
        running = definition.overlap != "allow" and self._in_progress(state.last_run_id)
        now = self._firing.wall()
        decision = decide(definition, self._timetable, state, now, running=running)
        if decision.cancel and state.last_run_id is not None:
            self._cancel(state.last_run_id)
        if decision.state == state:
            return decision.more
        if self._write(decision.state):
            self._tell("schedule.skipped", decision.skipped)
            self._tell("schedule.missed", decision.missed)
        return True

    def _write(self, state: Any) -> bool:
        """Record a state, unless another orchestrator was faster; read the schedule again."""
        revision = self._recorded.revision
        written = self._keeper.advance_schedule(self._name, revision, state)
        self._recorded = self._keeper.get_schedule(self._name)
        self._timetable = timetable(self._recorded.definition)
        return written

    def _in_progress(self, run_id: str | None) -> bool:
        if run_id is None:
            return False
        try:
            return not self._runtime.snapshot(run_id).status.terminal
        except RunNotFound:
            return False

    def _cancel(self, run_id: str) -> None:
        reason = f"schedule {self._name!r} fires again"
        with contextlib.suppress(ActorflowError):  # it tries again while one is queued
            self._runtime.cancel_elsewhere(run_id, reason, compensate=False)

    def _start_some(self) -> float | None:
        """Start runs that were decided or requested; return a wait for the others, if any."""
        before = self._recorded.state
        wait, started = 0.0, dict[float, str | None]()
        try:
            for at in (*before.pending, *before.requested[:_REQUESTS]):
                started[at] = self._start(at)
        except _PASSES as error:
            self._firing.complain("schedule.waits", self._name, error)
            wait = _SOON
        decided = [at for at in before.pending if at in started]
        fired = [at for at in decided if started[at] is not None]
        last = max(fired, default=None)
        state = attrs.evolve(
            before,
            pending=tuple(at for at in before.pending if at not in started),
            requested=tuple(at for at in before.requested if at not in started),
            fired=before.fired + len(fired),
            missed=before.missed + len(decided) - len(fired),
            last_at=before.last_at if last is None else last,
            last_run_id=before.last_run_id if last is None else started[last],
        )
        if started:
            self._write(state)
            self._firing.forgive(self._name)
        return wait if state.pending or state.requested else None

    def _start(self, at: float) -> str | None:
        """Start the run of a nominal time; return its id, or None if it can never be started."""
        definition = self._recorded.definition
        try:
            options = options_of(definition, at)
            run_id = self._firing.new_id()
            request = new_run(self._runtime, self._plan, definition.inputs, options, run_id=run_id)
            return self._firing.start(self._runtime, request)
        except (OrchestratorClosed, *_PASSES):
            raise
        except ActorflowError as error:
            scheduled_for = local_time(definition, at)
            self._firing.log(
                "schedule.failed", schedule=self._name, scheduled_for=scheduled_for, exc_info=error
            )
            return None

    def _tell(self, event: str, times: tuple[float, ...]) -> None:
        if times:
            first, last = (
                local_time(self._recorded.definition, at) for at in (times[0], times[-1])
            )
            self._firing.log(event, schedule=self._name, count=len(times), first=first, last=last)


def _log(event: str, **said: Any) -> None:
    with contextlib.suppress(Exception):  # a log that raises must not add to it
        get_logger().warning(event, **said)
