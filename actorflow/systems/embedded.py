"""The system base for production: actors on an asyncio event loop.

The loop may be one that the process already has (`async with Orchestrator()`) or one that the
orchestrator runs on a separate thread. Messages wait in one queue, in the order in which they were
sent, and are delivered in turns of the loop. The number of messages in a turn is bounded, so that
other users of the loop get their share. `deliver_some` lets code that runs on the loop anyway (the
coroutine executor) deliver messages in its own time, without returning to the loop.

`post` is for the loop's own thread, `post_from_anywhere` for all others: it uses a lock-free queue,
and wakes the loop only if no wake-up is pending.
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

_MESSAGES_PER_TURN: Final = 512


class EmbeddedSystem(Delivery):
    """A Thespian system base whose actors run on an asyncio loop.

    Args:
        loop: The loop; it need not be running yet.
        context: The context that turns run in, so that no step's variables leak into them.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, context: contextvars.Context) -> None:
        self._mail: list[Envelope] = []
        super().__init__(self._mail.append)
        self._loop = loop
        self._context = context
        self._deferred: list[Callable[[], None]] = []
        """Calls deferred until the mail has been delivered."""
        self._unread: Iterator[Envelope] = iter(self._mail)
        self.inbox: deque[Envelope] = deque()
        """Messages of other threads that have not been queued."""
        self._turn_scheduled = False
        self._wakeup_pending = False
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    # ── Sending ──────────────────────────────────────────────────────────────────────────────

    def post(self, target: Cell, message: Any, sender: Cell) -> None:
        """Queue a message; only on the loop's thread."""
        if self.inbox:
            self.take_in()  # earlier messages of other threads come first
        self._mail.append((target, message, sender))
        self.deliver_later()

    def post_from_anywhere(self, target: Cell, message: Any) -> None:
        """Queue a message from any thread.

        Raises:
            RuntimeError: When the loop has been closed.
        """
        self.inbox.append((target, message, self.system_cell))
        # The message is appended before the flag is checked. A turn clears the flag before it
        # empties the inbox, so a flag that is still set belongs to a turn that sees this message.
        if not self._wakeup_pending:
            try:
                self._wakeup_pending = True
                self._loop.call_soon_threadsafe(self._wake, context=self._context)
            except BaseException:
                # The loop is closed, or a signal arrived in between, and the loop was not woken:
                # neither for this message nor for later ones that relied on the flag.
                self._wakeup_pending = False
                with contextlib.suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._wake, context=self._context)
                raise

    # ── Delivering ───────────────────────────────────────────────────────────────────────────

    def _wake(self) -> None:
        """Take in messages of other threads; deliver them unless a turn is already scheduled."""
        self.take_in()
        if not self._turn_scheduled:
            self._turn()

    def deliver_later(self) -> None:
        """Schedule a turn that delivers what waits; only on the loop's thread."""
        if not self._turn_scheduled:
            self._turn_scheduled = True
            self._loop.call_soon(self._turn, context=self._context)

    def _turn(self) -> None:
        more = self._turn_scheduled = True
        try:
            more = self.deliver_some()
        finally:
            # Also after a KeyboardInterrupt in the middle of a turn.
            self._turn_scheduled = more
            if more:
                self._loop.call_soon(self._turn, context=self._context)

    def deliver_some(self) -> bool:
        """Deliver messages, within the bounds of a turn; return whether any are left.

        Must not be called by an actor.
        """
        if self.inbox or self._wakeup_pending:
            self.take_in()
        mail, left = self._mail, _MESSAGES_PER_TURN
        try:
            while (mail and left > 0) or self._deferred:
                unread = iter(mail)  # it also yields messages that are sent during the iteration
                self._unread = unread
                try:
                    self.deliver(itertools.islice(unread, left))
                finally:
                    delivered = len(mail) - operator.length_hint(unread)
                    del mail[:delivered]
                left -= delivered
                while self._deferred:
                    self._deferred.pop()()
        except BaseException:
            self.deliver_later()  # a KeyboardInterrupt: the rest is delivered in a later turn
            raise
        return bool(mail or self.inbox)

    def put_off(self, call: Callable[[], None]) -> bool:
        """Defer a call until the queued messages are delivered; return False if none are queued."""
        if not operator.length_hint(self._unread):
            return False
        self._deferred.append(call)
        return True

    def take_in(self) -> None:
        """Queue the messages of other threads before those that are sent next."""
        self._wakeup_pending = False
        inbox = self.inbox
        while inbox:
            self._mail.append(inbox.popleft())

    # ── Time ─────────────────────────────────────────────────────────────────────────────────

    def now(self) -> float:
        """Return the loop's time."""
        return self._loop.time()

    def timer_changed(self) -> None:
        """Schedule the loop's next call for the earliest timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        upcoming = self.next_timer()
        if upcoming is not None and not self._closed:
            self._timer = self._loop.call_at(upcoming, self._fire, context=self._context)

    def _fire(self) -> None:
        self._timer = None
        try:
            self.fire_timers()
        finally:
            self.timer_changed()

    # ── Closing ──────────────────────────────────────────────────────────────────────────────

    def close(self) -> None:
        """Drop timers and mail; on the loop's thread, when the actors are no longer needed."""
        self._closed = True
        self._timers.clear()
        self.timer_changed()
        self._mail.clear()
        self._deferred.clear()
        self.inbox.clear()
