"""Deadlines: a heap of moments that can be cancelled.

Wakeups of actors cannot be cancelled, and most deadlines never pass: ten thousand quick steps a
second with a timeout of thirty seconds each would leave 300,000 wakeups waiting. The supervisor
therefore keeps its deadlines here, cancels them in constant time, and has one wakeup pending.
"""

from __future__ import annotations

import enum
import heapq
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from actorflow.scheduling.ledger import StepState

__all__ = ["Deadline", "Deadlines", "Due"]

_COMPACT_ABOVE: Final = 64
_NEVER: Final = float("inf")


class Due(enum.Enum):
    """What happens when a deadline passes."""

    ATTEMPT = "attempt"
    TOTAL = "total"
    BACKOFF = "backoff"
    GRACE = "grace"
    RUN = "run"
    CUT = "cut"
    WAIT = "wait"
    EVICTION = "eviction"


Deadline: TypeAlias = list[Any]
"""When it is due, a sequence number, what is due (None when cancelled), the run's id, and the step
or None.

It is a bare list because one is made for every attempt with a timeout: lists compare in C, and
cost a quarter of an object.
"""


class Deadlines:
    """The pending deadlines."""

    def __init__(self) -> None:
        self._heap: list[Deadline] = []
        self._sequence = 0
        self._dead = 0
        self.earliest: float = _NEVER
        """The earliest moment at which something may be due, or infinity."""

    def __len__(self) -> int:
        return len(self._heap) - self._dead

    def set(self, when: float, due: Due, run_id: str, step: StepState | None = None) -> Deadline:
        """Add a deadline at `when`, on the monotonic clock."""
        self._sequence = sequence = self._sequence + 1
        deadline = [when, sequence, due, run_id, step]
        heapq.heappush(self._heap, deadline)
        if when < self.earliest:  # noqa: PLR1730 - called for every attempt; `min` takes longer
            self.earliest = when
        return deadline

    def cancel(self, deadline: Deadline) -> None:
        """Cancel a deadline; does nothing if it was cancelled before, or has passed."""
        if deadline[2] is not None:
            # The heap may outlive the run: keep the entry, not the objects it refers to.
            deadline[2] = deadline[4] = None
            self._dead = dead = self._dead + 1
            if dead > _COMPACT_ABOVE and dead * 2 > len(self._heap):
                self._compact()

    def pop_due(self, now: float) -> tuple[Due, str, StepState | None] | None:
        """Remove and return the earliest deadline that is due at `now`, or return None."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            deadline = heapq.heappop(heap)
            _, _, due, run_id, step = deadline
            if due is not None:
                # The step keeps this list; without the reference back there is no cycle to collect.
                deadline[2] = deadline[4] = None
                return due, run_id, step
            self._dead -= 1
        self.earliest = heap[0][0] if heap else _NEVER
        return None

    def _compact(self) -> None:
        self._heap = [deadline for deadline in self._heap if deadline[2] is not None]
        heapq.heapify(self._heap)
        self._dead = 0
