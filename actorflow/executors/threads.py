"""The executor for plain functions, on threads.

The standard thread pool does not fit, because its threads cannot be given up. One hanging step
would occupy a worker for ever, and both the shutdown and the interpreter's exit would wait for it.
Here a hanging thread is left behind (`abandon`) and counted against a limit, and another thread
takes its place.

There is no other limit on threads, because none is needed: an async step holds a worker and a sync
step its run's lane, so the orchestrator's limits apply here too. Threads that are idle for a while
end.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any, Final

from actorflow.errors.running import TooManyAbandoned
from actorflow.executors.bodies import not_begun, outcome
from actorflow.executors.stacks import stack_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorflow.model.context import Attempt
    from actorflow.model.protocols import Report

__all__ = ["ThreadExecutor"]

_IDLE_SECONDS: Final = 10.0


class ThreadExecutor:
    """Runs plain functions on its own threads.

    Args:
        max_abandoned: The maximum number of abandoned threads. When it is reached, a new attempt
            fails with `TooManyAbandoned` until one of them returns.
        idle: Seconds after which an idle thread ends.
    """

    preemptive = False

    def __init__(self, *, max_abandoned: int = 100, idle: float = _IDLE_SECONDS) -> None:
        self._max_abandoned = max_abandoned
        self._idle_seconds = idle
        self._jobs: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._idle = 0
        """The number of idle threads; guarded by the lock, like what follows."""
        # The thread of each attempt; None while it waits for one. Removing an attempt under the
        # lock, by its thread or by `abandon`, decides how the attempt ends.
        self._lock = threading.Lock()
        self._running: dict[Attempt, threading.Thread | None] = {}
        self._abandoned: dict[Attempt, threading.Thread] = {}
        self._threads: dict[threading.Thread, None] = {}
        self._started = 0

    @property
    def abandoned(self) -> int:
        """The number of abandoned threads that still hang."""
        return len(self._abandoned)

    def attempt_here(self) -> Attempt | None:
        """Return the attempt that runs on the calling thread, unless it was abandoned."""
        thread = threading.current_thread()
        with self._lock:
            # A copy, because `submit` adds items without the lock.
            running = (
                one for one, its_thread in self._running.copy().items() if its_thread is thread
            )
            return next(running, None)

    def open(self, report: Report) -> None:
        """Prepare; `report` is called on the executor's threads."""
        self._report = report

    def submit(self, attempt: Attempt) -> None:
        """Run an attempt on an idle thread or a new one."""
        if len(self._abandoned) >= self._max_abandoned:
            error = TooManyAbandoned(attempt.step_id, len(self._abandoned), self._max_abandoned)
            self._report(attempt, None, error)
            return
        # Each waiting job has claimed an idle thread or gets a new one.
        if not self._take_idle():
            try:
                self._add_thread()
            except RuntimeError as error:  # the system cannot create more threads
                self._report(attempt, None, error)
                return
        self._running[attempt] = None
        self._jobs.put(attempt)

    def stop(self, attempt: Attempt) -> None:
        """Do nothing: the body may check `ctx.cancelled`."""

    def abandon(self, attempt: Attempt) -> str:
        """Leave a thread behind, and return its stack."""
        with self._lock:
            thread = self._running.pop(attempt, None)
            if thread is None:
                return ""
            self._abandoned[attempt] = thread
        return stack_of(thread.ident)

    def close(self) -> Sequence[Attempt]:
        """End the threads, wait for the idle ones, and return the attempts that still run."""
        with self._lock:
            # An attempt that has not ended by now is treated as abandoned.
            running = {one: thread for one, thread in self._running.copy().items() if thread}
            self._abandoned.update(running)
            self._running.clear()
        hanging = set(self._abandoned.values())
        threads = [thread for thread in list(self._threads) if thread not in hanging]
        for _ in threads:
            self._jobs.put(None)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join()
        return list(self._abandoned)

    def _take_idle(self) -> bool:
        with self._lock:
            if not self._idle:
                return False
            self._idle -= 1
            return True

    # ── Threads ──────────────────────────────────────────────────────────────────────────────

    def _add_thread(self) -> None:
        self._started += 1
        # A daemon thread, so that a hanging step cannot keep the interpreter from exiting; `close`
        # joins the others.
        thread = threading.Thread(
            target=self._work, name=f"actorflow-step-{self._started}", daemon=True
        )
        thread.start()
        self._threads[thread] = None

    def _work(self) -> None:
        thread = threading.current_thread()
        try:
            while (attempt := self._next()) is not None:
                if not self._run(attempt, thread):
                    return  # another thread has taken this one's place
                del attempt  # an idle thread must not keep its last step's objects alive
        finally:
            self._threads.pop(thread, None)

    def _next(self) -> Attempt | None:
        while True:
            try:
                return self._jobs.get(timeout=self._idle_seconds)
            except queue.Empty:
                # If no thread is counted as idle, a job for this one is on its way.
                if self._take_idle():
                    return None

    def _run(self, attempt: Attempt, thread: threading.Thread) -> bool:
        with self._lock:
            if attempt not in self._running:
                self._idle += 1
                return True  # abandoned before it started
            self._running[attempt] = thread
        output, error = _outcome(attempt)
        with self._lock:
            if self._running.pop(attempt, None) is None:
                del self._abandoned[attempt]
                return False
            # Before reporting, because the report may submit this thread's next job.
            self._idle += 1
        self._report(attempt, output, error)
        return True


def _outcome(attempt: Attempt) -> tuple[Any, BaseException | None]:
    if attempt.cancelled:
        return None, not_begun(attempt)
    try:
        output = attempt.variables.run(attempt.function, **attempt.arguments)
    except BaseException as error:  # noqa: BLE001 - any error fails the attempt
        return None, error
    return outcome(attempt, output)
