"""The runs in progress, and who waits for them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from actorflow.errors import OrchestratorClosed, RunUnattended
from actorflow.once import Once

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.handles import Run
    from actorflow.orchestrator.admission import Ticket
    from actorflow.plan import WorkflowPlan
    from actorflow.results import RunResult

    _Entry = tuple[Run, Once[RunResult], Ticket, WorkflowPlan]

__all__ = ["LiveRuns"]


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
        self.open_at_close = 0
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
