"""The runs in progress and their waiters."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any, Final

from actorflow.errors.definition import OrchestratorClosed
from actorflow.errors.storage import LeaseLost, RunUnattended
from actorflow.model.filters import RunFilters, RunQuery, columns_of
from actorflow.model.lifecycle import RunStatus
from actorflow.model.powers import CountsRuns
from actorflow.model.results import RunResult
from actorflow.orchestrator.powers import lacks, listing_arguments
from actorflow.orchestrator.settings import run_id_of
from actorflow.orchestrator.waiting import WaitingRuns
from actorflow.run.handle import Run
from actorflow.support.oneshot import Once

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.orchestrator.admission import Ticket

    Entry = tuple[Run, Once[RunResult], Ticket, WorkflowPlan]
    from actorflow.model.records import RunPage
    from actorflow.orchestrator.lifetime import Lifetime
    from actorflow.orchestrator.powers import Powers
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
        self.claims: Final = threading.RLock()
        """Held from the claim of a run to the end of its launch, and while another one is cancelled
        that is not in progress here. A claim takes a run from this orchestrator as well. A thread
        that needs the door too takes this first.
        """
        self.door: Final = threading.RLock()
        """Held while a run is handed over."""
        self.waiting: Final = WaitingRuns(left)
        """The accepted runs that wait for their time or their turn, and hold no place."""
        self.drained: int = 0
        """How many runs have ended since `close` was called, without having been cancelled."""
        self.left: list[str] = []
        """The ids of the runs that were left to other orchestrators, in order."""
        self.all_ended: Once[None] = Once()
        """Resolved when the last one has ended or was left, after `close`."""

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._runs or run_id in self.waiting

    def __len__(self) -> int:
        return len(self._runs)

    def get(self, run_id: str) -> Run | None:
        """Return the handle of a run in progress."""
        entry = self._runs.get(run_id)
        if entry is not None:
            return entry[0]
        held = self.waiting.get(run_id)
        return None if held is None else held.run

    def end(self, run_id: str) -> Once[RunResult] | None:
        """Return the end of a run in progress."""
        entry = self._runs.get(run_id)
        if entry is not None:
            return entry[1]
        held = self.waiting.get(run_id)
        return None if held is None else held.end

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

    def add(
        self,
        run: Run,
        end: Once[RunResult],
        ticket: Ticket,
        plan: WorkflowPlan,
        *,
        even_closed: bool = False,
    ) -> None:
        """Add a run.

        Args:
            run: Its handle.
            end: Its end.
            ticket: The ticket that it was admitted with.
            plan: Its workflow.
            even_closed: Whether it is added even after `close`, because another run waits for it.

        Raises:
            OrchestratorClosed: After `close`.
        """
        with self._lock:
            if self._closed and not even_closed:
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

    def leave(self, run_id: str) -> None:
        """Remove a run that goes on in another orchestrator, and tell its waiters."""
        with self._lock:
            entry = self._runs.pop(run_id, None)
            if entry is not None:
                self.left.append(run_id)
            self._tell_if_all_ended()
        if entry is not None:
            self._left(entry[2])
            entry[1].fail(_left(run_id))

    def evict(self, run_id: str) -> None:
        """Remove a run that waits without being in memory, and have its waiters follow it."""
        with self._lock:
            entry = self._runs.pop(run_id, None)
            self._tell_if_all_ended()
        if entry is not None:
            self._left(entry[2])
            entry[1].fail(LeaseLost(run_id))  # as of a run that another orchestrator took over

    def finish(self, result: RunResult, taken_over: LeaseLost | None = None) -> None:
        """Remove a run, and give its waiters the result; in a callback of the event loop.

        Args:
            result: The result.
            taken_over: If another orchestrator goes on with the run, the error that says so.
                Waiters get this error; a handle then follows the run's record.
        """
        with self._lock:
            entry = self._runs.pop(result.run_id, None)
            if self._closed:
                by_itself = taken_over is None and result.status is not RunStatus.CANCELLED
                if entry is not None and by_itself:
                    self.drained += 1
                self._tell_if_all_ended()
        if entry is not None:
            self._left(entry[2])
            if taken_over is None:
                entry[1].set_here(result)
            else:
                entry[1].fail(taken_over)

    def close(self) -> None:
        """Accept no further runs."""
        with self._lock:
            self._closed = True
            self._tell_if_all_ended()

    def give_up(self, *, leave: bool) -> list[str]:
        """Fail the waits for runs that can no longer end, because their event loop is gone.

        Args:
            leave: Whether these runs were to be left to other orchestrators.

        Returns the ids of these runs.
        """
        with self._lock:
            living = dict(self._runs)
        # Waiters are told first: a caller that is interrupted here repeats all of it.
        for run_id, (_, end, *_) in living.items():
            cut_off = OrchestratorClosed("wait for a run that was cut off")
            end.fail(_left(run_id) if leave else cut_off)
            self._runs.pop(run_id, None)
        return list(living)

    def _tell_if_all_ended(self) -> None:
        if self._closed and not self._runs:
            self.all_ended.set(None)


def _left(run_id: str) -> OrchestratorClosed:
    why = "its orchestrator has shut down and left the run, which goes on in another one"
    cure = "Get it from an open orchestrator; one with recover=True, or resume(), goes on with it"
    return OrchestratorClosed(f"wait for run {run_id!r} here", why, cure)


def find(live: LiveRuns, runtime: Runtime, run_id: str) -> Run:
    """Return a run, in progress or finished.

    Raises:
        RunNotFound: When there is no such run, or its state manager no longer keeps it.
    """
    in_progress = live.get(run_id)
    if in_progress is not None:
        return in_progress
    recorded = runtime.snapshot(run_id)
    if not recorded.status.terminal:
        # It may be resumed here at this moment, and end: the handle finds that out.
        return live.get(run_id) or Run(runtime, run_id, recorded.workflow_id)
    end: Once[RunResult] = Once()
    end.set(RunResult.of(recorded))
    return Run(runtime, run_id, recorded.workflow_id, end)


class Looking:
    """Looks up runs of one orchestrator.

    Args:
        life: The orchestrator's life.
        powers: Where its runs are recorded.
    """

    def __init__(self, life: Lifetime, powers: Powers) -> None:
        self._life = life
        self._powers = powers

    def get(self, run_id: str) -> Run:
        """Return a run, in progress or finished."""
        runtime, run_id = self._asked(run_id)
        if run_id not in self._life.live:
            runtime.check_may_read("Orchestrator.get()")
        return find(self._life.live, runtime, run_id)

    async def get_async(self, run_id: str) -> Run:
        """Return a run, in progress or finished, without blocking the event loop."""
        runtime, run_id = self._asked(run_id)
        in_progress = self._life.live.get(run_id)
        if in_progress is not None:
            return in_progress
        return await runtime.read_async(functools.partial(find, self._life.live, runtime, run_id))

    def _asked(self, run_id: str) -> tuple[Runtime, str]:
        return self._life.runtime("get a run"), run_id_of(run_id, "Orchestrator.get()")

    def list(self, **asked: Any) -> RunPage:
        """Return a page of the runs that match all filters, the newest first."""
        self._life.runtime("list runs").check_may_read("Orchestrator.list()")
        state = self._powers.state
        return state.list(**listing_arguments(state, RunQuery.of(asked)))

    async def list_async(self, **asked: Any) -> RunPage:
        """Do what `list` does without blocking the event loop."""
        runtime, state = self._life.runtime("list runs"), self._powers.state
        arguments = listing_arguments(state, RunQuery.of(asked))
        return await runtime.read_async(functools.partial(state.list, **arguments))

    def count(self, by: str | Sequence[str], filters: Mapping[str, Any]) -> Mapping[Any, int]:
        """Return the numbers of runs that match all filters, by what they have in common."""
        runtime, counts = self._life.runtime("count runs"), self._counts(by)
        checked = RunQuery.of(filters, RunFilters).asked
        runtime.check_may_read("Orchestrator.count()")
        return counts.count_runs(by, **checked)

    async def count_async(
        self, by: str | Sequence[str], filters: Mapping[str, Any]
    ) -> Mapping[Any, int]:
        """Do what `count` does without blocking the event loop."""
        runtime, counts = self._life.runtime("count runs"), self._counts(by)
        checked = RunQuery.of(filters, RunFilters).asked
        return await runtime.read_async(functools.partial(counts.count_runs, by, **checked))

    def _counts(self, by: str | Sequence[str]) -> CountsRuns:
        columns_of(by)
        counts = self._powers.counts
        if counts is None:
            raise lacks(self._powers.state, "Orchestrator.count()", CountsRuns)
        return counts
