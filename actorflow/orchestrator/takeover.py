"""Takes up recorded runs: resumed by a caller, or taken over from orchestrators that are gone."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, Final

from actorflow.errors import ActorflowError
from actorflow.errors.definition import DefinitionError, OrchestratorClosed
from actorflow.errors.running import Overloaded
from actorflow.errors.storage import StoreOverloaded, StoreUnavailable
from actorflow.model.lifecycle import RunStatus
from actorflow.orchestrator.live import find
from actorflow.orchestrator.registry import plan_of
from actorflow.orchestrator.requests import resumed_run
from actorflow.orchestrator.settings import run_id_of
from actorflow.support.logs import get_logger
from actorflow.support.oneshot import Once
from actorflow.support.warnings import warn

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.definition.workflow import Workflow
    from actorflow.model.protocols import QueuesRuns, Taken
    from actorflow.orchestrator.admission import Ticket
    from actorflow.orchestrator.launch import Launcher
    from actorflow.orchestrator.lifetime import Lifetime
    from actorflow.orchestrator.powers import Powers
    from actorflow.orchestrator.registry import Registry
    from actorflow.orchestrator.runtime import Runtime
    from actorflow.orchestrator.settings import Settings
    from actorflow.run.handle import Run

__all__ = ["Recovery", "Resuming", "hand_back", "recovery"]


class Resuming:
    """Resumes and takes over runs for one orchestrator.

    Args:
        life: The orchestrator's lifetime.
        registry: The workflows that it has registered.
        launcher: Starts its runs.
    """

    def __init__(self, life: Lifetime, registry: Registry, launcher: Launcher) -> None:
        self._life = life
        self._registry = registry
        self._launcher = launcher
        self._lock = threading.Lock()

    def resume(self, runtime: Runtime, run_id: str, flow: Workflow | None) -> Run:
        """Resume a run, unless it is in progress here or has completed."""
        run_id = run_id_of(run_id, "Orchestrator.resume()")
        if flow is not None:
            plan_of(flow)  # which refuses an invalid one, even if the run needs none
        run = find(self._life.live, runtime, run_id)
        if not _may_go_on(run):
            return run
        plan = self._registry.plan_for(runtime.snapshot(run_id), flow)
        ticket = self._life.admission.ticket()
        try:
            self._launcher.enter(runtime, ticket)
            return self._go_on(runtime, plan, run_id, ticket)
        except BaseException:
            self._launcher.withdraw(run_id, ticket)
            raise

    def _go_on(self, runtime: Runtime, plan: WorkflowPlan, run_id: str, ticket: Ticket) -> Run:
        with self._lock:
            # It may have been resumed in the meantime, here or elsewhere.
            run = find(self._life.live, runtime, run_id)
            if _may_go_on(run):
                recorded = runtime.state.claim(run_id)
                if recorded.status is not RunStatus.COMPLETED:
                    with _handed_back(runtime, run_id):
                        if recorded.key is not None and runtime.powers.deferral is not None:
                            runtime.powers.deferral.occupy(run_id)
                        return self._launcher.launch(resumed_run(runtime, plan, recorded), ticket)[
                            0
                        ]
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
        with self._lock:
            taken = queue.take(known, {*self._life.live.ids(), *unfit}, most)
            for run_id in taken.taken:
                try:
                    self._take_up(runtime, run_id)
                except OrchestratorClosed:
                    break
                except ActorflowError as error:
                    _hand_back(runtime, run_id, refused(run_id, error))
        return taken

    def _take_up(self, runtime: Runtime, run_id: str) -> None:
        if run_id in self._life.live:
            return  # it was started here in the meantime
        recorded = runtime.snapshot(run_id)
        plan = self._registry.plan_for(recorded, None)
        ticket = self._life.admission.ticket()
        try:
            self._life.admission.enter(ticket, may_block=False)
            self._launcher.launch(resumed_run(runtime, plan, recorded), ticket)
        except BaseException:
            self._launcher.withdraw(run_id, ticket)
            raise


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


def _may_go_on(run: Run) -> bool:
    return run.done and run.status is not RunStatus.COMPLETED


_PASSES: Final = (Overloaded, StoreOverloaded, StoreUnavailable)
"""Errors that keep a run from being resumed only for the moment."""
EVERY: Final = 1.0
"""The default number of seconds between two searches."""
_SHORTEST: Final = 0.001
"""The shortest wait in seconds for a run that is due soon."""
_SOONER: Final = 20
"""How many times as often it searches while there are more runs than it can take."""


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
        self.ended: Once[None] = Once()
        """Resolved when it takes no further run."""

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
        pause = 0.0
        try:
            while not self._over.wait(pause):
                pause = self._look(runtime)
        finally:
            self.ended.set(None)

    def _look(self, runtime: Runtime) -> float:
        """Take as many runs as there is room for; return the seconds until the next search."""
        soon, room = self._every / _SOONER, self._most - len(self._life.live.ids())
        if room <= 0:
            return soon
        try:
            found = self._resuming.take_over(
                runtime,
                self._queue,
                known=self._registry.known(),
                unfit=self._unfit,
                most=room,
                refused=self._leave,
            )
        except Exception as error:  # noqa: BLE001 - it searches again after any error
            _log("recovery.failed", exc_info=error)
            return self._every
        for run_id in found.parked:
            _log("run.parked", run_id=run_id)
        if len(found.taken) == room:
            return soon
        due = self._every if found.next_due is None else found.next_due
        return min(self._every, max(due, _SHORTEST))

    def _leave(self, run_id: str, error: ActorflowError) -> str | None:
        """Exclude a run that cannot be resumed here, unless it may be later; return why."""
        if isinstance(error, _PASSES):
            return None
        self._unfit.add(run_id)
        _log("run.unfit", run_id=run_id, exc_info=error)
        return f"it waits for another orchestrator than the last one: {error}"


def _log(event: str, **said: Any) -> None:
    with contextlib.suppress(Exception):  # a log that raises must not add to it
        get_logger().warning(event, **said)


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


def hand_back(powers: Powers, run_id: str, parked: str | None = None) -> None:
    """Hand a claimed run back so that another orchestrator can take it.

    Args:
        powers: The state manager; one without owners has nothing to hand back.
        run_id: The run.
        parked: Why the run must wait; None if it waits only for its turn.
    """
    if powers.leases is not None:
        with contextlib.suppress(ActorflowError):  # this owner then keeps it until it is gone
            powers.leases.hand_back(run_id, parked)
