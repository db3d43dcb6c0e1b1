"""The files of a SQLite database: the database, its write-ahead log, and the log's index.

SQLite goes on writing to files that were deleted or replaced while they were open, and what it
commits there is gone when the process dies. So the identity of the three files is noted when a
connection is opened, and compared at the beginning of each transaction, once more when a writing
transaction has its lock, and after its commit, before anything is acknowledged.

When only the log or its index was deleted, the old connection still has all of the log.
It copies the log into the database before it is closed, so that nothing is lost. No connection
joins a database whose log or index is missing while another one has it open: it would make a new
log, which does not follow from the deleted one. Such a connection waits until the other one has
copied its log.

SQLite itself deletes the two files only when the last connection is closed, and makes them when the
first one reads.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import urllib.parse
from typing import TYPE_CHECKING, Any, Final

import attrs
import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self, TypeAlias

    Identity: TypeAlias = "tuple[int, int] | None"

__all__ = ["Files", "check_files", "create_private", "note_files", "wait_for_files"]

_NOTED: Final = "actorflow_files"
_WAL: Final = "-wal"
_SHM: Final = "-shm"
_PRIVATE: Final = 0o600
_PROBES: Final = 20
"""How many times a new connection looks whether it may join, before it reports a lock."""
_PROBE_TIMEOUT: Final = 0.05
"""Seconds for which SQLite waits for a lock at each of them."""


@attrs.frozen
class Files:
    """The three files of a database, by device and inode; None for one that is absent."""

    path: str
    main: Identity
    wal: Identity
    shm: Identity

    @classmethod
    def at(cls, path: str) -> Self:
        """Return the files that are now at a path."""
        return cls(path, _identity(path), _identity(path + _WAL), _identity(path + _SHM))

    def lost_to(self, now: Self) -> str | None:
        """Return the path of the first file that is not the one it was; None if all are."""
        for suffix, was, found in (
            ("", self.main, now.main),
            (_WAL, self.wal, now.wal),
            (_SHM, self.shm, now.shm),
        ):
            if was != found:
                return self.path + suffix
        return None

    def log_follows(self, now: Self) -> bool:
        """Return whether the log that is open still follows from the database at the path.

        It does not once another process may have committed to a new log.
        """
        same_log = now.wal in {self.wal, None} or _is_empty(self.path + _WAL)
        return self.main == now.main and same_log and now.shm in {self.shm, None}


def _identity(path: str) -> Identity:
    try:
        found = os.stat(path)  # noqa: PTH116 - Path.stat is much slower, on every transaction
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_empty(path: str) -> bool:
    try:
        return os.stat(path).st_size == 0  # noqa: PTH116 - as above
    except OSError:
        return False


def create_private(
    _dialect: object, _record: object, arguments: Sequence[Any], _options: object
) -> None:
    """Create the file of a new database so that only its owner can read it.

    SQLite gives the log and its index the permissions of the database.
    """
    path = os.path.realpath(_path_in(arguments[0]))  # what a link points to may be absent
    with contextlib.suppress(OSError):  # it exists, or SQLite says why it cannot be made
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE))


def _path_in(name: str) -> str:
    """Return the path in the name of a database; `""` for a `file:` URL that creates no file."""
    if not name.startswith("file:"):
        return name
    parts = urllib.parse.urlsplit(name)
    mode = urllib.parse.parse_qs(parts.query).get("mode", ["rwc"])[-1]
    return urllib.parse.unquote(parts.path) if mode == "rwc" else ""


def wait_for_files(path: str) -> None:
    """Wait until a connection may join the database; returns at once unless a file is missing.

    Raises:
        sqlite3.OperationalError: When a file is missing and another connection is still open.
    """
    missing = None
    for _ in range(_PROBES):
        missing = _missing(path)
        if missing is None or _is_unused(path):
            return
    locked = sqlite3.OperationalError(
        f"{missing} was deleted while another connection uses the database; it stays locked until "
        "that one has copied the log, at its next transaction, or is closed"
    )
    locked.sqlite_errorcode = sqlite3.SQLITE_BUSY
    raise locked


def _missing(path: str) -> str | None:
    """Return the path of the log or of its index if it is absent."""
    return next((path + it for it in (_WAL, _SHM) if _identity(path + it) is None), None)


def _is_unused(path: str) -> bool:
    """Return whether no other connection has the database open."""
    with contextlib.closing(sqlite3.connect(path, timeout=_PROBE_TIMEOUT)) as probe:
        try:
            for statement in ("PRAGMA locking_mode=EXCLUSIVE", "BEGIN EXCLUSIVE", "COMMIT"):
                probe.execute(statement).close()
        except sqlite3.OperationalError as error:
            # Any other error will be that of the connection itself.
            return error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
    return True


def note_files(connection: sqlite3.Connection, info: dict[str, Any], path: str) -> None:
    """Note which files a new connection has open."""
    # The first read opens the log; from then on no other connection deletes it.
    connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").close()
    info[_NOTED] = Files.at(path)


def check_files(connection: sa.Connection, disconnect: Callable[[], None]) -> None:
    """Raise if a file that the connection has open was deleted or replaced, and disconnect.

    Args:
        connection: The connection, in a transaction or not.
        disconnect: Closes all idle connections to the database.

    Raises:
        sqlalchemy.exc.OperationalError: When one was.
    """
    opened: Files = connection.info[_NOTED]
    now = Files.at(opened.path)
    lost = opened.lost_to(now)
    if lost is None:
        return
    raw: Any = connection.connection.dbapi_connection
    if opened.main == now.main:
        disconnect()  # idle connections would keep the log from being made again
    if opened.log_follows(now):
        _save_log(raw, opened)
    connection.invalidate()
    gone = sqlite3.OperationalError(f"{lost} was deleted or replaced by another file")
    raise sa.exc.OperationalError("BEGIN", {}, gone)


def _save_log(connection: sqlite3.Connection, opened: Files) -> None:
    """Copy the open log into the database; if it is busy, another connection does so later."""
    with contextlib.suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK").close()
        busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if not busy and opened.shm == _identity(opened.path + _SHM):
            # An empty log now follows from the database, so that others can join at once.
            _create_log(opened.path)


def _create_log(path: str) -> None:
    with contextlib.suppress(OSError):  # there is one already
        mode = stat.S_IMODE(os.stat(path).st_mode)  # noqa: PTH116 - as above
        log = os.open(path + _WAL, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        os.close(log)
