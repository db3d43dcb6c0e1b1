"""When what is due: a heap of moments that can be cancelled.

Actor wakeups cannot be cancelled, and most deadlines never come: ten thousand quick steps a
second with a timeout of thirty seconds each would leave 300,000 of them waiting. So the
supervisor keeps its deadlines here, cancels them in constant time, and asks for one wakeup at
a time.
"""

from __future__ import annotations

import enum
import heapq
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from actorflow.actors.ledger import StepState
    from actorflow.context import Attempt

__all__ = ["Deadline", "Deadlines", "Due"]

_COMPACT_ABOVE: Final = 64


class Due(enum.Enum):
    """What a deadline means for its step or run."""

    ATTEMPT = "attempt"
    TOTAL = "total"
    BACKOFF = "backoff"
    GRACE = "grace"
    RUN = "run"


class Deadline:
    """A moment, and what is due then. Ordered by time, then by the order of setting."""

    __slots__ = ("attempt", "due", "live", "run_id", "sequence", "step", "when")

    def __init__(
        self,
        when: float,
        due: Due,
        run_id: str,
        step: StepState | None,
        attempt: Attempt | None,
        sequence: int,
    ) -> None:
        self.when = when
        self.due = due
        self.run_id = run_id
        self.step = step
        self.attempt = attempt
        self.sequence = sequence
        self.live = True


class Deadlines:
    """The deadlines that are still to come."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Deadline]] = []
        self._sequence = 0
        self._dead = 0

    def __len__(self) -> int:
        return len(self._heap) - self._dead

    def set(
        self,
        when: float,
        due: Due,
        run_id: str,
        step: StepState | None = None,
        attempt: Attempt | None = None,
    ) -> Deadline:
        """Add a deadline at `when`, on the monotonic clock."""
        self._sequence = sequence = self._sequence + 1
        deadline = Deadline(when, due, run_id, step, attempt, sequence)
        heapq.heappush(self._heap, (when, sequence, deadline))
        return deadline

    def cancel(self, deadline: Deadline) -> None:
        """Forget a deadline; cancelling twice, or after it was due, does nothing."""
        if deadline.live:
            deadline.live = False
            # The heap may outlive the run: keep the entry, not what it refers to.
            deadline.step = deadline.attempt = None
            self._dead = dead = self._dead + 1
            if dead > _COMPACT_ABOVE and dead * 2 > len(self._heap):
                self._compact()

    def next(self) -> float | None:
        """Return the earliest moment at which something is due, or None."""
        heap = self._heap
        while heap and not heap[0][2].live:
            heapq.heappop(heap)
            self._dead -= 1
        return heap[0][0] if heap else None

    def pop_due(self, now: float) -> list[Deadline]:
        """Remove and return what is due at `now`, the earliest first."""
        due: list[Deadline] = []
        while (when := self.next()) is not None and when <= now:
            deadline = heapq.heappop(self._heap)[2]
            deadline.live = False
            due.append(deadline)
        return due

    def _compact(self) -> None:
        self._heap = [entry for entry in self._heap if entry[2].live]
        heapq.heapify(self._heap)
        self._dead = 0
