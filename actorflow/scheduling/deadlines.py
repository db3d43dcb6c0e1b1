"""When what is due: a heap of moments that can be cancelled.

Actor wakeups cannot be cancelled, and most deadlines never come: ten thousand quick steps a
second with a timeout of thirty seconds each would leave 300,000 of them waiting. So the
supervisor keeps its deadlines here, cancels them in constant time, and asks for one wakeup at
a time.
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
    """What a deadline means for its step or run."""

    ATTEMPT = "attempt"
    TOTAL = "total"
    BACKOFF = "backoff"
    GRACE = "grace"
    RUN = "run"
    CUT = "cut"


Deadline: TypeAlias = list[Any]
"""When, a sequence number, what is due (None when cancelled), the run's id, the step or None.

A bare list, because one is made for every attempt with a timeout: it sorts by itself in C, and
costs a quarter of an object.
"""


class Deadlines:
    """The deadlines that are still to come."""

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
        """Forget a deadline; cancelling twice, or after it was due, does nothing."""
        if deadline[2] is not None:
            # The heap may outlive the run: keep the entry, not what it refers to.
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
                # Its step keeps it, and would wait for the garbage collector with it.
                deadline[2] = deadline[4] = None
                return due, run_id, step
            self._dead -= 1
        self.earliest = heap[0][0] if heap else _NEVER
        return None

    def _compact(self) -> None:
        self._heap = [deadline for deadline in self._heap if deadline[2] is not None]
        heapq.heapify(self._heap)
        self._dead = 0
