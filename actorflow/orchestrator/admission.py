"""Admission: a bounded number of places for accepted runs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TypeAlias

from actorflow.errors.definition import OrchestratorClosed
from actorflow.errors.running import Overloaded
from actorflow.support.oneshot import Once

__all__ = ["Admission", "Ticket"]

Ticket: TypeAlias = "Once[None]"
"""A caller's claim on a place; resolved once the place is granted."""


class Admission:
    """Places for accepted runs, granted in the order in which they are requested.

    A place belongs to a ticket. A caller that is interrupted leaves with the same ticket, however
    far it got: leaving is correct at every stage, and a second time does nothing.

    Args:
        max_active: How many accepted runs may be in progress.
        max_queued: How many more may wait to be.
        rejects: Whether to reject callers that find no place instead of letting them wait.
    """

    def __init__(self, max_active: int, max_queued: int, *, rejects: bool = False) -> None:
        self._rejects = rejects
        # Reentrant, because a signal handler may shut down at this moment.
        self._lock = threading.RLock()
        self._max_active = max_active
        self._max_queued = max_queued
        self._taken: set[Ticket] = set()
        self._waiting: OrderedDict[Ticket, None] = OrderedDict()
        self._closed = False

    @property
    def free(self) -> int:
        """How many places are free."""
        return max(0, self._max_active + self._max_queued - len(self._taken))

    def ticket(self) -> Ticket:
        """Return a ticket to enter with, and to leave with if that raises."""
        return Once()

    def enter(self, ticket: Ticket, *, may_block: bool = True) -> None:
        """Take a place; block until there is one, or raise, as the settings and the caller say.

        Args:
            ticket: The claim that the place will belong to.
            may_block: Whether the caller may be blocked.

        Raises:
            Overloaded: When there is no place, and the caller does not wait.
            OrchestratorClosed: When the orchestrator is closed before there is one.
        """
        if self._ask(ticket, may_wait=may_block and not self._rejects):
            return
        if not ticket.done:
            ticket.result()
        ticket.result()

    async def enter_async(self, ticket: Ticket) -> None:
        """Take a place; wait until there is one, or raise, as the settings say.

        Args:
            ticket: The claim that the place will belong to.

        Raises:
            Overloaded: When there is no place, and the caller does not wait.
            OrchestratorClosed: When the orchestrator is closed before there is one.
        """
        if self._ask(ticket, may_wait=not self._rejects):
            return
        if not ticket.done:
            await ticket.result_async()
        ticket.result()

    def enter_at_once(self, ticket: Ticket, *, even_closed: bool = False) -> None:
        """Take a place even if there is none, for a run that an accepted one depends on.

        Args:
            ticket: The claim that the place will belong to.
            even_closed: Whether that is allowed while the orchestrator is being closed.

        Raises:
            OrchestratorClosed: When the orchestrator is closed.
        """
        with self._lock:
            if self._closed and not even_closed:
                raise OrchestratorClosed("start a run")
            self._taken.add(ticket)
            ticket.set(None)

    def queue(self, ticket: Ticket) -> None:
        """Wait for a place behind the others, however full it is: the run is accepted already."""
        with self._lock:
            if not self._closed:
                self._waiting[ticket] = None
                self._let_in()

    def leave(self, ticket: Ticket) -> None:
        """Give a ticket's place to the longest waiter, or remove the ticket from the queue."""
        with self._lock:
            self._waiting.pop(ticket, None)
            self._taken.discard(ticket)
            if self._waiting:
                self._let_in()

    def close(self) -> None:
        """Reject every caller from now on, including those that wait."""
        with self._lock:
            self._closed = True
            while self._waiting:
                ticket = next(iter(self._waiting))
                ticket.fail(OrchestratorClosed("start a run"))
                self._waiting.pop(ticket, None)

    def _ask(self, ticket: Ticket, *, may_wait: bool) -> bool:
        """Take a place, or queue for one; return whether the place is granted."""
        with self._lock:
            if self._closed:
                raise OrchestratorClosed("start a run")
            free = self.free
            if free and not self._waiting:
                self._taken.add(ticket)
                ticket.set(None)
                return True
            if not free and not may_wait:
                # All places are taken: those of active runs, and those of the queue.
                most = self._max_active, self._max_queued
                raise Overloaded(*most, *most)
            self._waiting[ticket] = None
            self._let_in()
            return ticket.done

    def _let_in(self) -> None:
        while self._waiting and self.free:
            # Removed last: a caller that is interrupted here leaves, which repeats all of it.
            ticket = next(iter(self._waiting))
            self._taken.add(ticket)
            ticket.set(None)
            self._waiting.pop(ticket, None)
