"""How a writer's database is doing, as its writer has seen it last."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Literal

from actorflow.errors import StoreUnavailable
from actorflow.logs import get_logger
from actorflow.state.sql.health import StoreHealth
from actorflow.state.sql.refusal import why

if TYPE_CHECKING:
    from sqlalchemy.exc import SQLAlchemyError

__all__ = ["Condition"]


class Condition:
    """Counts refusals, and says so when they begin and end; the writer's thread changes it."""

    def __init__(self) -> None:
        self.status: Literal["ok", "retrying", "down"] = "ok"
        self._failures = 0
        self._error: str | None = None

    def health(self, waiting: int) -> StoreHealth:
        """Return how it goes; from any thread."""
        return StoreHealth(
            status=self.status, waiting=waiting, failures=self._failures, error=self._error
        )

    def failed(self, error: Exception) -> None:
        """Take note of a refusal."""
        self._failures += 1
        self._error = why(error)
        if self._failures == 1:
            _log("store.refused", self._error)

    def gave_up(self, what: str, error: SQLAlchemyError) -> StoreUnavailable:
        """Take note that nothing is tried again for now; return what to tell whoever waits."""
        if self.status != "down":
            _log("store.down", why(error))
        self.status = "down"
        return StoreUnavailable(what, why(error))

    def recovered(self) -> None:
        """Take note that all is well."""
        if self._failures:
            _log("store.recovered", f"after {self._failures} failures")
        self._failures, self._error, self.status = 0, None, "ok"


def _log(event: str, said: str) -> None:
    with contextlib.suppress(Exception):  # a log that raises must not add to it
        get_logger().warning(event, database=said)
