"""An executor on any `concurrent.futures.Executor`, such as a pool that the program has already."""

from __future__ import annotations

import concurrent.futures
import functools
import sys
import threading
from typing import TYPE_CHECKING, Any

from actorflow.executors.bodies import not_begun, outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorflow.model.context import Attempt
    from actorflow.model.protocols import Report

__all__ = ["FuturesExecutor"]


def _is_of_processes(pool: concurrent.futures.Executor) -> bool:
    # Its module loads multiprocessing, and is loaded if there is such a pool.
    module = sys.modules.get("concurrent.futures.process")
    return module is not None and isinstance(pool, module.ProcessPoolExecutor)


class FuturesExecutor:
    """Runs plain functions on a pool that belongs to the caller, who also shuts it down.

    The limits of pools apply: a body that has started cannot be stopped, and an abandoned body
    occupies its worker until it returns. Context variables are passed to a `ThreadPoolExecutor`;
    they cannot be sent to another process.

    Args:
        pool: The pool. It should have at least as many workers as steps that use it at once; the
            time that an attempt waits for a worker counts as the attempt's.
    """

    preemptive = False

    def __init__(self, pool: concurrent.futures.Executor) -> None:
        self._pool = pool
        self._same_process = isinstance(pool, concurrent.futures.ThreadPoolExecutor)
        self.takes_context: bool = not _is_of_processes(pool)
        """Whether a function can be given its `StepContext`, which cannot be pickled."""
        self._lock = threading.Lock()
        self._running: dict[Attempt, None] = {}
        self._abandoned: dict[Attempt, None] = {}

    def refusal(self, function: Callable[..., Any]) -> Exception | None:
        """Return the error with which a function cannot be sent to the pool's workers, or None."""
        if not self.takes_context:
            # The pool has loaded this already.
            from multiprocessing.reduction import ForkingPickler  # noqa: PLC0415

            try:
                ForkingPickler.dumps(function)
            except Exception as error:  # noqa: BLE001 - pickling runs code of the function's owner
                return error
        return None

    def open(self, report: Report) -> None:
        """Prepare; `report` is called on a thread of the pool."""
        self._report = report

    def submit(self, attempt: Attempt) -> None:
        """Submit an attempt to the pool."""
        if attempt.cancelled:
            self._report(attempt, None, not_begun(attempt))
            return
        self._running[attempt] = None
        try:
            attempt.handle = self._pool.submit(self._body(attempt), **attempt.arguments)
        except BaseException as error:  # noqa: BLE001 - the pool is shut down or broken
            self._end(attempt, None, error)
        else:
            attempt.handle.add_done_callback(functools.partial(self._done, attempt))

    def _body(self, attempt: Attempt) -> Callable[..., Any]:
        if self._same_process:
            return functools.partial(attempt.variables.run, attempt.function)
        return attempt.function

    def stop(self, attempt: Attempt) -> None:
        """Withdraw an attempt that no worker has started."""
        if attempt.handle is not None:
            attempt.handle.cancel()

    def abandon(self, attempt: Attempt) -> str:
        """Stop waiting for an attempt; return an empty string, because its stack is unknown."""
        with self._lock:
            if attempt in self._running:
                del self._running[attempt]
                self._abandoned[attempt] = None
        return ""

    def close(self) -> Sequence[Attempt]:
        """Return the abandoned attempts that the pool still runs."""
        return list(self._abandoned)

    def _done(self, attempt: Attempt, future: concurrent.futures.Future[Any]) -> None:
        try:
            output, error = outcome(attempt, future.result())
        except BaseException as raised:  # noqa: BLE001 - any error fails the attempt
            output, error = None, raised
        self._end(attempt, output, error)

    def _end(self, attempt: Attempt, output: object, error: BaseException | None) -> None:
        with self._lock:
            if attempt in self._abandoned:
                del self._abandoned[attempt]
                return
            self._running.pop(attempt, None)
        self._report(attempt, output, error)
