"""The watchers of an orchestrator's runs: its observers, its log, and live streams."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from actorflow.observe import Feed, LogObserver, logging_is_configured
from actorflow.support.safe_text import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorflow.model.events import Event
    from actorflow.model.protocols import Observer

__all__ = ["Audience"]


class Audience:
    """Shows events to observers and streams.

    Args:
        observers: The observers of the program.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._feeds = [Feed(observer) for observer in observers]
        self._logging = False
        # Reentrant, because the garbage collector may close a stream at this moment.
        self._lock = threading.RLock()
        self._watchers: dict[str, list[Callable[[], None]]] = {}
        self.present: bool = bool(self._feeds)
        """Whether there are any; `publish` need not be called otherwise."""

    def open(self) -> None:
        """Start the threads of observers and of a configured log; on the loop's thread.

        Ctrl-C is not delivered there. At the wrong instant it would keep a new thread from
        starting.
        """
        for feed in self._feeds:
            feed.start()
        self.hear_logging()

    def hear_logging(self) -> None:
        """Begin to log if the program has configured logging since the last call."""
        if not self._logging and logging_is_configured():
            log = Feed(LogObserver())
            if self._take_in(log):
                # Outside of the lock: starting a thread waits for it, and until it has started the
                # garbage collector may run, and close a stream that then takes the lock.
                log.start()

    def _take_in(self, log: Feed) -> bool:
        with self._lock:
            first = not self._logging
            if first:
                self._feeds.append(log)
                self.present = self._logging = True
        return first

    def publish(self, events: Sequence[Event]) -> None:
        """Show events; never blocks."""
        if self._watchers:
            for run_id in {event.run_id for event in events}:
                self.notify(run_id)
        for feed in self._feeds:
            feed.put(events)

    def notify(self, run_id: str) -> None:
        """Tell the streams of a run to look for new events."""
        for look in self._watchers.get(run_id, ()):
            look()

    def watch(self, run_id: str, look: Callable[[], None]) -> None:
        """Call `look`, on the loop's thread, when a run has new events."""
        with self._lock:
            self._watchers[run_id] = [*self._watchers.get(run_id, ()), look]
            self.present = True

    def unwatch(self, run_id: str, look: Callable[[], None]) -> None:
        """Stop calling `look`."""
        with self._lock:
            looks = self._watchers.get(run_id, [])
            if look in looks:
                self._keep(run_id, looks, looks.index(look))

    def _keep(self, run_id: str, looks: list[Callable[[], None]], left: int) -> None:
        # Replaced in one operation: `notify` reads without the lock.
        if len(looks) > 1:
            self._watchers[run_id] = [*looks[:left], *looks[left + 1 :]]
        else:
            del self._watchers[run_id]
        self.present = bool(self._watchers or self._feeds)

    def close(self) -> None:
        """Let the observers finish the events that wait, and end; does not wait for them."""
        for feed in self._feeds:
            feed.close()

    async def ended(self, grace: float) -> list[str]:
        """Wait for the observers, after `close`; return those that did not finish in time."""
        ends = [asyncio.wrap_future(feed.ended) for feed in self._feeds]
        if ends:
            await asyncio.wait(ends, timeout=grace)
        for feed in self._feeds:
            if feed.ended.done():
                feed.join()
        return [
            f"observer {text_of(feed.observer)} has not returned"
            for feed in self._feeds
            if not feed.ended.done()
        ]
