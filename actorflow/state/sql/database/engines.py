"""Connections: SQLite in WAL mode, PostgreSQL through psycopg."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs
import sqlalchemy as sa

from actorflow.errors.definition import DefinitionError, ForkedStateManager

if TYPE_CHECKING:
    import contextlib
    from typing import Self

__all__ = ["Engines", "beginning", "check_process", "file_of", "shown_url"]

_CURE: Final = 'Give one such as "sqlite:///runs.db" or "postgresql://user@host/database"'
_PROCESS: Final = "actorflow_process"
_FILE: Final = "actorflow_file"
_BUSY: Final = 1.0
"""Seconds for which SQLite itself waits for a lock, before the writer counts it as a failure."""


@attrs.frozen(kw_only=True)
class Engines:
    """One engine to read, whose transactions see one instant, and one to write."""

    reading: sa.Engine
    writing: sa.Engine
    database: str
    """The URL, without a password."""
    file: Path | None = None
    """Where SQLite keeps it."""

    @classmethod
    def to(cls, url: str, *, synchronous: Literal["FULL", "NORMAL"] = "FULL") -> Engines:
        """Return engines for a URL; nothing is connected yet.

        Raises:
            DefinitionError: When it is no URL of a database that can be used.
        """
        address = _address(url)
        make = _sqlite if address.get_backend_name() == "sqlite" else _postgresql
        reading, writing = make(address, synchronous)
        return cls(
            reading=reading, writing=writing, database=shown_url(address), file=_file(url, address)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.dispose()

    def dispose(self) -> None:
        """Close all connections; later ones are opened anew."""
        self.reading.dispose()
        self.writing.dispose()


def beginning(engine: sa.Engine) -> contextlib.AbstractContextManager[sa.Connection]:
    """Return what begins a transaction when it is entered, and ends it when it is left.

    Raises:
        ForkedStateManager: In a fork of the process that made the engine.
    """
    check_process(engine)
    return engine.begin()


def check_process(engine: sa.Engine) -> None:
    """Refuse to share connections, and the ownership of runs, with a parent process.

    Raises:
        ForkedStateManager: In a fork of the process that made the engine.
    """
    pid: int = engine.get_execution_options()[_PROCESS]
    if pid != os.getpid():
        raise ForkedStateManager(pid, os.getpid())


def file_of(url: str) -> Path | None:
    """Return the file in which a database is; None when it is no matter of one file.

    Raises:
        DefinitionError: When it is no URL of a database that can be used.
    """
    return _file(url, _address(url))


def _file(url: str, address: sa.URL) -> Path | None:
    is_file = address.get_backend_name() == "sqlite" and "file:" not in url
    return Path(str(address.database)) if is_file else None


def shown_url(address: sa.URL) -> str:
    """Return a URL as it may be shown."""
    plain = address.set(drivername=address.get_backend_name())
    return plain.render_as_string(hide_password=True)


def _address(url: str) -> sa.URL:
    try:
        address = sa.make_url(url)
        backend = address.get_backend_name()
    except (sa.exc.ArgumentError, AttributeError, TypeError, ValueError):
        raise DefinitionError(None, f"{url!r} is no URL of a database", _CURE) from None
    if backend in {"postgresql", "postgres"}:
        return address.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise DefinitionError(None, f"{backend!r} is no database that can be used", _CURE)
    if address.host:
        problem = f"{url!r} names a machine, {address.host!r}, and SQLite is a file of this one"
        cure = "Three strokes begin a relative path, four an absolute one: sqlite:///runs.db"
        raise DefinitionError(None, problem, cure)
    if address.database in {None, ""} or ":memory:" in url or "mode=memory" in url:
        cure = "Use MemoryStateManager(), or the path of a file"
        raise DefinitionError(None, f"{url!r} is gone with its process", cure)
    if "\0" in url:
        raise DefinitionError(None, f"{url!r} has a NUL character", _CURE)
    return address.set(drivername="sqlite+pysqlite")


def _engine(address: sa.URL, **options: Any) -> sa.Engine:
    return sa.create_engine(address, execution_options={_PROCESS: os.getpid()}, **options)


def _postgresql(address: sa.URL, _synchronous: str) -> tuple[sa.Engine, sa.Engine]:
    reading = _engine(address, isolation_level="REPEATABLE READ", pool_pre_ping=True)
    writing = _engine(address, pool_size=1, max_overflow=1)
    for engine in (reading, writing):
        sa.event.listen(engine, "connect", _speak_plainly)
    return reading, writing


def _speak_plainly(connection: Any, _record: object) -> None:
    # Whatever a server, a database or a user is set to: psycopg reads time stamps in this form
    # only, and no other encoding has every character.
    connection.execute("SET datestyle TO ISO; SET client_encoding TO 'UTF8'").close()
    connection.commit()


def _sqlite(address: sa.URL, synchronous: str) -> tuple[sa.Engine, sa.Engine]:
    engines = [_engine(address, connect_args={"timeout": _BUSY}) for _ in range(2)]
    for engine, begin in zip(engines, ("BEGIN", "BEGIN IMMEDIATE"), strict=True):
        sa.event.listen(engine, "connect", _prepare(synchronous))
        sa.event.listen(engine, "begin", _beginning(begin))
    return engines[0], engines[1]


def _prepare(synchronous: str) -> Any:
    def prepare(connection: Any, record: Any) -> None:
        # sqlite3 would begin transactions by itself, but not before a SELECT or a CREATE.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", f"synchronous={synchronous}", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()
        place = connection.execute("PRAGMA database_list").fetchone()[2]
        record.info[_FILE] = place, _identity(place)

    return prepare


def _beginning(begin: str) -> Any:
    def on_begin(connection: sa.Connection) -> None:
        place, opened = connection.info[_FILE]
        if _identity(place) != opened:
            # SQLite would go on to write to a file that nobody finds any more.
            connection.invalidate()
            gone = sqlite3.OperationalError(f"{place} was deleted, or replaced by another file")
            raise sa.exc.OperationalError(begin, {}, gone)
        connection.exec_driver_sql(begin)

    return on_begin


def _identity(place: str) -> tuple[int, int] | None:
    try:
        found = os.stat(place)  # noqa: PTH116 - a Path takes much longer, each time
    except OSError:
        return None
    return found.st_dev, found.st_ino
