"""Plain functions, on threads.

The standard pool does not fit: its threads cannot be given up. One hanging step would occupy a
worker for good, shutting down would wait for it, and so would the interpreter's exit. Here a
hanging thread is left behind (`abandon`): it is counted, it may not become one of too many, and
another thread takes its place.

There is no limit on threads beside that one, because there need be none: an async step holds a
lease, a sync step its run's lane, so the orchestrator's own bounds hold here too. Threads that
have nothing to do for a while go away.
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
    """Runs plain functions on threads of its own.

    Args:
        max_abandoned: How many abandoned threads may hang at once. When there are as many,
            a new attempt fails with `TooManyAbandoned` until one of them returns.
        idle: Seconds after which a thread that has nothing to do ends.
    """

    preemptive = False

    def __init__(self, *, max_abandoned: int = 100, idle: float = _IDLE_SECONDS) -> None:
        self._max_abandoned = max_abandoned
        self._idle_seconds = idle
        self._jobs: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._idle = 0
        """How many threads have nothing to do; guarded by the lock, like what follows."""
        # Which thread runs what; None while an attempt waits for one. Whoever takes an attempt
        # out of here under the lock, its thread or `abandon`, decides what becomes of it.
        self._lock = threading.Lock()
        self._running: dict[Attempt, threading.Thread | None] = {}
        self._abandoned: dict[Attempt, threading.Thread] = {}
        self._threads: dict[threading.Thread, None] = {}
        self._started = 0

    @property
    def abandoned(self) -> int:
        """How many abandoned threads still hang."""
        return len(self._abandoned)

    def attempt_here(self) -> Attempt | None:
        """Return the attempt that the calling thread runs, unless it was abandoned."""
        thread = threading.current_thread()
        with self._lock:
            # A copy, for `submit` adds to it without the lock.
            running = (one for one, its in self._running.copy().items() if its is thread)
            return next(running, None)

    def open(self, report: Report) -> None:
        """Get ready; `report` is called on the threads."""
        self._report = report

    def submit(self, attempt: Attempt) -> None:
        """Run an attempt on an idle thread, or on a new one."""
        if len(self._abandoned) >= self._max_abandoned:
            error = TooManyAbandoned(attempt.step_id, len(self._abandoned), self._max_abandoned)
            self._report(attempt, None, error)
            return
        # Each waiting job has taken one of the idle threads, or has a thread made for it.
        if not self._take_idle():
            try:
                self._add_thread()
            except RuntimeError as error:  # the machine has no more threads to give
                self._report(attempt, None, error)
                return
        self._running[attempt] = None
        self._jobs.put(attempt)

    def stop(self, attempt: Attempt) -> None:
        """Do nothing more: a thread sees `ctx.cancelled`, or it does not."""

    def abandon(self, attempt: Attempt) -> str:
        """Leave a thread behind, and return where it hangs."""
        with self._lock:
            thread = self._running.pop(attempt, None)
            if thread is None:
                return ""
            self._abandoned[attempt] = thread
        return stack_of(thread.ident)

    def close(self) -> Sequence[Attempt]:
        """End the threads, wait for those that are idle, and return what still runs."""
        with self._lock:
            # What has not been stopped by now hangs like what was abandoned before.
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
        # A daemon, so that a hanging step cannot keep the interpreter from exiting; the others
        # are joined by `close`.
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
                del attempt  # an idle thread keeps nothing of its last step alive
        finally:
            self._threads.pop(thread, None)

    def _next(self) -> Attempt | None:
        while True:
            try:
                return self._jobs.get(timeout=self._idle_seconds)
            except queue.Empty:
                # If no thread is idle, there is a job on its way to this one.
                if self._take_idle():
                    return None

    def _run(self, attempt: Attempt, thread: threading.Thread) -> bool:
        with self._lock:
            if attempt not in self._running:
                self._idle += 1
                return True  # given up before it began
            self._running[attempt] = thread
        output, error = _outcome(attempt)
        with self._lock:
            if self._running.pop(attempt, None) is None:
                del self._abandoned[attempt]
                return False
            # Before it reports: what the report sets off may well be this thread's next job.
            self._idle += 1
        self._report(attempt, output, error)
        return True


def _outcome(attempt: Attempt) -> tuple[Any, BaseException | None]:
    if attempt.cancelled:
        return None, not_begun(attempt)
    try:
        output = attempt.variables.run(attempt.function, **attempt.arguments)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the attempt failed
        return None, error
    return outcome(attempt, output)
