"""What a database's refusal means: that it may do it later, or that it never will."""

from __future__ import annotations

import sqlite3
from typing import Final

import sqlalchemy.exc

__all__ = ["is_locked", "may_pass", "why"]

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
# Connections, rolled back, not enough of something, not in the right state, ended by an operator,
# a fault of the system. https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRESQL: Final = ("08", "40", "53", "55", "57", "58")


def is_locked(error: sqlalchemy.exc.SQLAlchemyError) -> bool:
    """Return whether somebody else has the lock of a SQLite file."""
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", 0)
    return code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def may_pass(error: sqlalchemy.exc.SQLAlchemyError) -> bool:
    """Return whether it makes sense to try the same thing again."""
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
    # A connection that is gone, or never came, has no code.
    return error.connection_invalidated or isinstance(
        error, (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError)
    )


def why(error: BaseException) -> str:
    """Return what the database said, in a line."""
    said = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig else error
    text = " ".join(str(said).split()).rstrip(".")
    return f"{type(said).__name__}: {text}"
