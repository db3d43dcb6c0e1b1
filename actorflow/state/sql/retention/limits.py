"""How long runs are kept: what a purge comes to, and purging without being asked."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, Final

import attrs

from actorflow.definition.durations import seconds
from actorflow.errors.definition import DefinitionError
from actorflow.support.logs import get_logger
from actorflow.support.safe_text import text_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Limits", "PurgeReport", "Purging"]

_EVERY: Final = 60.0
"""Seconds between two purges that nobody asked for."""
_KEYS: Final = 30 * 86_400.0
"""Seconds for which an idempotency key is kept, though its run is gone."""
_LAST_WORDS: Final = 5.0
"""Seconds that closing waits for a transaction to end."""


@attrs.frozen(kw_only=True)
class PurgeReport:
    """What a purge has deleted."""

    runs: int = 0
    steps: int = 0
    events: int = 0
    keys: int = 0
    """Idempotency keys of runs that are gone."""

    def __add__(self, other: PurgeReport) -> PurgeReport:
        return PurgeReport(
            runs=self.runs + other.runs,
            steps=self.steps + other.steps,
            events=self.events + other.events,
            keys=self.keys + other.keys,
        )


@attrs.frozen(kw_only=True)
class Limits:
    """Which ended runs are to go: those that are too old, and those that are too many."""

    older_than: float | None
    """Seconds since they ended."""
    keep: int | None
    """How many of the newest stay."""
    keys_older_than: float = _KEYS
    """Seconds since a run was accepted, after which its key goes, if it is gone itself."""
    rows: int = 1000
    """How many rows a transaction deletes at most."""

    @classmethod
    def asked_for(cls, older_than: Any, keep: Any, keys_older_than: Any, rows: Any) -> Limits:
        """Return the limits of one purge.

        Raises:
            DefinitionError: When there are none, or they make no sense.
        """
        if older_than is None and keep is None:
            cure = "Give older_than=, or keep=, or both; keep=0 deletes all runs that have ended"
            raise DefinitionError(None, "purge() has no limit", cure)
        return cls(
            older_than=_age("purge(): older_than", older_than),
            keep=_count("purge(): keep", keep, 0),
            keys_older_than=seconds(keys_older_than, "purge(): keys_older_than", zero=True),
            rows=_count("purge(): rows", rows, 1) or 1,
        )

    @classmethod
    def standing(cls, max_age: Any, max_runs: Any) -> Limits:
        """Return the limits that a manager keeps to by itself.

        Raises:
            DefinitionError: When they make no sense.
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
    whole = isinstance(value, int) and not isinstance(value, bool)
    if value is None or (whole and value >= least):
        count: int | None = value
        return count
    cure = f"Give a whole number of at least {least}"
    raise DefinitionError(None, f"{field} is {value!r}", cure)


class Purging:
    """Purges again and again, on a thread of its own, while its manager is in use.

    Args:
        purge: Deletes what is to go, until the event that it is given is set.
        limits: What is to go; nothing, without any.
        every: Seconds from one purge to the next.
    """

    def __init__(
        self,
        purge: Callable[[Limits, threading.Event], object],
        limits: Limits,
        *,
        every: float = _EVERY,
    ) -> None:
        self._purge = purge
        self._limits = limits
        self._every = every
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def begin(self) -> None:
        """Purge from now on, unless that is going on already."""
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
            except Exception as error:  # noqa: BLE001 - it is tried again, and breaks no run
                if not stopped.is_set():
                    _log(error)
            stopped.wait(self._every)

    def end(self) -> None:
        """Stop soon, and wait for that; what is half done is done by the next purge."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._stopped.set()
        if thread is not None:
            thread.join(_LAST_WORDS)


def _log(error: BaseException) -> None:
    with contextlib.suppress(Exception):  # a log that raises must not add to it
        get_logger().warning("store.not_purged", database=text_of(error))
