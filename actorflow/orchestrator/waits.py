"""Waits of step bodies: for a child run or a message, while their attempts hold nothing.

The supervisor suspends an attempt when its body begins to wait, and grants it again when the wait
is over (see `actorflow.scheduling.suspensions`). This module is what the body sees of that: it
returns when both the awaited value is there and the attempt has been granted again.

A coroutine may wait for several values at once, in tasks of its own. Its attempt is suspended when
the first of these waits begins, and competes again when the last one is over. Until then the
others return without a grant: the attempt must not hold a worker that an awaited child needs.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

from actorflow.errors.running import StepCancelled
from actorflow.model.messages import SuspendAttempt, WakeAttempt
from actorflow.support.oneshot import Once, first_of, wait_for_first

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.model.context import Attempt

__all__ = ["Waits"]

_T = TypeVar("_T")


class _Wait:
    """The waits of one attempt."""

    __slots__ = ("count", "granted", "reason", "stopped")

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.count = 0
        """How many values its body waits for."""
        self.granted: Once[None] = Once()
        """Resolved when the attempt continues."""
        self.stopped: Once[None] = Once()
        """Resolved when the attempt must stop, or has ended."""


class Waits:
    """The waits of the bodies of one orchestrator.

    Args:
        tell: Sends a message to the supervisor, from any thread; messages keep their order.
    """

    def __init__(self, tell: Callable[[object], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._waits: dict[Attempt, _Wait] = {}

    def wait(self, attempt: Attempt, value: Once[_T], reason: str) -> _T:
        """Block the body's thread until a value is there, and the attempt continues.

        Args:
            attempt: The attempt whose body waits.
            value: The awaited value.
            reason: What it waits for, for the event `step.suspended`.

        Raises:
            StepCancelled: When the attempt has to stop.
            BaseException: The error that takes the place of the value.
        """
        if not value.done and not attempt.compensates:
            known = self._begin(attempt, reason)
            try:
                wait_for_first(value, known.stopped)
            finally:
                if self._end(attempt, known):
                    wait_for_first(known.granted, known.stopped)
        _check(attempt)
        return value.result()

    async def wait_async(self, attempt: Attempt, value: Once[_T], reason: str) -> _T:
        """Do what `wait` does without blocking the event loop.

        A cancellation of the wait alone, such as by `asyncio.timeout`, takes effect when the
        attempt continues.
        """
        if not value.done and not attempt.compensates:
            known = self._begin(attempt, reason)
            try:
                await first_of(value, known.stopped)
            finally:
                if self._end(attempt, known):
                    await first_of(known.granted, known.stopped)
        _check(attempt)
        return await value.result_async()

    def moved(self, attempt: Attempt) -> None:
        """Let the body of an attempt go on that continues or has to stop; on the loop."""
        with self._lock:
            known = self._waits.get(attempt)
            if known is None:
                return
            granted = known.granted
            again = known.count and not attempt.cancelled
            if again:  # a wait began while the attempt competed
                known.granted = Once()
            else:
                del self._waits[attempt]
        if again:
            self._tell(SuspendAttempt(attempt, known.reason))
        (known.stopped if attempt.cancelled else granted).set(None)

    def end(self, run_id: str | None = None) -> None:
        """End the waits that are left of a run that has ended, or of all runs."""
        if not self._waits:
            return
        with self._lock:
            left = [it for it in self._waits if run_id is None or it.scope.run_id == run_id]
            ended = [self._waits.pop(attempt) for attempt in left]
        for known in ended:
            known.stopped.set(None)

    def _begin(self, attempt: Attempt, reason: str) -> _Wait:
        _check(attempt)
        with self._lock:
            known = self._waits.get(attempt)
            first = known is None
            if known is None:
                known = self._waits[attempt] = _Wait(reason)
            known.count += 1
        if first:
            self._tell(SuspendAttempt(attempt, reason))
        return known

    def _end(self, attempt: Attempt, known: _Wait) -> bool:
        """End a wait; return whether the attempt must be granted before its body goes on."""
        with self._lock:
            known.count -= 1
            last = not known.count and self._waits.get(attempt) is known
        if last and not attempt.cancelled:
            self._tell(WakeAttempt(attempt))
            return True
        return False


def _check(attempt: Attempt) -> None:
    if attempt.cancelled:
        run_id = attempt.scope.run_id
        raise StepCancelled(run_id, attempt.step_id, "the attempt was asked to stop")
