"""How many runs may be accepted at once: a door with a bounded number of places."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
from collections import deque
from collections.abc import Callable

from actorflow.errors import OrchestratorClosed, Overloaded

__all__ = ["Admission", "Waiting"]

Waiting = Callable[[Callable[[], bool]], contextlib.AbstractContextManager[None]]
"""Called with a function that says whether the wait still lasts."""


def _minded_by_nobody(_lasts: Callable[[], bool]) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


class Admission:
    """Places for accepted runs, handed on in the order in which they were asked for.

    Args:
        max_active: How many accepted runs may be in progress.
        max_queued: How many more may wait for that.
        rejects: Whether to turn away whoever finds no place, rather than let them wait.
    """

    def __init__(self, max_active: int, max_queued: int, *, rejects: bool = False) -> None:
        self._rejects = rejects
        # Entered again by a signal handler that shuts down at just that moment.
        self._lock = threading.RLock()
        self._max_active = max_active
        self._max_queued = max_queued
        self._free = max_active + max_queued
        self._waiting: deque[concurrent.futures.Future[None]] = deque()
        self._closed = False

    def enter(self, *, may_block: bool = True, waiting: Waiting = _minded_by_nobody) -> None:
        """Take a place; block until there is one, or raise, as the settings and the caller say.

        Args:
            may_block: Whether the caller may be blocked.
            waiting: Entered while it is; it may raise instead.

        Raises:
            Overloaded: When there is none, and blocking is not wanted.
            OrchestratorClosed: When there will be none any more.
        """
        if self._rejects or not may_block:
            self._enter_or_raise()
            return
        ticket = self._ask()
        if ticket.done():
            ticket.result()
            return
        try:
            with waiting(lambda: not ticket.done()):
                ticket.result()
        except BaseException:
            self._leave_line(ticket)
            raise

    async def enter_async(self, waiting: Waiting = _minded_by_nobody) -> None:
        """Take a place; wait until there is one, or raise, as the settings say.

        Args:
            waiting: Entered while it waits; it may raise instead.

        Raises:
            Overloaded: When there is none, and waiting is not wanted.
            OrchestratorClosed: When there will be none any more.
        """
        if self._rejects:
            self._enter_or_raise()
            return
        ticket = self._ask()
        if ticket.done():
            ticket.result()
            return
        import asyncio  # noqa: PLC0415 - whoever awaits has it loaded

        try:
            with waiting(lambda: not ticket.done()):
                await asyncio.wrap_future(ticket)
        except BaseException:
            self._leave_line(ticket)
            raise

    def _enter_or_raise(self) -> None:
        with self._lock:
            self._check_open()
            if self._free:
                self._free -= 1
                return
        # Every place is taken: the active ones, and those in the queue.
        raise Overloaded(self._max_active, self._max_queued, self._max_active, self._max_queued)

    def leave(self) -> None:
        """Give a place back: to whoever has waited longest, or to the next to come."""
        with self._lock:
            while self._waiting:
                ticket = self._waiting.popleft()
                if ticket.set_running_or_notify_cancel():
                    ticket.set_result(None)
                    return
            self._free += 1

    def close(self) -> None:
        """Turn everybody away, also those who wait already."""
        with self._lock:
            self._closed = True
            waiting, self._waiting = self._waiting, deque()
        for ticket in waiting:
            if ticket.set_running_or_notify_cancel():
                ticket.set_exception(OrchestratorClosed("start a run"))

    def _ask(self) -> concurrent.futures.Future[None]:
        ticket: concurrent.futures.Future[None] = concurrent.futures.Future()
        with self._lock:
            self._check_open()
            if self._free:
                self._free -= 1
                ticket.set_running_or_notify_cancel()
                ticket.set_result(None)
            else:
                self._waiting.append(ticket)
        return ticket

    def _leave_line(self, ticket: concurrent.futures.Future[None]) -> None:
        """Undo an interrupted wait, also when the place has come in the same instant."""
        if not ticket.cancel() and not ticket.cancelled() and ticket.exception() is None:
            self.leave()

    def _check_open(self) -> None:
        if self._closed:
            raise OrchestratorClosed("start a run")
