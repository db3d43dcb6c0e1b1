"""Transactions outside the writer's thread: few, short, and retried for a while."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from actorflow.errors.storage import StoreUnavailable
from actorflow.state.sql.database.engines import transaction
from actorflow.state.sql.database.failures import describe, is_transient

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa

    from actorflow.model.protocols import Clock

__all__ = ["Transactions"]

_T = TypeVar("_T")
_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 1.0


class Transactions:
    """Runs transactions on the calling thread.

    Args:
        engine: The engine to connect with.
        clock: The source of the current time.
        patience: Seconds for which a transaction that fails is retried.
    """

    def __init__(self, engine: sa.Engine, clock: Clock, patience: float) -> None:
        self._engine = engine
        self._clock = clock
        self.patience = patience

    def wall(self) -> float:
        """Return the wall-clock time in seconds since the epoch."""
        return self._clock.wall(self._clock.now())

    def run(
        self,
        work: Callable[[sa.Connection], _T],
        what: str,
        stopped: threading.Event | None = None,
        retry_on: Callable[[SQLAlchemyError], bool] = is_transient,
    ) -> tuple[_T, float]:
        """Run `work` in a transaction, with retries; return its result and its duration.

        Args:
            work: Called with the connection.
            what: The operation in words, for the error text.
            stopped: Set to end the retries early.
            retry_on: Returns whether to retry after this error.

        Raises:
            StoreUnavailable: When the last retry fails as well.
        """
        stop = threading.Event() if stopped is None else stopped
        waited, pause = 0.0, _PAUSE
        while True:
            try:
                return self._attempt(work)
            except SQLAlchemyError as error:
                if waited >= self.patience or stop.is_set() or not retry_on(error):
                    raise StoreUnavailable(what, describe(error)) from error
            stop.wait(pause)
            waited, pause = waited + pause, min(2 * pause, _LONGEST_PAUSE)

    def _attempt(self, work: Callable[[sa.Connection], _T]) -> tuple[_T, float]:
        with transaction(self._engine) as connection:
            # Timed from here: the wait for SQLite's single write lock does not count.
            began = self._clock.now()
            done = work(connection)
        return done, self._clock.now() - began
