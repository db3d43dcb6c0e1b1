"""The health of a store, as its writer sees it, and the owners of its runs, as operators do."""

from __future__ import annotations

import contextlib
from typing import Literal

import attrs

from actorflow.errors.storage import StoreUnavailable
from actorflow.support.logs import get_logger

__all__ = ["HealthMonitor", "Owner", "StoreHealth"]


@attrs.frozen(kw_only=True)
class StoreHealth:
    """The store's health at the time of the call."""

    status: Literal["ok", "retrying", "down"]
    """`"retrying"` while a write is retried, `"down"` once one was given up, until one succeeds."""
    waiting: int
    """How many events are waiting to be written."""
    failures: int
    """How many times in a row the database has failed."""
    error: str | None
    """The last error; None when the last operation succeeded."""


@attrs.frozen(kw_only=True)
class Owner:
    """An owner of runs: a state manager of some process."""

    owner: str
    """Its name; empty for runs in progress that have no owner."""
    lease_until: float | None
    """When its lease runs out, by the clock of the database, in seconds since the epoch. None if it
    has no lease: others may take its runs.
    """
    runs: int
    """How many runs it has in progress."""


class HealthMonitor:
    """Keeps track of failures, and logs when they begin and end.

    Only the writer's thread changes it.
    """

    def __init__(self) -> None:
        self.status: Literal["ok", "retrying", "down"] = "ok"
        self._failures = 0
        self._error: str | None = None

    def snapshot(self, waiting: int) -> StoreHealth:
        """Return the current health; callable from any thread."""
        return StoreHealth(
            status=self.status, waiting=waiting, failures=self._failures, error=self._error
        )

    def failed(self, error: str) -> None:
        """Count a failure, and log the first in a row."""
        self._failures += 1
        self._error = error
        if self._failures == 1:
            _log("store.refused", error)

    def gave_up(self, what: str, error: str) -> StoreUnavailable:
        """Note that retries are over for now; return the error to report."""
        if self.status != "down":
            _log("store.down", error)
        self.status = "down"
        return StoreUnavailable(what, error)

    def recovered(self) -> None:
        """Note a success, and log it if it ends a row of failures."""
        if self._failures:
            _log("store.recovered", f"after {self._failures} failures")
        self._failures, self._error, self.status = 0, None, "ok"


def _log(event: str, details: str) -> None:
    with contextlib.suppress(Exception):  # a failing log must not make it worse
        get_logger().warning(event, database=details)
