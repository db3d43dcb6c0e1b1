"""A state manager that does not answer for a while: what is logged of that, and how steps wait."""

from __future__ import annotations

import contextlib
from typing import Any, Final

from actorflow.support.logs import get_logger

__all__ = ["PAUSES", "Outage", "log"]

PAUSES: Final = tuple(min(0.05 * 2**number, 1.0) for number in range(34))
"""Seconds between the attempts of a step to read something while it gets no answer; 30 in all."""


class Outage:
    """Logs the first of the failed searches in a row, and then that they are over."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._failures = 0

    def failed(self, error: Exception, now: float) -> None:
        """Take note of a search that failed at a moment of the monotonic clock."""
        self._failures += 1
        if self._since is None:
            self._since = now
            log("recovery.failed", exc_info=error)

    def over(self, now: float) -> None:
        """Take note of a search that succeeded."""
        if self._since is not None:
            seconds, failures = round(now - self._since, 3), self._failures
            self._since, self._failures = None, 0
            with contextlib.suppress(Exception):  # as in log()
                get_logger().info("recovery.recovered", seconds=seconds, failures=failures)


def log(event: str, **said: Any) -> None:
    """Log a warning; a log that raises must not add to what is logged."""
    with contextlib.suppress(Exception):
        get_logger().warning(event, **said)
