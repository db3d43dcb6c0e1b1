"""Delivery of events to an observer on a separate thread, without ever waiting for it."""

from __future__ import annotations

import concurrent.futures
import contextlib
import queue
import threading
from typing import TYPE_CHECKING, Final

from actorflow.support.logs import get_logger
from actorflow.support.safe_text import text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorflow.model.events import Event
    from actorflow.model.protocols import Observer

__all__ = ["Feed"]

_MAX_BATCHES: Final = 10_000


class Feed:
    """The queue and the thread of one observer.

    Args:
        observer: The observer.
        most: The maximum number of batches that may wait; further ones are dropped and counted.
    """

    def __init__(self, observer: Observer, *, most: int = _MAX_BATCHES) -> None:
        self.observer = observer
        self.ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        """Resolved when the observer has received everything."""
        self._most = most
        self._batches: queue.SimpleQueue[Sequence[Event] | None] = queue.SimpleQueue()
        self._failing = False
        self._behind_logged = False
        self.dropped: int = 0
        """The number of events that were dropped."""
        self.failures: int = 0
        """The number of times that the observer raised."""
        self._thread = threading.Thread(target=self._run, name="actorflow-observer", daemon=True)

    def start(self) -> None:
        """Start delivering events."""
        self._thread.start()

    def put(self, events: Sequence[Event]) -> None:
        """Queue a batch of events; never blocks."""
        if self._batches.qsize() < self._most:
            self._batches.put(events)
            return
        self.dropped += len(events)

    def close(self) -> None:
        """Have the thread deliver what is queued and then end; does not wait for it."""
        self._batches.put(None)
        if self._thread.ident is None:  # it could not be started
            self._end()

    def join(self) -> None:
        """Wait for the thread, after `ended` was resolved."""
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while (events := self._batches.get()) is not None:
            for event in events:
                self._deliver(event)
            self._log_if_behind()
        self._end()

    def _end(self) -> None:
        with contextlib.suppress(concurrent.futures.InvalidStateError):  # it was closed before
            self.ended.set_result(None)

    def _log_if_behind(self) -> None:
        # Logged here rather than in `put`, which runs on the loop's thread: the log itself may be
        # what hangs.
        if self.dropped and not self._behind_logged:
            self._behind_logged = True
            self._log("observer.behind", cure="make it faster, or have it hand its work on")

    def _deliver(self, event: Event) -> None:
        try:
            self.observer(event)
        except BaseException:  # noqa: BLE001 - an observer must never break a run
            self.failures += 1
            if not self._failing:
                # Logged once until it works again, so that a broken observer cannot flood the log.
                self._log("observer.failed", event_number=event.number, exc_info=True)
            self._failing = True
        else:
            self._failing = False

    def _log(self, text: str, **details: object) -> None:
        # The program's logging configuration may raise as well.
        with contextlib.suppress(BaseException):
            get_logger().warning(text, observer=text_of(self.observer), **details)
