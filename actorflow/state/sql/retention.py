"""Retention limits, and the thread that purges regularly."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, Final

import attrs

from actorflow.definition.arguments import is_whole
from actorflow.definition.durations import seconds
from actorflow.errors.definition import DefinitionError
from actorflow.support.logs import get_logger
from actorflow.support.safe_text import text_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Limits", "PeriodicPurge", "PurgeReport"]

_INTERVAL: Final = 60.0
"""Seconds between two automatic purges."""
_KEY_AGE: Final = 30 * 86_400.0
"""Seconds for which an idempotency key is kept after its run is gone."""
_STOP_TIMEOUT: Final = 5.0
"""Seconds for which closing waits for a transaction to end."""


@attrs.frozen(kw_only=True)
class PurgeReport:
    """How much a purge has deleted."""

    runs: int = 0
    steps: int = 0
    events: int = 0
    keys: int = 0
    """Idempotency keys of deleted runs."""

    def __add__(self, other: PurgeReport) -> PurgeReport:
        return PurgeReport(
            runs=self.runs + other.runs,
            steps=self.steps + other.steps,
            events=self.events + other.events,
            keys=self.keys + other.keys,
        )


@attrs.frozen(kw_only=True)
class Limits:
    """Which ended runs to delete: those that are too old, and those beyond a number to keep."""

    older_than: float | None
    """Seconds since the run ended."""
    keep: int | None
    """How many of the most recently ended runs to keep."""
    keys_older_than: float = _KEY_AGE
    """Seconds since a run was accepted, after which its key is deleted if the run is gone."""
    rows: int = 1000
    """The maximum number of rows that one transaction deletes; a row may hold many events."""

    @classmethod
    def for_purge(cls, older_than: Any, keep: Any, keys_older_than: Any, rows: Any) -> Limits:
        """Return the limits of one call of `purge()`.

        Raises:
            DefinitionError: When no limit is given, or one is invalid.
        """
        if older_than is None and keep is None:
            cure = "Pass older_than=, keep=, or both; keep=0 deletes all runs that have ended"
            raise DefinitionError(None, "purge() has no limit", cure)
        return cls(
            older_than=_age("purge(): older_than", older_than),
            keep=_count("purge(): keep", keep, 0),
            keys_older_than=seconds(keys_older_than, "purge(): keys_older_than", zero=True),
            rows=_count("purge(): rows", rows, 1) or 1,
        )

    @classmethod
    def for_manager(cls, max_age: Any, max_runs: Any) -> Limits:
        """Return the limits that a manager enforces by itself.

        Raises:
            DefinitionError: When one is invalid.
        """
        return cls(
            older_than=_age("SQLStateManager(): max_age", max_age),
            keep=_count("SQLStateManager(): max_runs", max_runs, 0),
        )

    def __bool__(self) -> bool:
        return self.older_than is not None or self.keep is not None


def _age(field: str, value: Any) -> float | None:
    return None if value is None else seconds(value, field, zero=True)


def _count(field: str, value: Any, least: int) -> int | None:
    if value is None or is_whole(value, least):
        return value
    cure = f"Use a whole number of at least {least}"
    raise DefinitionError(None, f"{field} is {text_of(value)}", cure)


class PeriodicPurge:
    """Purges at regular intervals, on its own thread, while its manager is in use.

    Args:
        purge: Deletes runs until there are none left to delete, or the event passed to it is set.
        limits: Which runs to delete; without limits, no thread is started.
        every: Seconds from one purge to the next.
    """

    def __init__(
        self,
        purge: Callable[[Limits, threading.Event], object],
        limits: Limits,
        *,
        every: float = _INTERVAL,
    ) -> None:
        self._purge = purge
        self._limits = limits
        self._every = every
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start the thread unless it is running."""
        if self._thread is None and self._limits:
            with self._lock:
                if self._thread is None:
                    self._stopped = threading.Event()
                    work = threading.Thread(target=self._work, args=(self._stopped,), daemon=True)
                    work.name = "actorflow purge"
                    work.start()
                    self._thread = work

    def _work(self, stopped: threading.Event) -> None:
        while not stopped.is_set():
            try:
                self._purge(self._limits, stopped)
            except Exception as error:  # noqa: BLE001 - retried at the next interval; no run fails
                if not stopped.is_set():
                    _log(error)
            stopped.wait(self._every)

    def stop(self) -> None:
        """Stop the thread and wait briefly for it; the next purge finishes what is half done."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._stopped.set()
        if thread is not None:
            thread.join(_STOP_TIMEOUT)


def _log(error: BaseException) -> None:
    with contextlib.suppress(Exception):  # a failing log must not make it worse
        get_logger().warning("store.not_purged", database=text_of(error))
