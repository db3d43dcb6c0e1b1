"""The version of a database's tables, and their upgrade to the newest version.

An upgrade holds a lock of the database while it looks and while it changes the tables, in a single
transaction. A second, concurrent upgrade waits and then finds nothing to do.
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Final, Literal, TypeVar

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from actorflow.errors.storage import SchemaMismatch, StoreUnavailable
from actorflow.state.sql.engines import Engines
from actorflow.state.sql.transactions import Transactions, is_locked
from actorflow.support.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["VERSION_TABLE", "check", "current", "newest", "opened", "upgrade"]

VERSION_TABLE: Final = "actorflow_version"
_LOCK: Final = 0x_AC_70_F1_03
"""The key of the advisory lock for upgrades; an arbitrary number."""
_PATIENCE: Final = 30.0
"""Seconds to wait for locks; SQLite itself waits only for some, and for none before WAL mode."""

_T = TypeVar("_T")


@cache
def newest() -> str:
    """Return the version of the tables that this actorflow uses."""
    head = _scripts().get_current_head()
    assert head is not None  # noqa: S101 - the migrations are part of the package
    return head


def current(engines: Engines) -> str | None:
    """Return the version of a database's tables; None when it has none.

    Raises:
        StoreUnavailable: When the database cannot be reached.
    """
    return _run(engines, engines.reading, _version, "open")


def check(engines: Engines) -> str:
    """Return the version of a database whose tables are current; create no SQLite file.

    Raises:
        SchemaMismatch: When its tables are missing, outdated, or from a newer actorflow.
        StoreUnavailable: When the database cannot be reached.
    """
    # Connecting would create the file, and leave it behind after the refusal.
    found = None if _is_absent(engines.file) else current(engines)
    if found is None or found != newest():
        raise _mismatch(engines, found)
    return found


def upgrade(engines: Engines) -> tuple[str | None, str]:
    """Upgrade a database to the newest tables; return its version before and after.

    Raises:
        SchemaMismatch: When its tables are from a newer actorflow.
        StoreUnavailable: When the database cannot be reached.
    """
    return _run(engines, engines.writing, partial(_upgrade, engines), "make its tables")


def opened(url: str, *, synchronous: Literal["FULL", "NORMAL"], create: bool) -> Engines:
    """Return the engines of a database after checking, or with `create` upgrading, its tables.

    Raises:
        DefinitionError: When the URL is invalid.
        SchemaMismatch: When its tables are missing, outdated, or from a newer actorflow.
        StoreUnavailable: When the database cannot be reached.
    """
    engines = Engines.to(url, synchronous=synchronous)
    try:
        (upgrade if create else check)(engines)
    except BaseException:
        engines.dispose()
        raise
    return engines


def _run(engines: Engines, engine: sa.Engine, work: Callable[[sa.Connection], _T], what: str) -> _T:
    """Run `work` in a transaction, waiting for SQLite's lock if another connection holds it."""
    transactions = Transactions(engine, SystemClock(), _PATIENCE)
    try:
        return transactions.run(work, what, retry_on=is_locked)[0]
    except StoreUnavailable as error:
        named = f"database {engines.database}"
        raise StoreUnavailable(what, error.why, named, _cure(engines.file)) from error.__cause__


def _cure(file: Path | None) -> str:
    """Return advice for a database that cannot be opened."""
    if file is None:
        return "Check its address, that it is running, and that this user has access"
    if not file.parent.is_dir():
        slashes = "sqlite:/// begins a relative path, sqlite://// an absolute one"
        return f"There is no folder {file.parent}: create it, or correct the path ({slashes})"
    return "Check that it is a SQLite file, and that this user can write to it and to its folder"


def _upgrade(engines: Engines, connection: sa.Connection) -> tuple[str | None, str]:
    # On SQLite, the transaction itself is the lock, because it begins with BEGIN IMMEDIATE.
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    found, wanted = _version(connection), newest()
    if found == wanted:
        return found, wanted
    if found is not None and found not in _known():
        raise _mismatch(engines, found)
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return found, wanted


def _is_absent(file: Path | None) -> bool:
    """Return whether only the file is missing, not its folder, which has another error."""
    if file is None:
        return False
    try:
        file.stat()
    except FileNotFoundError:
        return file.parent.is_dir()
    except OSError:
        return False  # connecting says why
    return False


def _mismatch(engines: Engines, found: str | None) -> SchemaMismatch:
    newer = found is not None and found not in _known()
    return SchemaMismatch(engines.database, found, newest(), newer)


def _version(connection: sa.Connection) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


@cache
def _known() -> frozenset[str]:
    return frozenset(script.revision for script in _scripts().walk_revisions())


def _scripts() -> ScriptDirectory:
    # Reading the folder takes 6 ms; threads must not share the result, which is not thread-safe.
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "actorflow.state.sql.schema:migrations")
    return config
