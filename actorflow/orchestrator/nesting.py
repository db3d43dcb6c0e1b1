"""Steps that wait for other runs, and when that can never end.

A step may start a run of another workflow and wait for it. Meanwhile it keeps what it has: its
run's place among the active ones, and if it is async, a worker. When all the places are kept by
steps that wait like that, or all the workers, nobody gives one back, and everybody waits for
somebody who needs one. That is known the moment the last of them begins to wait; it is told so,
instead of making the standstill complete.

Only waits without a timeout count, and only those of which it is known which attempt waits:
on the attempt's own thread, or awaited by the coroutine itself rather than by a task of its own.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Literal

import attrs

from actorflow.errors import Deadlock
from actorflow.lifecycle import RunStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actorflow.context import Attempt
    from actorflow.orchestrator.live import LiveRuns
    from actorflow.results import RunSnapshot

__all__ = ["Nesting"]


@attrs.frozen(eq=False)
class _Wait:
    """An attempt that waits: for a run's end, or (with no run) to be let in with a new one."""

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
            attempt: Who waits.
            run_id: The run that it waits for; None when it waits for a place for a new one.
            lasts: Whether what it waits for has not come yet.

        Raises:
            Deadlock: When it would wait for ever.
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
        if wait.run_id == wait.attempt.scope.run_id:
            return "itself", 1
        waits = [each for each in (*self._waits, wait) if self._keeps_its_place(each)]
        if len({each.attempt.scope.run_id for each in waits}) >= self._max_active:
            return "places", self._max_active
        waits = [each for each in waits if self._keeps_a_worker(each)]
        # A snapshot costs more than all the rest, so it is the last thing to be asked for.
        if self._are_all_workers(waits) and self._are_all_workers(
            [each for each in waits if self._awaits_a_worker(each)]
        ):
            return "workers", self._async_workers
        return None

    def _are_all_workers(self, waits: list[_Wait]) -> bool:
        return len({each.attempt for each in waits}) >= self._async_workers

    def _keeps_its_place(self, wait: _Wait) -> bool:
        # An attempt that is to stop will be out of the way soon, whatever it waits for.
        in_flight = wait.attempt.scope.run_id in self._live and not wait.attempt.cancelled
        return in_flight and wait.lasts()

    def _keeps_a_worker(self, wait: _Wait) -> bool:
        plan = self._live.plan(wait.attempt.scope.run_id)
        return plan is not None and plan.of(wait.attempt).step.async_

    def _awaits_a_worker(self, wait: _Wait) -> bool:
        """Return whether what it waits for cannot come without an async worker."""
        plan = None if wait.run_id is None else self._live.plan(wait.run_id)
        if plan is None or wait.run_id is None:
            return False
        snapshot = self._snapshot(wait.run_id)
        steps = snapshot.steps
        if snapshot.status is RunStatus.COMPENSATING:
            to_undo = [plan.by_id[step_id].compensation for step_id in snapshot.compensations]
            return any(it.step.async_ for it in to_undo if it is not None)
        return any(it.step.async_ and not steps[it.id].status.settled for it in plan.steps)
