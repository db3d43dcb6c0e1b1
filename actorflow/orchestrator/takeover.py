"""Takes up recorded runs: resumed by a caller, or taken over from orchestrators that are gone."""

from __future__ import annotations

import contextlib
import functools
import threading
from typing import TYPE_CHECKING, Final

from actorflow.errors import ActorflowError
from actorflow.errors.definition import DefinitionError, OrchestratorClosed
from actorflow.errors.running import Overloaded
from actorflow.errors.storage import (
    NotRestorable,
    RunNotFound,
    StoreOverloaded,
    StoreUnavailable,
)
from actorflow.model.lifecycle import RunStatus
from actorflow.orchestrator.family import ORPHANED, is_orphan
from actorflow.orchestrator.live import find
from actorflow.orchestrator.outage import Outage, log
from actorflow.orchestrator.powers import hand_back
from actorflow.orchestrator.registry import plan_of
from actorflow.orchestrator.requests import resumed_run
from actorflow.orchestrator.settings import run_id_of
from actorflow.support.oneshot import Once
from actorflow.support.warnings import warn

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.definition.workflow import Workflow
    from actorflow.model.events import Event
    from actorflow.model.powers import QueuesRuns, Taken
    from actorflow.model.records import RunSnapshot
    from actorflow.orchestrator.admission import Ticket
    from actorflow.orchestrator.launch import Launcher
    from actorflow.orchestrator.lifetime import Lifetime
    from actorflow.orchestrator.powers import Powers
    from actorflow.orchestrator.registry import Registry
    from actorflow.orchestrator.runtime import Runtime
    from actorflow.orchestrator.settings import Settings
    from actorflow.run.handle import Run

    Recorded = tuple[RunSnapshot, Sequence[Event]]
    """A run, and all of its events."""

__all__ = ["Recovery", "Resuming", "recovery"]


class Resuming:
    """Resumes and takes over runs for one orchestrator.

    Args:
        life: The orchestrator's lifetime.
        registry: The workflows that it has registered.
        launcher: Starts its runs.
        max_takeovers: How often a run may be taken over from dead owners in a row.
    """

    def __init__(
        self, life: Lifetime, registry: Registry, launcher: Launcher, max_takeovers: int
    ) -> None:
        self._max_takeovers = max_takeovers
        self._life = life
        self._registry = registry
        self._launcher = launcher

    def resume(
        self, runtime: Runtime, run_id: str, flow: Workflow | None, *, by_person: bool = True
    ) -> Run:
        """Resume a run, unless it is in progress here or has completed.

        Args:
            runtime: The runtime that will run it.
            run_id: The run.
            flow: Its workflow, if that is not registered.
            by_person: Whether a person resumes it, which sets its counts back. A parent that goes
                on with its child takes it over as recovery would, and only while it is in progress.
        """
        run_id = _checked(run_id, flow)
        if run_id not in self._life.live:
            runtime.check_may_read("Orchestrator.resume()")
        run, plan = self._wanted(runtime, run_id, flow, by_person=by_person)
        if plan is None:
            return run
        ticket = self._life.admission.ticket()
        try:
            self._launcher.enter(runtime, ticket)
            return self._go_on(runtime, plan, run_id, ticket, by_person=by_person)
        except BaseException:
            self._launcher.withdraw(run_id, ticket)
            raise

    async def resume_async(self, runtime: Runtime, run_id: str, flow: Workflow | None) -> Run:
        """Do what `resume` does without blocking the event loop."""
        run_id = _checked(run_id, flow)
        wanted = functools.partial(self._wanted, runtime, run_id, flow)
        run, plan = await runtime.read_async(wanted)
        if plan is None:
            return run
        ticket = self._life.admission.ticket()
        given_up = threading.Event()

        def go_on() -> Run:
            run = self._go_on(runtime, plan, run_id, ticket, by_person=True)
            if given_up.is_set():  # by a caller that was cancelled, which a thread does not notice
                self._launcher.withdraw(run_id, ticket)
            return run

        try:
            await self._life.admission.enter_async(ticket)
            return await runtime.read_async(go_on)
        except BaseException:
            given_up.set()
            self._launcher.withdraw(run_id, ticket)
            raise

    def _wanted(
        self, runtime: Runtime, run_id: str, flow: Workflow | None, *, by_person: bool = True
    ) -> tuple[Run, WorkflowPlan | None]:
        """Return a run, and the plan to resume it with; None if it is left as it is."""
        run = find(self._life.live, runtime, run_id)
        if not self._may_go_on(run, by_person=by_person):
            return run, None
        return run, self._registry.plan_for(runtime.snapshot(run_id), flow)

    def _may_go_on(self, run: Run, *, by_person: bool) -> bool:
        # A handle that was looked up as the run was resumed here is not the one in progress.
        in_progress = run is self._life.live.get(run.id)
        return not in_progress and _goes_on(run.status, by_person=by_person)

    def _go_on(
        self,
        runtime: Runtime,
        plan: WorkflowPlan,
        run_id: str,
        ticket: Ticket,
        *,
        by_person: bool,
    ) -> Run:
        limit = None if by_person else self._max_takeovers
        with self._life.live.claims:
            # It may have been resumed in the meantime, here or elsewhere.
            run = find(self._life.live, runtime, run_id)
            if self._may_go_on(run, by_person=by_person):
                recorded = runtime.state.claim(run_id)
                if _goes_on(recorded.status, by_person=by_person):
                    with _handed_back(runtime, run_id):
                        if recorded.key is not None and runtime.powers.deferral is not None:
                            runtime.powers.deferral.occupy(run_id)
                        request = resumed_run(runtime, plan, recorded, max_takeovers=limit)
                        return self._launcher.launch(request, ticket)[0]
                _hand_back(runtime, run_id)
                run = find(self._life.live, runtime, run_id)
        self._life.admission.leave(ticket)
        return run

    def take_over(
        self,
        runtime: Runtime,
        queue: QueuesRuns,
        *,
        known: frozenset[tuple[str, str]],
        unfit: Collection[str],
        most: int,
        refused: Callable[[str, ActorflowError], str | None],
    ) -> Taken:
        """Take over unowned runs.

        Args:
            runtime: The runtime that will run them.
            queue: The state manager that they are taken from.
            known: The registered workflows, by id and version.
            unfit: The ids of runs that must not be taken.
            most: How many to take at most.
            refused: Called with each run that could not be resumed, and the error. It returns why
                the run must wait, or None if it waits only for its turn.
        """
        with self._life.live.claims:
            taken = queue.take(known, {*self._life.live.ids(), *unfit}, most)
            known_runs = _records(runtime, taken.taken)
            for run_id in taken.taken:
                try:
                    self._take_up(runtime, run_id, known_runs.get(run_id))
                except OrchestratorClosed:
                    break
                except ActorflowError as error:
                    _hand_back(runtime, run_id, refused(run_id, error))
        return taken

    def _take_up(self, runtime: Runtime, run_id: str, known: Recorded | None) -> None:
        live = self._life.live
        if run_id in live and run_id not in live.waiting:
            return  # it was started here in the meantime
        recorded, events = known or (runtime.snapshot(run_id), None)
        held = live.waiting.get(run_id)
        if held is not None:
            if recorded.status is RunStatus.PENDING:
                return  # it is the starter's
            live.waiting.lost(held, recorded, runtime)  # it has begun elsewhere
        plan = self._registry.plan_for(recorded, None)
        ticket = self._life.admission.ticket()
        try:
            self._life.admission.enter(ticket, may_block=False)
            request = resumed_run(
                runtime, plan, recorded, events=events, max_takeovers=self._max_takeovers
            )
            self._launcher.launch(request, ticket)
        except BaseException:
            self._launcher.withdraw(run_id, ticket)
            raise
        # Its parent may end at this moment, and finds it in progress from now on.
        if is_orphan(runtime.state, recorded, events):
            with contextlib.suppress(ActorflowError):  # its loop has been closed
                runtime.cancel(run_id, ORPHANED.format(recorded.parent_run_id))


def _goes_on(status: RunStatus, *, by_person: bool) -> bool:
    return status is not RunStatus.COMPLETED if by_person else not status.terminal


def _records(runtime: Runtime, run_ids: Sequence[str]) -> Mapping[str, Recorded]:
    """Read the records of many runs at once, if the state manager can; else return none."""
    reader = runtime.powers.records
    return {} if reader is None or not run_ids else reader.records(run_ids)


def _checked(run_id: object, flow: Workflow | None) -> str:
    if flow is not None:
        plan_of(flow)  # which refuses an invalid one, even if the run needs none
    return run_id_of(run_id, "Orchestrator.resume()")


@contextlib.contextmanager
def _handed_back(runtime: Runtime, run_id: str) -> Iterator[None]:
    """Hand a claimed run back if the block raises."""
    try:
        yield
    except BaseException:
        _hand_back(runtime, run_id)
        raise


def _hand_back(runtime: Runtime, run_id: str, parked: str | None = None) -> None:
    """Hand a claimed run back, unless it is in progress here."""
    if not runtime.live(run_id):
        hand_back(runtime.powers, run_id, parked)


_PASSES: Final = (Overloaded, StoreOverloaded, StoreUnavailable)
"""Errors that keep a run from being resumed only for the moment."""
EVERY: Final = 1.0
"""The default number of seconds between two searches."""
PARKED_FOR: Final = 30.0
"""For how many seconds a run must stay parked before that is logged. Another orchestrator may take
it sooner, for example in the middle of a deployment.
"""
_SHORTEST: Final = 0.001
"""The shortest wait in seconds for a run that is due soon."""
_SOONER: Final = 20
"""How many times as often it searches while there are more runs than it can take."""
_GLANCES: Final = 10
"""How many times between such searches it looks whether half of the places are free."""
_AT_ONCE: Final = 500
"""The maximum number of runs that one search takes, so that its statements stay small."""


class Recovery:
    """Searches for unowned runs, and takes them over for one orchestrator.

    Args:
        life: The orchestrator's lifetime.
        registry: The workflows that it has registered.
        resuming: Takes over runs.
        most: How many runs may be in progress.
        every: Seconds between two searches.
    """

    def __init__(
        self,
        life: Lifetime,
        registry: Registry,
        resuming: Resuming,
        queue: QueuesRuns,
        *,
        most: int,
        every: float,
    ) -> None:
        self._life = life
        self._registry = registry
        self._resuming = resuming
        self._queue = queue
        self._most = most
        self._every = every
        self._over: Once[None] = Once()
        self._unfit: set[str] = set()
        """Runs that could not be resumed here, although their workflows are registered."""
        self._parked: dict[str, float] = {}
        """The runs that were parked here, and when to log that, by the monotonic clock."""
        self._outage = Outage()
        self.ended: Once[None] = Once()
        """Resolved when it takes no further run."""
        self.also: Callable[[], None] = lambda: None
        """Called before each search; it must not raise."""

    def begin(self, runtime: Runtime) -> None:
        """Start to search."""
        work = threading.Thread(
            target=self._work, args=(runtime,), name="actorflow recovery", daemon=True
        )
        work.start()

    def end(self) -> None:
        """Stop searching; see `ended`."""
        self._over.set(None)

    def _work(self, runtime: Runtime) -> None:
        try:
            while not self._over.done:
                self.also()
                pause = self.turn(runtime)
                if pause is None:
                    self._wait_for_places(runtime)
                else:
                    self._over.wait(pause)
        finally:
            self.ended.set(None)

    def _wait_for_places(self, runtime: Runtime) -> None:
        """Wait a moment, or until half of the places are free, which makes a search worthwhile."""
        for _ in range(_GLANCES):
            if 2 * (len(self._life.live) - runtime.idle) <= self._most:
                return
            if self._over.wait(self._every / _SOONER / _GLANCES):
                return

    def turn(self, runtime: Runtime) -> float | None:
        """Take as many runs as there is room for; return when to search again, in seconds.

        Returns None when there may be more, so that free places make a search worthwhile.
        """
        try:
            pause = self._search(runtime)
            self._log_parked(runtime)
        except Exception as error:  # noqa: BLE001 - it searches again after any error
            self._outage.failed(error, runtime.clock.now())
            return self._every
        return pause

    def _search(self, runtime: Runtime) -> float | None:
        busy = len(self._life.live) - runtime.idle
        room = min(self._most - busy, self._life.admission.free, _AT_ONCE)
        if room <= 0:
            return None
        found = self._resuming.take_over(
            runtime,
            self._queue,
            known=self._registry.known(),
            unfit=self._unfit,
            most=room,
            refused=self._leave,
        )
        now = runtime.clock.now()
        self._parked |= dict.fromkeys(found.parked, now + PARKED_FOR)
        self._outage.over(now)
        if len(found.taken) == room:
            return None
        due = self._every if found.next_due is None else found.next_due
        return min(self._every, max(due, _SHORTEST))

    def _log_parked(self, runtime: Runtime) -> None:
        """Log the runs that have been parked for a while."""
        now = runtime.clock.now()
        for run_id in [run_id for run_id, due in self._parked.items() if due <= now]:
            with contextlib.suppress(RunNotFound):
                _log_if_parked(run_id, runtime.snapshot)
            del self._parked[run_id]

    def _leave(self, run_id: str, error: ActorflowError) -> str | None:
        """Exclude a run that cannot be resumed here, unless it may be later; return why."""
        if isinstance(error, _PASSES):
            return None
        self._unfit.add(run_id)
        log("run.unfit", run_id=run_id, exc_info=error)
        return f"it waits for another orchestrator than the last one: {error}"


def _log_if_parked(run_id: str, snapshot: Callable[[str], RunSnapshot]) -> None:
    try:
        run = snapshot(run_id)
    except NotRestorable as error:  # written by another serializer; it is parked all the same
        log("run.parked", run_id=run_id, reason=str(error))
        return
    if run.parked is not None and not run.status.terminal:
        workflow = {"workflow_id": run.workflow_id, "workflow_version": run.workflow_version}
        log("run.parked", run_id=run_id, **workflow, reason=run.parked, since=run.parked_since)


def recovery(
    settings: Settings, powers: Powers, life: Lifetime, registry: Registry, resuming: Resuming
) -> Recovery | None:
    """Return the search for unowned runs, if `recover` is set; warn when only `recover_every` is.

    Raises:
        DefinitionError: When the state manager has no queue to take runs from.
    """
    if not settings.recover:
        if settings.recover_every != EVERY:
            warn(
                f"Orchestrator(recover_every={settings.recover_every:g}) looks for nothing without "
                "recover=True. Add that to take over runs, or leave it out."
            )
        return None
    if powers.queue is None:
        problem = (
            "recover=True needs a state manager with a shared queue, and "
            f"{type(powers.state).__name__} has none"
        )
        raise DefinitionError(None, problem, "Keep runs in an SQLStateManager")
    most, every = settings.max_active_runs, settings.recover_every
    return Recovery(life, registry, resuming, powers.queue, most=most, every=every)
