"""Transactions of threads other than the writer's: few, short, and tried again for a while."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from actorflow.errors.storage import StoreUnavailable
from actorflow.state.sql.database.engines import beginning
from actorflow.state.sql.database.refusals import may_pass, why

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa

    from actorflow.model.protocols import Clock

__all__ = ["Transactions"]

_T = TypeVar("_T")
_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 1.0


class Transactions:
    """Does something in a transaction, on the thread that asks.

    Args:
        engine: Where.
        clock: What the time is.
        patience: Seconds for which what is refused is tried again.
    """

    def __init__(self, engine: sa.Engine, clock: Clock, patience: float) -> None:
        self._engine = engine
        self._clock = clock
        self.patience = patience

    def wall(self) -> float:
        """Return what time it is, in seconds since the epoch."""
        return self._clock.wall(self._clock.now())

    def carry_out(
        self,
        work: Callable[[sa.Connection], _T],
        what: str,
        stopped: threading.Event | None = None,
        again: Callable[[SQLAlchemyError], bool] = may_pass,
    ) -> tuple[_T, float]:
        """Do something, again while that makes sense; return what it gave and how long it took.

        Args:
            work: What to do.
            what: What it is, in words.
            stopped: Set when nobody wants it any more.
            again: Whether it makes sense, after an error.

        Raises:
            StoreUnavailable: When the database does not answer.
        """
        over = threading.Event() if stopped is None else stopped
        waited, pause = 0.0, _PAUSE
        while True:
            try:
                return self._attempt(work)
            except SQLAlchemyError as error:
                if waited >= self.patience or over.is_set() or not again(error):
                    raise StoreUnavailable(what, why(error)) from error
            over.wait(pause)
            waited, pause = waited + pause, min(2 * pause, _LONGEST_PAUSE)

    def _attempt(self, work: Callable[[sa.Connection], _T]) -> tuple[_T, float]:
        with beginning(self._engine) as connection:
            # Now that it has the lock of SQLite, of which there is one.
            began = self._clock.now()
            done = work(connection)
        return done, self._clock.now() - began
