"""Runs that go on from what is recorded."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from actorflow.errors import ActorflowError, OrchestratorClosed
from actorflow.lifecycle import RunStatus
from actorflow.orchestrator.lookup import find
from actorflow.orchestrator.ownership import hand_back
from actorflow.orchestrator.requests import resumed_run

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from actorflow.handles import Run
    from actorflow.orchestrator.admission import Ticket
    from actorflow.orchestrator.lifetime import Lifetime
    from actorflow.orchestrator.registry import Registry
    from actorflow.orchestrator.runtime import Runtime
    from actorflow.plan import WorkflowPlan
    from actorflow.protocols import Taken
    from actorflow.workflow import Workflow

__all__ = ["Resuming"]


class Resuming:
    """Lets runs of one orchestrator go on.

    Args:
        life: The orchestrator's life.
        registry: The workflows that it knows.
    """

    def __init__(self, life: Lifetime, registry: Registry) -> None:
        self._life = life
        self._registry = registry
        self._lock = threading.Lock()

    def resume(self, runtime: Runtime, run_id: str, flow: Workflow | None) -> Run:
        """Let a run go on, unless it is in progress here, or has completed."""
        run = find(self._life.live, runtime, run_id)
        if not _may_go_on(run):
            return run
        plan = self._registry.plan_for(runtime.snapshot(run_id), flow)
        ticket = self._life.admission.ticket()
        try:
            self._life.enter(runtime, ticket)
            return self._go_on(runtime, plan, run_id, ticket)
        except BaseException:
            self._life.withdraw(run_id, ticket)
            raise

    def _go_on(self, runtime: Runtime, plan: WorkflowPlan, run_id: str, ticket: Ticket) -> Run:
        with self._lock:
            # Somebody else may have resumed it in the meantime, here or elsewhere.
            run = find(self._life.live, runtime, run_id)
            if _may_go_on(run):
                recorded = runtime.state.claim(run_id)
                if recorded.status is not RunStatus.COMPLETED:
                    with _handed_back(runtime, run_id):
                        return self._life.launch(resumed_run(runtime, plan, recorded), ticket)[0]
                _hand_back(runtime, run_id)
                run = find(self._life.live, runtime, run_id)
        self._life.admission.leave(ticket)
        return run

    def take_over(
        self,
        runtime: Runtime,
        known: frozenset[tuple[str, str]],
        unfit: Collection[str],
        most: int,
        refused: Callable[[str, ActorflowError], str | None],
    ) -> Taken:
        """Let runs go on that belong to nobody.

        Args:
            runtime: Where.
            known: The workflows that are known, by id and version.
            unfit: The runs that are not to be taken.
            most: How many at most.
            refused: Called with each that could not go on after all, and why; it returns what such
                a run waits for, if it is something else than its turn.
        """
        take: Callable[..., Taken] = getattr(runtime.state, "take")  # noqa: B009 - it may be absent
        with self._lock:
            taken = take(known, {*self._life.live.ids(), *unfit}, most)
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
            return  # it was started here, in the meantime
        recorded = runtime.snapshot(run_id)
        plan = self._registry.plan_for(recorded, None)
        ticket = self._life.admission.ticket()
        try:
            self._life.admission.enter(ticket, may_block=False)
            self._life.launch(resumed_run(runtime, plan, recorded), ticket)
        except BaseException:
            self._life.withdraw(run_id, ticket)
            raise


@contextlib.contextmanager
def _handed_back(runtime: Runtime, run_id: str) -> Iterator[None]:
    """Let others have a claimed run if the block raises."""
    try:
        yield
    except BaseException:
        _hand_back(runtime, run_id)
        raise


def _hand_back(runtime: Runtime, run_id: str, parked: str | None = None) -> None:
    """Let others have a claimed run, unless it goes on here."""
    if not runtime.live(run_id):
        hand_back(runtime.state, run_id, parked)


def _may_go_on(run: Run) -> bool:
    return run.done and run.status is not RunStatus.COMPLETED
