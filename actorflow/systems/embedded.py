"""Actors on an asyncio event loop: the system base that production runs on.

The loop may be one that this process has anyway (`async with Orchestrator()`) or one that the
orchestrator runs on a thread of its own. Messages wait in one queue, in the order in which
they were sent, and are delivered by turns of the loop. A turn is bounded in messages,
so that the loop's other guests get their share; `deliver_some` lets a guest that runs on the
loop anyway (the coroutine executor) deliver in its own time, without going round the loop.

`post` is for the loop's own thread. `post_from_anywhere` is for every other: it takes a
lock-free queue, and wakes the loop only if no wake-up is under way.
"""

from __future__ import annotations

import contextlib
import itertools
import operator
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from actorflow.systems.delivery import Cell, Delivery, Envelope

if TYPE_CHECKING:
    import asyncio
    import contextvars
    from collections.abc import Callable, Iterator

__all__ = ["EmbeddedSystem"]

_MESSAGES_A_TURN: Final = 512


class EmbeddedSystem(Delivery):
    """A Thespian system base whose actors live on an asyncio loop.

    Args:
        loop: The loop; it need not run yet.
        context: The context that turns run in, so that no step's variables leak into them.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, context: contextvars.Context) -> None:
        self._mail: list[Envelope] = []
        super().__init__(self._mail.append)
        self._loop = loop
        self._context = context
        self._calls: list[Callable[[], None]] = []
        """What was put off until the mail has been delivered."""
        self._unread: Iterator[Envelope] = iter(self._mail)
        self._inbox: deque[Envelope] = deque()
        self._turn_ahead = False
        self._signalled = False
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    # ── Sending ──────────────────────────────────────────────────────────────────────────────

    def post(self, target: Cell, message: Any, sender: Cell) -> None:
        """Queue a message; on the loop's thread only."""
        if self._inbox:
            self._empty_inbox()  # what other threads have said before comes first
        self._mail.append((target, message, sender))
        self.deliver_later()

    def post_from_anywhere(self, target: Cell, message: Any) -> None:
        """Queue a message from any thread.

        Raises:
            RuntimeError: When the loop has been closed.
        """
        self._inbox.append((target, message, self.system_cell))
        # Appended first, looked up second: a turn clears the flag before it empties the inbox,
        # so a flag that is still set belongs to a turn that will see this message.
        if not self._signalled:
            try:
                self._signalled = True
                self._loop.call_soon_threadsafe(self._hear, context=self._context)
            except BaseException:
                # The loop is closed, or a signal came between the two, and nobody has been woken:
                # not for those either who have seen the flag since then.
                self._signalled = False
                with contextlib.suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._hear, context=self._context)
                raise

    # ── Delivering ───────────────────────────────────────────────────────────────────────────

    def _hear(self) -> None:
        """Take in what other threads have sent; a turn that is ahead anyway delivers it."""
        self._empty_inbox()
        if not self._turn_ahead:
            self._turn()

    def deliver_later(self) -> None:
        """Have a turn of the loop deliver what waits; on the loop's thread only."""
        if not self._turn_ahead:
            self._turn_ahead = True
            self._loop.call_soon(self._turn, context=self._context)

    def _turn(self) -> None:
        more = self._turn_ahead = True
        try:
            more = self.deliver_some()
        finally:
            # Also after a KeyboardInterrupt that hit the loop's thread in mid-turn.
            self._turn_ahead = more
            if more:
                self._loop.call_soon(self._turn, context=self._context)

    def deliver_some(self) -> bool:
        """Deliver what waits, within the bounds of a turn; return whether anything still waits.

        Must not be called by an actor.
        """
        if self._inbox or self._signalled:
            self._empty_inbox()
        mail, left = self._mail, _MESSAGES_A_TURN
        while mail and left > 0:
            unread = iter(mail)  # sees also what is sent while it goes through
            self._unread = unread
            try:
                self.deliver(itertools.islice(unread, left))
            finally:
                delivered = len(mail) - operator.length_hint(unread)
                del mail[:delivered]
            left -= delivered
            while self._calls:
                self._calls.pop()()
        return bool(mail or self._inbox)

    def put_off(self, call: Callable[[], None]) -> bool:
        """Have a call made after the mail that waits now, or return False if none does."""
        if not operator.length_hint(self._unread):
            return False
        self._calls.append(call)
        return True

    def _empty_inbox(self) -> None:
        self._signalled = False
        inbox = self._inbox
        while inbox:
            self._mail.append(inbox.popleft())

    # ── Time ─────────────────────────────────────────────────────────────────────────────────

    def now(self) -> float:
        """Return the loop's time."""
        return self._loop.time()

    def timer_changed(self) -> None:
        """Have the loop call at the earliest timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        upcoming = self.next_timer()
        if upcoming is not None and not self._closed:
            self._timer = self._loop.call_at(upcoming, self._ring, context=self._context)

    def _ring(self) -> None:
        self._timer = None
        self.fire_timers()
        self.timer_changed()

    # ── The end ──────────────────────────────────────────────────────────────────────────────

    def close(self) -> None:
        """Forget timers and mail; on the loop's thread, when no actor is needed any more."""
        self._closed = True
        self._timers.clear()
        self.timer_changed()
        self._mail.clear()
        self._calls.clear()
        self._inbox.clear()
