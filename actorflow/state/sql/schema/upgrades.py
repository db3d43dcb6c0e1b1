"""The version of a database's tables, and their upgrade to the newest version.

An upgrade goes from one version to the next, each in a single transaction. New tables are made in
one. Each transaction holds a lock of the database while it looks and while it changes the tables. A
second, concurrent upgrade waits and then finds nothing to do.

A migration with much to copy has a function `prepare` that does it ahead of its transaction. It is
called in transactions of its own, `after` being `""` at first and then what it returned, until it
returns None. The database keeps its version all the while, so `prepare` may be interrupted, and
other processes may write before the migration itself copies the rest.
"""

from __future__ import annotations

import os
from functools import cache
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

    from alembic.script import Script

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
    upgrading = _Upgrade(engines)
    while not _run(engines, engines.writing, upgrading.go_on, "make its tables"):
        pass
    return upgrading.found, newest()


def opened(
    url: str, *, synchronous: Literal["FULL", "NORMAL"], lease: float, create: bool
) -> Engines:
    """Return the engines of a database after checking, or with `create` upgrading, its tables.

    Raises:
        DefinitionError: When the URL is invalid.
        SchemaMismatch: When its tables are missing, outdated, or from a newer actorflow.
        StoreUnavailable: When the database cannot be reached.
    """
    engines = Engines.to(url, synchronous=synchronous, lease=lease)
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
    if not os.path.isdir(file.parent):  # noqa: PTH112 - Path.is_dir raises for a long name
        slashes = "sqlite:/// begins a relative path, sqlite://// an absolute one"
        return f"There is no folder {file.parent}: create it, or correct the path ({slashes})"
    return "Check that it is a SQLite file, and that this user can write to it and to its folder"


class _Upgrade:
    """An upgrade, one transaction at a time."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._scripts = _scripts()
        self._at: str | None = None
        """The version that the last transaction found."""
        self._after: str | None = ""
        """Where `prepare` goes on; None when there is nothing left for it to do."""
        self._began = False
        self.found: str | None = None
        """The version before the upgrade."""

    def go_on(self, connection: sa.Connection) -> bool:
        """Do the next part in this transaction; return whether the tables are the newest."""
        # On SQLite, the transaction itself is the lock, because it begins with BEGIN IMMEDIATE.
        if connection.dialect.name == "postgresql":
            return self._go_on_alone(connection)
        return self._go_on(connection)

    def _go_on_alone(self, connection: sa.Connection) -> bool:
        from actorflow.state.sql.postgresql import unlimited  # noqa: PLC0415 - not for SQLite

        found = _version(connection)
        if found == self._scripts.get_current_head():
            self._note(found)
            return True
        with unlimited(connection):  # another upgrade, and this one, take what they take
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            return self._go_on(connection)

    def _go_on(self, connection: sa.Connection) -> bool:
        found, wanted = _version(connection), self._scripts.get_current_head()
        self._note(found)
        if found == wanted:
            return True
        if found is None:
            _migrate(connection, "head")
            return True
        following = self._following(found)
        prepare = getattr(following.module, "prepare", None)
        if prepare is not None and self._after is not None:
            self._after = prepare(connection, self._after)
            return False
        _migrate(connection, following.revision)
        return following.revision == wanted

    def _note(self, found: str | None) -> None:
        if not self._began:
            self.found, self._began = found, True
        if found != self._at:
            self._at, self._after = found, ""

    def _following(self, found: str) -> Script:
        """Return the migration that follows a version.

        Raises:
            SchemaMismatch: When the version is not known.
        """
        later = None
        for script in self._scripts.walk_revisions():
            if script.revision == found and later is not None:
                return later
            later = script
        raise _mismatch(self._engines, found)


def _migrate(connection: sa.Connection, to: str) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, to)


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
