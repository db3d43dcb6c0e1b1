"""The machine's clock: the only place that reads the time."""

from __future__ import annotations

import time
from typing import Final

__all__ = ["SystemClock"]

_CHECK_EVERY: Final = 1.0
_TOLERANCE: Final = 1.0


class SystemClock:
    """Monotonic time, and the wall time that belongs to it.

    Wall time is derived from monotonic time, so that the times of one run agree with its durations
    even while the machine's wall clock is slewed. When the two differ by more than a second (the
    clock was set, or the machine slept), wall time jumps.
    """

    def __init__(self) -> None:
        self._offset = 0.0
        self._check(time.monotonic())

    now: Final = staticmethod(time.monotonic)
    """Return monotonic seconds, on the same scale as asyncio's loops."""

    def wall(self, now: float) -> float:
        """Return the moment `now` in seconds since the epoch."""
        if now - self._checked > _CHECK_EVERY:
            self._check(now)
        return now + self._offset

    def _check(self, now: float) -> None:
        offset = time.time() - time.monotonic()
        if abs(offset - self._offset) > _TOLERANCE:
            self._offset = offset
        self._checked = now  # last, because other threads read it first
