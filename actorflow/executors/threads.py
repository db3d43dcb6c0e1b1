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

import contextlib
import queue
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from actorflow.errors.running import TooManyAbandoned
from actorflow.executors.bodies import not_begun, outcome
from actorflow.executors.stacks import stack_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorflow.model.context import Attempt
    from actorflow.model.protocols import Report

__all__ = ["ThreadExecutor"]

_IDLE_SECONDS: Final = 10.0
_TAKEN: Final = object()


class _Worker(threading.Thread):
    """A thread that runs attempts.

    A daemon thread, so that a hanging step cannot keep the interpreter from exiting; `close` joins
    the others.
    """

    def __init__(self, work: Callable[[_Worker], None], name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._runs = work
        self.attempt: Attempt | None = None
        """The attempt that it runs."""

    def run(self) -> None:
        """Work until there is nothing to do for a while."""
        self._runs(self)


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
        # No locks: each of these is changed by single operations, which no other thread can
        # interrupt. A lock costs a handover between threads whenever it is held elsewhere.
        self._idle: deque[None] = deque()
        """One entry for each idle thread; a job that is waiting has taken one out."""
        self._waiting: dict[Attempt, None] = {}
        """The attempts that no thread has begun. Who takes one out, its thread or `abandon`,
        decides whether it begins."""
        self._running: dict[Attempt, _Worker] = {}
        """The thread of each attempt that has begun. Who takes one out, its thread or `abandon`,
        decides how it ends."""
        self._abandoned: dict[Attempt, _Worker] = {}
        self._threads: dict[_Worker, None] = {}
        self._started = 0

    @property
    def abandoned(self) -> int:
        """The number of abandoned threads that still hang."""
        return len(self._abandoned)

    def attempt_here(self) -> Attempt | None:
        """Return the attempt that runs on the calling thread, unless it was abandoned."""
        thread = threading.current_thread()
        attempt = thread.attempt if isinstance(thread, _Worker) else None
        return attempt if attempt in self._running else None

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
        self._waiting[attempt] = None
        self._jobs.put(attempt)

    def stop(self, attempt: Attempt) -> None:
        """Do nothing: the body may check `ctx.cancelled`."""

    def abandon(self, attempt: Attempt) -> str:
        """Leave a thread behind, and return its stack."""
        if self._waiting.pop(attempt, _TAKEN) is not _TAKEN:
            return ""  # it never begins
        thread = self._running.get(attempt)
        if thread is None:
            return ""  # it has ended
        # In this order: a thread that finds its attempt taken out also finds it here.
        self._abandoned[attempt] = thread
        if self._running.pop(attempt, None) is None:
            del self._abandoned[attempt]  # it has ended in between
            return ""
        return stack_of(thread.ident)

    def close(self) -> Sequence[Attempt]:
        """End the threads, wait for the idle ones, and return the attempts that still run."""
        never_begin = set()
        while self._waiting:
            with contextlib.suppress(KeyError):  # its thread took out the last one
                never_begin.add(self._waiting.popitem()[0])
        # An attempt that has not ended by now is treated as abandoned. One that was just taken out
        # above may be among the running ones until its thread finds that.
        for attempt in list(self._running):
            if attempt not in never_begin:
                self.abandon(attempt)
        hanging = set(self._abandoned.values())
        threads = [thread for thread in list(self._threads) if thread not in hanging]
        for _ in threads:
            self._jobs.put(None)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join()
        return list(self._abandoned)

    def _take_idle(self) -> bool:
        try:
            self._idle.pop()
        except IndexError:
            return False
        return True

    # ── Threads ──────────────────────────────────────────────────────────────────────────────

    def _add_thread(self) -> None:
        self._started += 1
        thread = _Worker(self._work, f"actorflow-step-{self._started}")
        thread.start()
        self._threads[thread] = None

    def _work(self, thread: _Worker) -> None:
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

    def _run(self, attempt: Attempt, thread: _Worker) -> bool:
        running = self._running
        running[attempt] = thread  # before it is taken out, so that `abandon` finds it in one
        if self._waiting.pop(attempt, _TAKEN) is _TAKEN:
            del running[attempt]  # abandoned before it began
            self._idle.append(None)
            return True
        thread.attempt = attempt
        output, error = _outcome(attempt)
        thread.attempt = None
        if running.pop(attempt, None) is None:
            self._abandoned.pop(attempt, None)
            return False
        # Before reporting, because the report may submit this thread's next job.
        self._idle.append(None)
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
