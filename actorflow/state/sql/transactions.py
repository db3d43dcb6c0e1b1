"""Transactions outside the writer's thread, and which database errors are worth a retry."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING, Final, TypeVar

import sqlalchemy.exc
from sqlalchemy.exc import SQLAlchemyError

from actorflow.errors.storage import StoreUnavailable
from actorflow.state.sql.engines import check_process, confirm_files

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa

    from actorflow.model.protocols import Clock

__all__ = ["Transactions", "describe", "is_locked", "is_transient"]

_T = TypeVar("_T")
_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 1.0


# Locked, busy, full, an I/O error, a file that cannot be opened, interrupted, out of memory.
_SQLITE: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PROTOCOL,
    }
)
# Classes: connection exception, transaction rollback, insufficient resources, object not in
# prerequisite state, operator intervention, system error.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRESQL: Final = ("08", "40", "53", "55", "57", "58")


def is_locked(error: sqlalchemy.exc.SQLAlchemyError) -> bool:
    """Return whether another connection holds the lock of a SQLite file."""
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", 0)
    return code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def is_transient(error: sqlalchemy.exc.SQLAlchemyError) -> bool:
    """Return whether the same operation may succeed if it is retried."""
    if isinstance(error, (sqlalchemy.exc.TimeoutError, sqlalchemy.exc.PendingRollbackError)):
        return True
    if not isinstance(error, sqlalchemy.exc.DBAPIError):
        return False
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in _SQLITE
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_POSTGRESQL)
        # A connection that was lost, or never established, has no code.
    return error.connection_invalidated or isinstance(
        error, (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError)
    )


def describe(error: BaseException) -> str:
    """Return the type and message of a database error on one line."""
    cause = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig else error
    text = " ".join(str(cause).split()).rstrip(".")
    return f"{type(cause).__name__}: {text}"


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
        check_process(self._engine)
        with self._engine.connect() as connection:
            with connection.begin():
                # Timed from here: the wait for SQLite's single write lock does not count.
                began = self._clock.now()
                done = work(connection)
            confirm_files(connection)
        return done, self._clock.now() - began
