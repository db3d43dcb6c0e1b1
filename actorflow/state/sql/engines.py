"""Connections: SQLite in WAL mode, PostgreSQL through psycopg."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs
import sqlalchemy as sa

from actorflow.errors import DefinitionError

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Engines", "file_of", "shown_url"]

_CURE: Final = 'Give one such as "sqlite:///runs.db" or "postgresql://user@host/database"'
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
    except (sa.exc.ArgumentError, AttributeError, TypeError):
        raise DefinitionError(None, f"{url!r} is no URL of a database", _CURE) from None
    if backend in {"postgresql", "postgres"}:
        return address.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise DefinitionError(None, f"{backend!r} is no database that can be used", _CURE)
    if address.host:
        problem = f"{url!r} names a machine, {address.host!r}, and SQLite is a file of this one"
        cure = "Three strokes begin a relative path, four an absolute one: sqlite:///runs.db"
        raise DefinitionError(None, problem, cure)
    if address.database in {None, "", ":memory:"} or "mode=memory" in url:
        cure = "Use MemoryStateManager(), or the path of a file"
        raise DefinitionError(None, f"{url!r} is gone with its process", cure)
    return address.set(drivername="sqlite+pysqlite")


def _postgresql(address: sa.URL, _synchronous: str) -> tuple[sa.Engine, sa.Engine]:
    reading = sa.create_engine(address, isolation_level="REPEATABLE READ", pool_pre_ping=True)
    return reading, sa.create_engine(address, pool_size=1, max_overflow=1)


def _sqlite(address: sa.URL, synchronous: str) -> tuple[sa.Engine, sa.Engine]:
    engines = [sa.create_engine(address, connect_args={"timeout": _BUSY}) for _ in range(2)]
    for engine, begin in zip(engines, ("BEGIN", "BEGIN IMMEDIATE"), strict=True):
        sa.event.listen(engine, "connect", _prepare(synchronous))
        sa.event.listen(engine, "begin", _beginning(begin))
    return engines[0], engines[1]


def _prepare(synchronous: str) -> Any:
    def prepare(connection: Any, _record: object) -> None:
        # sqlite3 would begin transactions by itself, but not before a SELECT or a CREATE.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", f"synchronous={synchronous}", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    return prepare


def _beginning(begin: str) -> Any:
    def on_begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    return on_begin
