"""A watchdog for coroutine steps that block the event loop.

While a body blocks the loop, nothing on the loop can report it, neither the supervisor nor a timer.
A separate thread therefore compares successive observations: a body that was entered once and has
not been left since is blocking. It is logged at once, and the supervisor is told when the loop
runs again.
"""

from __future__ import annotations

import contextlib
import math
import threading
from typing import TYPE_CHECKING, Final

from actorflow.errors.definition import OrchestratorClosed
from actorflow.executors.stacks import stack_of
from actorflow.support.logs import get_logger
from actorflow.support.oneshot import Once

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.executors.coroutines import CoroutineExecutor
    from actorflow.model.context import Attempt
    from actorflow.model.protocols import Clock

__all__ = ["Watchdog"]

_OBSERVATIONS: Final = 3
"""Observations before a body is reported; the first may come just after the body was entered."""


class Watchdog:
    """Watches one coroutine executor from a separate thread.

    Args:
        executor: The executor whose bodies are watched.
        clock: Measures how long a body has blocked.
        report: Called on the watchdog's thread with the attempt, the seconds since the body was
            first observed, and its stack; once for each time that a body blocks.
        threshold: Seconds for which a body may block the loop before it is reported.
    """

    def __init__(
        self,
        executor: CoroutineExecutor,
        clock: Clock,
        report: Callable[[Attempt, float, str], None],
        threshold: float,
    ) -> None:
        self._executor = executor
        self._clock = clock
        self._report = report
        self._threshold = threshold
        self._seen: Attempt | None = None
        self._seen_leg = -1
        self._seen_at = 0.0
        self._reported_leg = -1
        self._closed: Once[None] = Once()
        self._loop_thread = 0
        self._thread = threading.Thread(target=self._watch, name="actorflow-watchdog", daemon=True)

    def start(self, loop_thread: int) -> None:
        """Start watching the thread with this identifier; no-op with an infinite threshold."""
        self._loop_thread = loop_thread
        if math.isfinite(self._threshold):
            self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._closed.set(None)
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        while not self._closed.wait(self._threshold / _OBSERVATIONS):
            self.look()

    def look(self) -> None:
        """Make one observation."""
        # In this order, because the executor increments `legs` before it sets `current`.
        attempt = self._executor.running()
        leg = self._executor.legs
        if attempt is None or leg != self._seen_leg or attempt is not self._seen:
            self._seen, self._seen_leg, self._seen_at = attempt, leg, self._clock.now()
            if attempt is not None:
                self._executor.probe()
            return
        seconds = self._clock.now() - self._seen_at
        if seconds >= self._threshold and leg != self._reported_leg:
            self._reported_leg = leg
            self._report_blocking(attempt, seconds)

    def _report_blocking(self, attempt: Attempt, seconds: float) -> None:
        stack = stack_of(self._loop_thread)
        with contextlib.suppress(BaseException):  # a failing log must not stop the watchdog
            self._log(attempt, seconds, stack)
        with contextlib.suppress(OrchestratorClosed):  # too late to report it
            self._report(attempt, seconds, stack)

    def _log(self, attempt: Attempt, seconds: float, stack: str) -> None:
        get_logger(run_id=attempt.scope.run_id, **attempt.scope.bindings()).warning(
            "compensation.blocking" if attempt.compensates else "step.blocking",
            step_id=attempt.step_id,
            attempt=attempt.number,
            seconds=round(seconds, 3),
            stack=stack,
            cure="await what blocks, or make the step a plain function: those run on threads",
        )
