"""Notices a coroutine step that keeps the event loop from turning.

While a body blocks the loop, nothing that lives on it can say so: not the supervisor, not a
timer. So a thread looks on. It compares two looks: the same body, entered once and not left
since, is one that blocks. The log hears of it at once, the supervisor when the loop turns again.
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

_LOOKS: Final = 3
"""Looks at the same body before it is reported; the first one may come just after it began."""


class Watchdog:
    """Watches one coroutine executor from a thread of its own.

    Args:
        executor: The executor whose bodies are watched.
        clock: Measures how long a body has blocked.
        report: Called on the watchdog's thread with the attempt, the seconds since it was first
            seen, and the stack; once for each time that a body blocks.
        threshold: Seconds for which a body may keep the loop before it is reported.
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
        self._seen_leg = -1
        self._seen_at = 0.0
        self._reported_leg = -1
        self._over: Once[None] = Once()
        self._loop_thread = 0
        self._thread = threading.Thread(target=self._watch, name="actorflow-watchdog", daemon=True)

    def start(self, loop_thread: int) -> None:
        """Begin to watch the thread with this identifier; never, with an infinite threshold."""
        self._loop_thread = loop_thread
        if math.isfinite(self._threshold):
            self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._over.set(None)
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(self._threshold / _LOOKS):
            self.look()

    def look(self) -> None:
        """Look once."""
        # In this order: the executor counts a leg before it says whose it is.
        attempt = self._executor.current
        leg = self._executor.legs
        if attempt is None or leg != self._seen_leg:
            self._seen_leg, self._seen_at = leg, self._clock.now()
            return
        seconds = self._clock.now() - self._seen_at
        if seconds >= self._threshold and leg != self._reported_leg:
            self._reported_leg = leg
            self._tell(attempt, seconds)

    def _tell(self, attempt: Attempt, seconds: float) -> None:
        stack = stack_of(self._loop_thread)
        with contextlib.suppress(BaseException):  # a log that raises must not end the watch
            self._log(attempt, seconds, stack)
        with contextlib.suppress(OrchestratorClosed):  # too late: there is nobody to tell
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
