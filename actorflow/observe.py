"""Observers of events: the feed that delivers to one on its own thread, and the log.

The log gets one line per event through structlog, if the program has configured logging.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import queue
import sys
import threading
from typing import TYPE_CHECKING, Final

from actorflow.model.lifecycle import EventKind
from actorflow.support.logs import STANDARD, get_logger
from actorflow.support.safe_text import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from actorflow.model.events import Event
    from actorflow.model.protocols import Observer

__all__ = ["Feed", "LogObserver", "logging_is_configured"]

_DEBUG: Final = frozenset(
    {EventKind.STEP_READY, EventKind.STEP_SUSPENDED, EventKind.STEP_CONTINUED}
)
_WARNINGS: Final = frozenset(
    {
        EventKind.RUN_FAILED,
        EventKind.STEP_RETRYING,
        EventKind.STEP_TIMED_OUT,
        EventKind.STEP_ABANDONED,
        EventKind.STEP_FAILED,
        EventKind.STEP_SKIPPED,
        EventKind.COMPENSATION_RETRYING,
        EventKind.COMPENSATION_TIMED_OUT,
        EventKind.COMPENSATION_ABANDONED,
        EventKind.COMPENSATION_FAILED,
    }
)
_BEGINNINGS: Final = frozenset(
    {EventKind.RUN_ACCEPTED, EventKind.RUN_STARTED, EventKind.RUN_RESUMED}
)
_ENDS: Final = frozenset({EventKind.RUN_COMPLETED, EventKind.RUN_FAILED, EventKind.RUN_CANCELLED})
# The watchdog logs these itself, while the body blocks.
_LOGGED_ELSEWHERE: Final = frozenset({EventKind.STEP_BLOCKING, EventKind.COMPENSATION_BLOCKING})
# Outputs belong to the program, may be large, and may be secret.
_PRIVATE: Final = frozenset({"output"})


def logging_is_configured() -> bool:
    """Return whether the program has configured structlog or standard logging."""
    # Another thread may be importing structlog at this moment.
    is_configured = getattr(sys.modules.get("structlog"), "is_configured", None)
    if is_configured is not None and is_configured():
        return True
    logger: logging.Logger | None = STANDARD
    while logger is not None:
        for handler in logger.handlers:
            if not isinstance(handler, logging.NullHandler):
                return True
        logger = logger.parent if logger.propagate else None
    return False


class LogObserver:
    """Logs each event as one line, with the run's ids bound."""

    def __init__(self) -> None:
        self._bound: dict[str, Mapping[str, str]] = {}

    def __call__(self, event: Event) -> None:
        """Log one event."""
        if event.kind in _BEGINNINGS:
            self._bound[event.run_id] = event.data
        if event.kind not in _LOGGED_ELSEWHERE:
            self._write(event)
        if event.kind in _ENDS:
            self._bound.pop(event.run_id, None)

    def _write(self, event: Event) -> None:
        bound = self._bound.get(event.run_id, {})
        where = {"step_id": event.step_id, "attempt": event.attempt}
        details = {name: value for name, value in event.data.items() if name not in _PRIVATE}
        known = {name: value for name, value in (where | details).items() if value is not None}
        logger = get_logger(run_id=event.run_id, **bound)
        if event.kind in _BEGINNINGS:
            known = {}
        _level(logger, event.kind)(event.kind.value, number=event.number, **known)


def _level(logger: object, kind: EventKind) -> Callable[..., object]:
    name = "warning" if kind in _WARNINGS else "debug" if kind in _DEBUG else "info"
    level: Callable[..., object] = getattr(logger, name)
    return level


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
