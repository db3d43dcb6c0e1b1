"""Queues: the worker budget, the ready steps by priority, the sync lanes, the waiting runs."""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, TypeAlias

from actorflow.model.lifecycle import StepStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorflow.scheduling.ledger import RunState, StepState

__all__ = ["Level", "ReadyQueue", "RunQueue", "SyncLane", "Workers"]

_READY = StepStatus.READY

Level: TypeAlias = tuple[float, float]
"""What steps of all runs compete by, the lowest first: the negated priorities of run and step; or
their negated sum and the waiting, if steps age."""


class Workers:
    """The async worker budget of one orchestrator; each async attempt in flight holds a worker."""

    __slots__ = ("free", "total")

    def __init__(self, total: int) -> None:
        self.total: int = total
        self.free: int = total

    @property
    def held(self) -> int:
        """How many workers are held by attempts."""
        return self.total - self.free


class ReadyQueue:
    """Ready async steps of all runs, in the order in which they are granted.

    A lower level goes first. Runs at one level take turns, and within a run the step that became
    ready first goes first, or the one with the longest way to the end if the run is ordered so. A
    step that is no longer ready when its turn comes is skipped, and its run keeps the turn.
    """

    def __init__(self) -> None:
        self._levels: dict[Level, OrderedDict[str, _Line]] = {}
        self._arrivals = 0
        self.order: list[Level] = []
        """A heap of the levels that have steps; empty when no step waits."""

    def push(self, run: RunState, step: StepState, key: Level) -> None:
        """Add a step that has become ready, at the level `key`."""
        level = self._levels.get(key)
        if level is None:
            level = self._levels[key] = OrderedDict()
            heapq.heappush(self.order, key)
        line = level.get(run.run_id)
        if line is None:
            line = level[run.run_id] = _Line(run)
        if line.ways is None:
            line.steps.append(step)
        else:
            self._arrivals += 1
            heapq.heappush(line.steps, (-line.ways[step.id], self._arrivals, step))

    def pop(self) -> tuple[RunState, StepState] | None:
        """Remove and return the next ready step and its run, or None."""
        while self.order:
            level = self._levels[self.order[0]]
            run_id, line = next(iter(level.items()))
            step = line.steps.popleft() if line.ways is None else heapq.heappop(line.steps)[2]
            ready = step.status is _READY
            if line.steps:
                if ready and len(level) > 1:
                    level.move_to_end(run_id)
            else:
                del level[run_id]
                if not level:
                    del self._levels[heapq.heappop(self.order)]
            if ready:
                return line.run, step
        return None

    def forget(self, run_id: str) -> None:
        """Drop the steps of a run that has ended."""
        for key, level in list(self._levels.items()):
            if level.pop(run_id, None) is not None and not level:
                del self._levels[key]
                self.order.remove(key)
                heapq.heapify(self.order)


class _Line:
    """The ready steps of one run at one level."""

    __slots__ = ("run", "steps", "ways")

    def __init__(self, run: RunState) -> None:
        self.run = run
        self.ways: Mapping[str, float] | None = run.ways
        self.steps: Any = deque() if run.ways is None else []
        """The steps in the order in which they became ready; if the run has ways, a heap of the
        negated way, the order and the step.
        """


class SyncLane:
    """A run's sync lane: its steps that are not async run here one at a time."""

    __slots__ = ("_arrivals", "busy", "waiting")

    def __init__(self) -> None:
        self.busy: bool = False
        self.waiting: list[tuple[float, float, int, StepState]] = []
        """A heap of the steps that wait for it."""
        self._arrivals = 0

    def push(self, step: StepState, level: float, way: float) -> None:
        """Add a step that has become ready: a lower level goes first, then a longer way."""
        self._arrivals += 1
        heapq.heappush(self.waiting, (level, -way, self._arrivals, step))

    def clear(self) -> None:
        """Forget the steps that wait."""
        self.waiting.clear()

    def pop(self) -> StepState | None:
        """Remove and return the next ready step, or None."""
        while self.waiting:
            step = heapq.heappop(self.waiting)[3]
            if step.status is _READY:
                return step
        return None


class RunQueue:
    """Runs that wait for a place among the active ones: by priority, then by arrival."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._waiting: list[tuple[int, int, RunState]] = []
        self._arrivals = 0

    @property
    def free(self) -> int:
        """How many places are free; negative while runs hold more than there are (see `take`)."""
        return self._places

    def __len__(self) -> int:
        return len(self._waiting)

    def push(self, run: RunState) -> None:
        """Add a run that has been accepted, or that wants to continue."""
        self._arrivals += 1
        heapq.heappush(self._waiting, (run.rank, self._arrivals, run))

    def pop(self) -> RunState | None:
        """Give the next waiting run a place, or return None."""
        if self._places <= 0 or not self._waiting:
            return None
        self._places -= 1
        return heapq.heappop(self._waiting)[2]

    def forget(self, run: RunState) -> None:
        """Drop a run that has ended before it got a place."""
        self._waiting = [entry for entry in self._waiting if entry[2] is not run]
        heapq.heapify(self._waiting)

    def release(self) -> None:
        """Take back the place of an active run."""
        self._places += 1

    def take(self, run: RunState) -> None:
        """Give a run a place, even if there is none free."""
        self.forget(run)
        self._places -= 1
