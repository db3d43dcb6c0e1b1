"""The runs in progress, and who waits for them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from actorflow.errors.definition import OrchestratorClosed
from actorflow.errors.storage import RunUnattended
from actorflow.model.results import RunResult
from actorflow.run.handle import Run
from actorflow.support.oneshot import Once

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.orchestrator.admission import Ticket

    _Entry = tuple[Run, Once[RunResult], Ticket, WorkflowPlan]
    from actorflow.orchestrator.runtime import Runtime

__all__ = ["LiveRuns", "find"]


class LiveRuns:
    """The handles of accepted runs that have not ended.

    Args:
        left: Called after each run's end, with the ticket that it was admitted with.
    """

    def __init__(self, left: Callable[[Ticket], None]) -> None:
        self._left = left
        # Entered again by a signal handler that shuts down at just that moment.
        self._lock = threading.RLock()
        self._runs: dict[str, _Entry] = {}
        self._closed = False
        self.open_at_close: int = 0
        """How many runs were in progress when `close` was called."""
        self.all_ended: Once[None] = Once()
        """Resolved when none is left, after `close`."""

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._runs

    def get(self, run_id: str) -> Run | None:
        """Return the handle of a run in progress."""
        entry = self._runs.get(run_id)
        return None if entry is None else entry[0]

    def ids(self) -> list[str]:
        """Return the ids of the runs in progress, in the order in which they were accepted."""
        with self._lock:
            return list(self._runs)

    def plan(self, run_id: str) -> WorkflowPlan | None:
        """Return the plan of a run in progress."""
        entry = self._runs.get(run_id)
        return None if entry is None else entry[3]

    def holds(self, run_id: str, ticket: Ticket) -> bool:
        """Return whether a run is in progress that was admitted with this ticket."""
        entry = self._runs.get(run_id)
        return entry is not None and entry[2] is ticket

    def add(self, run: Run, end: Once[RunResult], ticket: Ticket, plan: WorkflowPlan) -> None:
        """Take a run in.

        Raises:
            OrchestratorClosed: After `close`.
        """
        with self._lock:
            if self._closed:
                raise OrchestratorClosed("start a run")
            self._runs[run.id] = (run, end, ticket, plan)

    def discard(self, run_id: str, why: str) -> None:
        """Take a run out that will have no result, if it is there, and tell whoever waits why."""
        with self._lock:
            entry = self._runs.pop(run_id, None)
            self._tell_if_all_ended()
        if entry is not None:
            self._left(entry[2])
            entry[1].fail(RunUnattended(run_id, why))

    def finish(self, result: RunResult) -> None:
        """Take a run out, and give its result to whoever waits."""
        with self._lock:
            entry = self._runs.pop(result.run_id, None)
            self._tell_if_all_ended()
        if entry is not None:
            self._left(entry[2])
            entry[1].set(result)

    def close(self) -> None:
        """Take no more runs in."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self.open_at_close = len(self._runs)
            self._tell_if_all_ended()

    def give_up(self) -> list[str]:
        """Let nobody wait for runs that cannot end any more, because their loop is gone.

        Returns the runs that it was too late for.
        """
        with self._lock:
            cut_off = dict(self._runs)
        # Told first, taken out second: whoever is interrupted here does all of it again.
        for run_id, (_, end, *_) in cut_off.items():
            end.fail(OrchestratorClosed("wait for a run that was cut off"))
            self._runs.pop(run_id, None)
        return list(cut_off)

    def _tell_if_all_ended(self) -> None:
        if self._closed and not self._runs:
            self.all_ended.set(None)


_NOT_HERE: Final = (
    "its record says {!r}, and this orchestrator does not run it. "
    "If nobody else does, let it go on with orchestrator.resume(), or by an orchestrator with "
    "recover=True that has registered its workflow"
)


def find(live: LiveRuns, runtime: Runtime, run_id: str) -> Run:
    """Return a run, in progress or finished.

    Raises:
        RunNotFound: When there is no such run, or it is not kept any more.
    """
    # Twice, because it may be resumed, or end, between the two looks.
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
