"""How many runs may be accepted at once: a door with a bounded number of places."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeAlias

from actorflow.errors.definition import OrchestratorClosed
from actorflow.errors.running import Overloaded
from actorflow.support.oneshot import Once

__all__ = ["Admission", "Ticket", "Waiting"]

Ticket: TypeAlias = "Once[None]"
"""What somebody holds who wants in, or is in; set when he has a place."""

Waiting: TypeAlias = Callable[[Callable[[], bool]], contextlib.AbstractContextManager[None]]
"""Called with a function that says whether the wait still lasts."""


def _minded_by_nobody(_lasts: Callable[[], bool]) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


class Admission:
    """Places for accepted runs, handed on in the order in which they were asked for.

    A place belongs to a ticket. Whoever enters and is interrupted leaves with the same ticket,
    without knowing how far he had come: leaving is right at any moment, and twice.

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
        self._taken: set[Ticket] = set()
        self._waiting: OrderedDict[Ticket, None] = OrderedDict()
        self._closed = False

    @property
    def free(self) -> int:
        """How many places are free."""
        return self._max_active + self._max_queued - len(self._taken)

    def ticket(self) -> Ticket:
        """Return a ticket to enter with, and to leave with if that raises."""
        return Once()

    def enter(
        self, ticket: Ticket, *, may_block: bool = True, waiting: Waiting = _minded_by_nobody
    ) -> None:
        """Take a place; block until there is one, or raise, as the settings and the caller say.

        Args:
            ticket: What the place belongs to.
            may_block: Whether the caller may be blocked.
            waiting: Entered while it is; it may raise instead.

        Raises:
            Overloaded: When there is none, and blocking is not wanted.
            OrchestratorClosed: When there will be none any more.
        """
        self._ask(ticket, may_wait=may_block and not self._rejects)
        if not ticket.done:
            with waiting(lambda: not ticket.done):
                ticket.result()
        ticket.result()

    async def enter_async(self, ticket: Ticket, *, waiting: Waiting = _minded_by_nobody) -> None:
        """Take a place; wait until there is one, or raise, as the settings say.

        Args:
            ticket: What the place belongs to.
            waiting: Entered while it waits; it may raise instead.

        Raises:
            Overloaded: When there is none, and waiting is not wanted.
            OrchestratorClosed: When there will be none any more.
        """
        self._ask(ticket, may_wait=not self._rejects)
        if not ticket.done:
            with waiting(lambda: not ticket.done):
                await ticket.result_async()
        ticket.result()

    def leave(self, ticket: Ticket) -> None:
        """Give a ticket's place back, to whoever has waited longest, or let it leave the line."""
        with self._lock:
            self._waiting.pop(ticket, None)
            self._taken.discard(ticket)
            self._let_in()

    def close(self) -> None:
        """Turn everybody away, also those who wait already."""
        with self._lock:
            self._closed = True
            while self._waiting:
                ticket = next(iter(self._waiting))
                ticket.fail(OrchestratorClosed("start a run"))
                self._waiting.pop(ticket, None)

    def _ask(self, ticket: Ticket, *, may_wait: bool) -> None:
        with self._lock:
            if self._closed:
                raise OrchestratorClosed("start a run")
            if not self.free and not may_wait:
                # Every place is taken: the active ones, and those in the queue.
                most = self._max_active, self._max_queued
                raise Overloaded(*most, *most)
            self._waiting[ticket] = None
            self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self.free:
            # Taken out last: whoever is interrupted here leaves, and does all of it again.
            ticket = next(iter(self._waiting))
            self._taken.add(ticket)
            ticket.set(None)
            self._waiting.pop(ticket, None)
