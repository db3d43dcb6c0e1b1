"""Connections: SQLite in WAL mode, PostgreSQL through psycopg."""

from __future__ import annotations

import os
import re
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs
import sqlalchemy as sa

from actorflow.errors.definition import DefinitionError, ForkedStateManager
from actorflow.state.sql.sqlite_files import (
    check_files,
    create_private,
    note_files,
    wait_for_files,
)
from actorflow.support.urls import masked_text, masked_url, secrets_of, shown_parameter

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable, Mapping
    from typing import Self

    from actorflow.state.sql.postgresql import LimitedConnection

__all__ = [
    "Engines",
    "check_process",
    "confirm_files",
    "connected",
    "file_of",
    "transaction",
]

_CURE: Final = 'Give one such as "sqlite:///runs.db" or "postgresql://user@host/database"'
_DRIVERS: Final = {
    "sqlite": ("sqlite3", "pysqlite"),
    "postgresql": ("psycopg", "psycopg2"),
    "postgres": ("psycopg", "psycopg2"),
}
"""The driver that is used, and another name that a URL may have for it or for its predecessor."""
_PROCESS: Final = "actorflow_process"
_DISCONNECT: Final = "actorflow_disconnect"
_CONNECT: Final = "actorflow_connect"
_SILENCE: Final = 30.0
"""Seconds of PostgreSQL's silence after which a statement that writes fails."""
_SHORTEST_SILENCE: Final = 5.0
"""The shortest such limit: a busy server may take a while for a commit."""
_SILENCE_OF_A_QUERY: Final = 60.0
"""The same for queries, which may have much to count."""
_KEPT_POOLS: Final = 8
"""How many pools that were disposed of are looked into again."""
_BUSY_TIMEOUT: Final = 1.0
"""Seconds for which SQLite waits for a lock before the error reaches our own retries."""


@attrs.frozen(kw_only=True)
class Engines:
    """Two engines: one to read, whose transactions each see one snapshot, and one to write."""

    reading: sa.Engine
    writing: sa.Engine
    database: str
    """The URL without its driver, and without passwords."""
    file: Path | None = None
    """The SQLite file; None for PostgreSQL and for SQLite `file:` URLs."""
    _disposed: deque[sa.Pool] = attrs.field(factory=lambda: deque(maxlen=_KEPT_POOLS), init=False)
    """The last pools that were disposed of."""

    @classmethod
    def to(
        cls,
        url: str,
        *,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        lease: float = 2 * _SILENCE,
    ) -> Engines:
        """Return engines for a URL, without connecting.

        Args:
            url: The address of the database.
            synchronous: How SQLite commits.
            lease: Seconds without a renewal after which runs are taken over. A connection to write
                that is silent for half as long is given up, so that another one is in time.

        Raises:
            DefinitionError: When `url` is not the URL of a supported database.
        """
        address = _parse(url)
        make = _sqlite if address.get_backend_name() == "sqlite" else _postgresql
        engines = make(address, synchronous, min(_SILENCE, max(_SHORTEST_SILENCE, lease / 2)))
        for engine in engines:
            sa.event.listen(engine, "handle_error", _hide(secrets_of(url)))
        reading, writing = engines
        return cls(reading=reading, writing=writing, database=_shown(url), file=_file(url, address))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.dispose()

    def dispose(self) -> None:
        """Close all connections; later use opens new ones.

        A connection that is in use goes back to a pool that nobody uses any more. Call this again
        after that use, so that it is closed.
        """
        for engine in (self.reading, self.writing):
            self._disposed.append(engine.pool)
            engine.dispose()
        for pool in tuple(self._disposed):
            pool.dispose()


def transaction(engine: sa.Engine) -> contextlib.AbstractContextManager[sa.Connection]:
    """Return a context manager that runs a transaction.

    Raises:
        ForkedStateManager: In a fork of the process that made the engine.
    """
    check_process(engine)
    return engine.begin()


def check_process(engine: sa.Engine) -> None:
    """Raise if this process is a fork, which must not share connections or the ownership of runs.

    Raises:
        ForkedStateManager: In a fork of the process that made the engine.
    """
    pid: int = engine.get_execution_options()[_PROCESS]
    if pid != os.getpid():
        raise ForkedStateManager(pid, os.getpid())


def file_of(url: str) -> Path | None:
    """Return the file of a SQLite database; None when the database is not a single file.

    Raises:
        DefinitionError: When `url` is not the URL of a supported database.
    """
    return _file(url, _parse(url))


def _file(url: str, address: sa.URL) -> Path | None:
    is_file = address.get_backend_name() == "sqlite" and "file:" not in url
    return Path(str(address.database)) if is_file else None


def _shown(url: str) -> str:
    """Return a URL without its driver and passwords, for display."""
    return re.sub(r"^(\w+)\+\w+:", r"\1:", masked_url(url))


def _hide(secrets: frozenset[str]) -> Any:
    """Return a listener that removes the URL's passwords from errors, before they are raised."""

    def hide(context: sa.engine.ExceptionContext) -> None:
        pending = [context.original_exception, context.sqlalchemy_exception]
        seen: set[int] = set()
        while pending:
            error = pending.pop()
            if error is not None and id(error) not in seen:
                seen.add(id(error))
                error.args = tuple(map(masked, error.args))
                pending += [error.__cause__, error.__context__]

    def masked(part: object) -> object:
        return masked_text(part, secrets) if isinstance(part, str) else part

    return hide


def _parse(url: str) -> sa.URL:
    try:
        address = sa.make_url(url)
        backend = address.get_backend_name()
    except (sa.exc.ArgumentError, AttributeError, TypeError, ValueError):
        raise DefinitionError(None, f"{masked_url(url)!r} is not a database URL", _CURE) from None
    shown = masked_url(url)
    _refuse_other_drivers(address)
    if "@" in (address.host or ""):
        cure = "Percent-encode each special character of the user and the password: %40 for @"
        raise DefinitionError(None, f"{shown!r} has more than one @", cure)
    if backend in {"postgresql", "postgres"}:
        return address.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise DefinitionError(None, f"{backend!r} is not a supported database", _CURE)
    if address.host:
        problem = f"{shown!r} names a host, {address.host!r}, but SQLite is a local file"
        cure = "Use three slashes for a relative path, four for an absolute one: sqlite:///runs.db"
        raise DefinitionError(None, problem, cure)
    if address.database in {None, ""} or ":memory:" in url or "mode=memory" in url:
        cure = "Use MemoryStateManager(), or the path of a file"
        raise DefinitionError(None, f"{shown!r} does not outlive its process", cure)
    try:
        os.fsencode(url)
    except UnicodeEncodeError:
        raise DefinitionError(None, f"{shown!r} contains lone surrogates", _CURE) from None
    if "\0" in url:
        raise DefinitionError(None, f"{shown!r} contains a NUL character", _CURE)
    return address.set(drivername="sqlite+pysqlite")


def _refuse_other_drivers(address: sa.URL) -> None:
    backend, _, driver = address.drivername.partition("+")
    kept = _DRIVERS.get(backend)
    if driver and kept is not None and driver not in kept:
        used = kept[0]
        problem = f"the driver {driver!r} is not supported: actorflow uses {used}"
        cure = f"Write {backend}:// instead of {address.drivername}://"
        raise DefinitionError(None, problem, cure)


def _engine(address: sa.URL, **options: Any) -> sa.Engine:
    return sa.create_engine(address, execution_options={_PROCESS: os.getpid()}, **options)


def _postgresql(address: sa.URL, _synchronous: str, silence: float) -> tuple[sa.Engine, sa.Engine]:
    # SQLAlchemy shows an engine's URL with all passwords but the one in front of the host.
    query = {name: it if isinstance(it, str) else it[-1] for name, it in address.query.items()}
    hidden = {name: it for name, it in query.items() if not shown_parameter(name)}
    plain = address.difference_update_query(hidden)
    snapshots: Any = {"isolation_level": "REPEATABLE READ", "pool_pre_ping": True}
    reading = _engine(plain, **snapshots)
    writing = _engine(plain, pool_size=1, max_overflow=1)
    _limit(reading, hidden, _SILENCE_OF_A_QUERY, writes=False)
    _limit(writing, hidden, silence, writes=True)
    return reading, writing


def _limit(engine: sa.Engine, hidden: Mapping[str, str], silence: float, *, writes: bool) -> None:
    """Have an engine make connections that do not wait for ever."""
    # SQLAlchemy keeps dialects that nobody uses any more, and they what listens to them. So that
    # must not keep the engine, which has all the statements that it has compiled.
    dialect, url = engine.dialect, engine.url

    def make() -> LimitedConnection:
        from actorflow.state.sql.postgresql import connect  # noqa: PLC0415 - not for SQLite

        arguments, options = dialect.create_connect_args(url)
        return connect(arguments, {**options, **hidden}, silence, writes=writes)

    engine.update_execution_options(**{_CONNECT: make})
    sa.event.listen(engine, "do_connect", lambda *_: make())


def connected(engine: sa.Engine) -> LimitedConnection:
    """Return a new connection to PostgreSQL that is not the pool's."""
    make: Callable[[], LimitedConnection] = engine.get_execution_options()[_CONNECT]
    return make()


def _sqlite(address: sa.URL, synchronous: str, _silence: float) -> tuple[sa.Engine, sa.Engine]:
    engines = [_engine(address, connect_args={"timeout": _BUSY_TIMEOUT}) for _ in range(2)]

    def disconnect() -> None:
        for engine in engines:
            engine.dispose()

    for engine, begin in zip(engines, ("BEGIN", "BEGIN IMMEDIATE"), strict=True):
        engine.update_execution_options(**{_DISCONNECT: disconnect})
        sa.event.listen(engine, "do_connect", create_private)
        sa.event.listen(engine, "connect", _prepare(synchronous))
        sa.event.listen(engine, "begin", _begin_with(begin))
    return engines[0], engines[1]


def _prepare(synchronous: str) -> Any:
    def prepare(connection: Any, record: Any) -> None:
        # sqlite3's implicit transactions do not cover SELECT and CREATE; we send BEGIN ourselves.
        connection.isolation_level = None
        path = connection.execute("PRAGMA database_list").fetchone()[2]
        wait_for_files(path)
        for pragma in ("journal_mode=WAL", f"synchronous={synchronous}", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()
        note_files(connection, record.info, path)

    return prepare


def _begin_with(begin: str) -> Any:
    def on_begin(connection: sa.Connection) -> None:
        confirm_files(connection)
        connection.exec_driver_sql(begin)
        if begin != "BEGIN":
            # A log is made again only under this lock, so from here on it can only be deleted.
            confirm_files(connection)

    return on_begin


def confirm_files(connection: sa.Connection) -> None:
    """Raise if SQLite would write, or has just written, to a file that has no name left.

    To be called after a commit, before it is acknowledged; does nothing for PostgreSQL.

    Raises:
        sqlalchemy.exc.OperationalError: When a file was deleted or replaced. The connection is
            closed, and a commit may or may not be found by the next one.
    """
    disconnect = connection.get_execution_options().get(_DISCONNECT)
    if disconnect is not None:
        check_files(connection, disconnect)
