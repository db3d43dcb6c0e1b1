"""Database errors: which are transient, and how they are described."""

from __future__ import annotations

import sqlite3
from typing import Final

import sqlalchemy.exc

__all__ = ["describe", "is_locked", "is_transient"]

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
