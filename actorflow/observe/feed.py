"""Brings events to one observer, on a thread of its own, without ever waiting for it."""

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

_MOST_BATCHES: Final = 10_000


class Feed:
    """One observer's queue and thread.

    Args:
        observer: Whom to bring the events to.
        most: How many batches may wait. What comes beyond that is dropped and counted.
    """

    def __init__(self, observer: Observer, *, most: int = _MOST_BATCHES) -> None:
        self.observer = observer
        self.ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        """Resolved when the observer has had everything."""
        self._most = most
        self._batches: queue.SimpleQueue[Sequence[Event] | None] = queue.SimpleQueue()
        self._failing = False
        self._behind = False
        self.dropped: int = 0
        """How many events never reached the observer."""
        self.failures: int = 0
        """How often the observer raised."""
        self._thread = threading.Thread(target=self._serve, name="actorflow-observer", daemon=True)

    def start(self) -> None:
        """Begin to bring events."""
        self._thread.start()

    def put(self, events: Sequence[Event]) -> None:
        """Take a batch of events; never blocks."""
        if self._batches.qsize() < self._most:
            self._batches.put(events)
            return
        self.dropped += len(events)

    def close(self) -> None:
        """Let the observer have what waits, and end; does not wait for it."""
        self._batches.put(None)
        if self._thread.ident is None:  # it could not be started
            self._end()

    def join(self) -> None:
        """Wait for the thread, once `ended` is resolved."""
        if self._thread.is_alive():
            self._thread.join()

    def _serve(self) -> None:
        while (events := self._batches.get()) is not None:
            for event in events:
                self._show(event)
            self._tell_if_behind()
        self._end()

    def _end(self) -> None:
        with contextlib.suppress(concurrent.futures.InvalidStateError):  # it has been closed
            self.ended.set_result(None)

    def _tell_if_behind(self) -> None:
        # Here, and not where events are dropped: that is the loop's thread, and the log itself
        # may be what hangs.
        if self.dropped and not self._behind:
            self._behind = True
            self._log("observer.behind", cure="make it faster, or have it hand its work on")

    def _show(self, event: Event) -> None:
        try:
            self.observer(event)
        except BaseException:  # noqa: BLE001 - watching never breaks anything
            self.failures += 1
            if not self._failing:
                # Told once until it works again: a broken observer must not flood the log.
                self._log("observer.failed", event_number=event.number, exc_info=True)
            self._failing = True
        else:
            self._failing = False

    def _log(self, text: str, **details: object) -> None:
        # A logging set-up of the program's that raises is one more thing that must not matter.
        with contextlib.suppress(BaseException):
            get_logger().warning(text, observer=text_of(self.observer), **details)
