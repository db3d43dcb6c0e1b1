"""Deadlocks: steps that wait for other runs, and waits that could never end.

A step may start a run of another workflow and wait for it. While it waits it keeps its run's place
among the active ones and, if it is async, a worker. Once steps that wait like this hold all places,
or all workers, none of them is released and every waiter waits for a run that needs one. This is
detected when the last of them begins to wait: its wait raises `Deadlock` instead.

Only waits without a timeout count, and only those whose attempt is known: on the attempt's own
thread, or awaited by the coroutine itself and not by another task.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Final, Literal

import attrs

from actorflow.errors.definition import WrongLoop
from actorflow.errors.running import Deadlock
from actorflow.errors.storage import RunNotFound
from actorflow.model.lifecycle import RunStatus, StepStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from actorflow.definition.plan import StepPlan, WorkflowPlan
    from actorflow.model.context import Attempt
    from actorflow.model.results import RunSnapshot
    from actorflow.orchestrator.live import LiveRuns

__all__ = ["Nesting", "Standing", "can_end", "would_block", "would_read"]


def would_block(what: str) -> WrongLoop:
    """Return the error for a call that would block the event loop it waits for."""
    cure = _INSTEAD.get(what, "put the call into `asyncio.to_thread`")
    return WrongLoop(
        f"{what} would block the event loop that the run itself needs. Instead, {cure}."
    )


def would_read(what: str) -> WrongLoop:
    """Return the error for a call that would block the event loop until a database answers."""
    return WrongLoop(
        f"{what} would block the event loop until the database answers. Instead, {_INSTEAD[what]}."
    )


_INSTEAD: Final = {
    "Run.wait()": "use `await run.wait_async()`",
    "Run.result()": "use `await run`",
    "Run.cancel()": "use `await run.cancel_async()`",
    "Run.done": "use `(await run.status_async()).terminal`",
    "Run.status": "use `await run.status_async()`",
    "Run.snapshot()": "use `await run.snapshot_async()`",
    "wait_first()": "use `await wait_first_async(runs)`",
    "iterating over as_completed() with `for`": "use `async for run in as_completed(runs)`",
    "iterating over Run.events() with `for`": "use `async for event in run.events()`",
    "Orchestrator.run()": "use `await orchestrator.run_async()`",
    "Orchestrator.start()": "use `await orchestrator.start_async()`",
    "Orchestrator.enqueue()": "use `await orchestrator.enqueue_async()`",
    "Orchestrator.resume()": "use `await orchestrator.resume_async()`",
    "Orchestrator.get()": "use `await orchestrator.get_async()`",
    "Orchestrator.list()": "use `await orchestrator.list_async()`",
    "Orchestrator.shutdown()": "use `await orchestrator.shutdown_async()`",
}


@attrs.frozen(eq=False, repr=False)
class _Wait:
    """An attempt that waits: for a run's end, or (without a run) for a place for a new one."""

    attempt: Attempt
    run_id: str | None
    lasts: Callable[[], bool]


class Nesting:
    """The attempts that wait for runs of their own orchestrator.

    Args:
        live: The runs in progress.
        snapshot: Returns a run as it stands.
        max_active: How many runs may be in progress at once.
        async_workers: How many async steps may run at once.
    """

    def __init__(
        self,
        live: LiveRuns,
        snapshot: Callable[[str], RunSnapshot],
        *,
        max_active: int,
        async_workers: int,
    ) -> None:
        self._live = live
        self._snapshot = snapshot
        self._max_active = max_active
        self._async_workers = async_workers
        self._lock = threading.Lock()
        self._waits: dict[_Wait, None] = {}

    @contextlib.contextmanager
    def waiting(
        self, attempt: Attempt, run_id: str | None, lasts: Callable[[], bool]
    ) -> Iterator[None]:
        """Let an attempt wait within the block.

        Args:
            attempt: The attempt that waits.
            run_id: The run that it waits for; None when it waits for a place for a new one.
            lasts: Whether the wait still lasts.

        Raises:
            Deadlock: When the wait could never end.
        """
        wait = _Wait(attempt, run_id, lasts)
        with self._lock:
            self._check(wait)
            self._waits[wait] = None
        try:
            yield
        finally:
            with self._lock:
                del self._waits[wait]

    def _check(self, wait: _Wait) -> None:
        shortage = self._shortage(wait)
        if shortage is not None:
            attempt = wait.attempt
            raise Deadlock(attempt.scope.run_id, attempt.step_id, wait.run_id, *shortage)

    def _shortage(self, wait: _Wait) -> tuple[Literal["places", "workers", "itself"], int] | None:
        run_id = wait.attempt.scope.run_id
        if wait.run_id == run_id:
            return "itself", 1
        waits = [each for each in (*self._waits, wait) if self._keeps_its_place(each)]
        if len({each.attempt.scope.run_id for each in waits}) >= self._max_active:
            return "places", self._max_active
        keeping = {each.attempt for each in waits if self._keeps_a_worker(each)}
        # While a worker is free, or will be, every waiter gets a turn.
        if len(keeping) >= self._async_workers and run_id not in self._able(waits):
            return "workers", self._async_workers
        return None

    def _keeps_its_place(self, wait: _Wait) -> bool:
        # An attempt that must stop will release what it holds, whatever it waits for.
        in_flight = wait.attempt.scope.run_id in self._live and not wait.attempt.cancelled
        return in_flight and wait.lasts()

    def _keeps_a_worker(self, wait: _Wait) -> bool:
        plan = self._live.plan(wait.attempt.scope.run_id)
        return plan is not None and wait.attempt.plan.step.async_

    def _able(self, waits: Sequence[_Wait]) -> frozenset[str]:
        """Return the runs that can end while these waits hold every worker."""
        runs = dict(self._standings(waits))
        free = self._max_active - sum(run.active for run in runs.values())
        return can_end(runs, places=free, workers=0)

    def _standings(self, waits: Sequence[_Wait]) -> Iterator[tuple[str, Standing]]:
        for run_id in self._live.ids():
            own = [each for each in waits if each.attempt.scope.run_id == run_id]
            plan = self._live.plan(run_id)
            # Any of them may end at this moment, and be forgotten.
            with contextlib.suppress(RunNotFound):
                if plan is not None:
                    yield run_id, self._standing(plan, self._snapshot(run_id), own)

    def _standing(
        self, plan: WorkflowPlan, snapshot: RunSnapshot, waits: Sequence[_Wait]
    ) -> Standing:
        begun = {it.attempt.step_id for it in waits if it.attempt.compensates}
        to_come = (*_to_start(plan, snapshot), *_to_undo(plan, snapshot, begun))
        return Standing(
            active=snapshot.status is not RunStatus.PENDING,
            needs_a_worker=any(it.step.async_ for it in to_come),
            keeps_workers=len({it.attempt for it in waits if self._keeps_a_worker(it)}),
            awaits=frozenset(it.run_id for it in waits),
        )


_TO_START: Final = frozenset({StepStatus.PENDING, StepStatus.READY, StepStatus.RETRYING})


def _to_start(plan: WorkflowPlan, snapshot: RunSnapshot) -> Iterator[StepPlan]:
    return (it for it in plan.steps if snapshot.steps[it.id].status in _TO_START)


def _to_undo(
    plan: WorkflowPlan, snapshot: RunSnapshot, begun: Collection[str]
) -> Iterator[StepPlan]:
    """Yield the compensators that are yet to run."""
    if snapshot.status is RunStatus.COMPENSATING:
        for step_id in snapshot.compensations:
            undo = plan.by_id[step_id].compensation
            left = snapshot.steps[step_id].status is StepStatus.COMPLETED
            if undo is not None and left and step_id not in begun:
                yield undo


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Standing:
    """What a run holds, and what it needs."""

    active: bool
    """Whether it has its place among the active runs."""
    needs_a_worker: bool
    """Whether an async step of it is yet to start."""
    keeps_workers: int
    """How many of its async steps wait."""
    awaits: frozenset[str | None]
    """The runs that its steps wait for; None means the end of any run, which frees a place."""


def can_end(runs: Mapping[str, Standing], *, places: int, workers: int) -> frozenset[str]:
    """Return the runs that can end if no waiting step of theirs is cut.

    This is the banker's algorithm (Dijkstra 1965): a run that can end frees what it holds for the
    next one.

    Args:
        runs: All accepted runs.
        places: How many places for active runs are free.
        workers: How many async workers are free.
    """
    ended: set[str] = set()
    while True:
        able = [
            run_id
            for run_id, run in runs.items()
            if run_id not in ended
            and (run.active or places > 0)
            and (not run.needs_a_worker or workers > 0)
            and all(_has_come(awaited, ended, runs) for awaited in run.awaits)
        ]
        if not able:
            return frozenset(ended)
        ended.update(able)
        places += sum(runs[run_id].active for run_id in able)
        workers += sum(runs[run_id].keeps_workers for run_id in able)


def _has_come(awaited: str | None, ended: set[str], runs: Mapping[str, Standing]) -> bool:
    if awaited is None:
        return bool(ended)
    return awaited in ended or awaited not in runs
