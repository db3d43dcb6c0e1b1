"""The runs in progress and their waiters."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from actorflow.errors.definition import OrchestratorClosed
from actorflow.errors.storage import RunUnattended
from actorflow.model.lifecycle import RunStatus
from actorflow.model.results import RunResult
from actorflow.orchestrator.settings import filters_of, run_id_of
from actorflow.orchestrator.waiting import WaitingRuns
from actorflow.run.handle import Run
from actorflow.support.oneshot import Once

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.orchestrator.admission import Ticket

    Entry = tuple[Run, Once[RunResult], Ticket, WorkflowPlan]
    from actorflow.model.protocols import StateManager
    from actorflow.model.results import RunPage
    from actorflow.orchestrator.lifetime import Lifetime
    from actorflow.orchestrator.runtime import Runtime

__all__ = ["LiveRuns", "Looking", "find"]


class LiveRuns:
    """The handles of accepted runs that have not ended; those that wait are in `waiting`.

    Args:
        left: Called after the end of each run with the ticket that it was admitted with.
    """

    def __init__(self, left: Callable[[Ticket], None]) -> None:
        self._left = left
        # Reentrant, because a signal handler may shut down at this moment.
        self._lock = threading.RLock()
        self._runs: dict[str, Entry] = {}
        self._closed = False
        self.waiting: Final = WaitingRuns(left)
        """The accepted runs that wait for their time or their turn, and hold no place."""
        self.drained: int = 0
        """How many runs have ended since `close` was called, without having been cancelled."""
        self.all_ended: Once[None] = Once()
        """Resolved when the last one has ended, after `close`."""

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._runs or run_id in self.waiting

    def get(self, run_id: str) -> Run | None:
        """Return the handle of a run in progress."""
        entry = self._runs.get(run_id)
        if entry is not None:
            return entry[0]
        held = self.waiting.get(run_id)
        return None if held is None else held.run

    def ids(self) -> list[str]:
        """Return the ids of the runs in progress, in order of acceptance."""
        with self._lock:
            return list(self._runs)

    def plan(self, run_id: str) -> WorkflowPlan | None:
        """Return the plan of a run in progress."""
        entry = self._runs.get(run_id)
        return None if entry is None else entry[3]

    def holds(self, run_id: str, ticket: Ticket) -> bool:
        """Return whether the run that was admitted with this ticket is in progress."""
        entry = self._runs.get(run_id)
        return entry is not None and entry[2] is ticket

    def add(self, run: Run, end: Once[RunResult], ticket: Ticket, plan: WorkflowPlan) -> None:
        """Add a run.

        Raises:
            OrchestratorClosed: After `close`.
        """
        with self._lock:
            if self._closed:
                raise OrchestratorClosed("start a run")
            self._runs[run.id] = run, end, ticket, plan

    def discard(self, run_id: str, why: str) -> None:
        """Remove a run that will have no result, and tell its waiters why."""
        with self._lock:
            entry = self._runs.pop(run_id, None)
            self._tell_if_all_ended()
        if entry is not None:
            self._left(entry[2])
            entry[1].fail(RunUnattended(run_id, why))

    def finish(self, result: RunResult) -> None:
        """Remove a run, and give its waiters the result; in a callback of the event loop."""
        with self._lock:
            entry = self._runs.pop(result.run_id, None)
            if self._closed:
                if entry is not None and result.status is not RunStatus.CANCELLED:
                    self.drained += 1
                self._tell_if_all_ended()
        if entry is not None:
            self._left(entry[2])
            entry[1].set_here(result)

    def close(self) -> None:
        """Accept no further runs."""
        with self._lock:
            self._closed = True
            self._tell_if_all_ended()

    def give_up(self) -> list[str]:
        """Fail the waits for runs that can no longer end, because their event loop is gone.

        Returns the ids of these runs.
        """
        with self._lock:
            cut_off = dict(self._runs)
        # Waiters are told first: a caller that is interrupted here repeats all of it.
        for run_id, (_, end, *_) in cut_off.items():
            end.fail(OrchestratorClosed("wait for a run that was cut off"))
            self._runs.pop(run_id, None)
        return list(cut_off)

    def _tell_if_all_ended(self) -> None:
        if self._closed and not self._runs:
            self.all_ended.set(None)


_NOT_HERE: Final = (
    "its record says {!r}, and this orchestrator does not run it. "
    "If no other orchestrator does, call orchestrator.resume(), or have one with recover=True "
    "take it over, where its workflow is registered"
)


def find(live: LiveRuns, runtime: Runtime, run_id: str) -> Run:
    """Return a run, in progress or finished.

    Raises:
        RunNotFound: When there is no such run, or its state manager no longer keeps it.
    """
    # Twice, because it may be resumed, or end, between the two look-ups.
    found = _look(live, runtime, run_id) or _look(live, runtime, run_id)
    if found is not None:
        return found
    recorded, end = runtime.snapshot(run_id), Once[RunResult]()
    end.fail(RunUnattended(run_id, _NOT_HERE.format(recorded.status.value)))
    return Run(runtime, run_id, recorded.workflow_id, end)


def _look(live: LiveRuns, runtime: Runtime, run_id: str) -> Run | None:
    in_progress = live.get(run_id)
    if in_progress is not None:
        return in_progress
    snapshot = runtime.snapshot(run_id)
    if not snapshot.status.terminal:
        return None
    end: Once[RunResult] = Once()
    end.set(RunResult.of(snapshot))
    return Run(runtime, run_id, snapshot.workflow_id, end)


class Looking:
    """Looks up runs of one orchestrator.

    Args:
        life: The orchestrator's life.
        state: Where its runs are recorded.
    """

    def __init__(self, life: Lifetime, state: StateManager) -> None:
        self._life = life
        self._state = state

    def get(self, run_id: str) -> Run:
        """Return a run, in progress or finished."""
        runtime = self._life.runtime("get a run")
        return find(self._life.live, runtime, run_id_of(run_id, "Orchestrator.get()"))

    def list(
        self, *, status: RunStatus | str | None, limit: int, offset: int, **ids: str | None
    ) -> RunPage:
        """Return a page of the runs that match all filters, the newest first."""
        self._life.runtime("list runs")
        return self._state.list(**filters_of(status=status, limit=limit, offset=offset, **ids))
