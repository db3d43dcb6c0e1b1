"""The version of a database's tables, and how they get from one to the next.

One starter at a time: whoever migrates holds a lock of the database while it looks and while it
changes anything, and everything is one transaction. A second one waits, and finds it done.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, Literal, TypeVar

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from actorflow.errors.storage import SchemaMismatch, StoreUnavailable
from actorflow.state.sql.database.engines import Engines
from actorflow.state.sql.database.refusals import is_locked
from actorflow.state.sql.database.transactions import Transactions
from actorflow.support.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["VERSION_TABLE", "check", "current", "newest", "opened", "upgrade"]

VERSION_TABLE: Final = "actorflow_version"
_LOCK: Final = 0x_AC_70_F1_03
"""The key of the advisory lock; any number that nobody else uses."""
_PATIENCE: Final = 30.0
"""Seconds to wait for others; SQLite itself waits for one, and before WAL mode for none."""

_T = TypeVar("_T")


def newest() -> str:
    """Return the version that this actorflow makes."""
    head = _scripts().get_current_head()
    assert head is not None  # noqa: S101 - the migrations are shipped along
    return head


def current(engines: Engines) -> str | None:
    """Return the version of a database's tables; None when it has none.

    Raises:
        StoreUnavailable: When it cannot be reached.
    """
    return _in_turn(engines, engines.reading, _found, "open")


def check(engines: Engines) -> str:
    """Return the version of a database that can be used.

    Raises:
        SchemaMismatch: When its tables are missing, old, or of a newer actorflow.
        StoreUnavailable: When it cannot be reached.
    """
    found = current(engines)
    if found != newest():
        raise _mismatch(engines, found)
    return found


def upgrade(engines: Engines) -> tuple[str | None, str]:
    """Give a database the newest tables; return its version before and after.

    Raises:
        SchemaMismatch: When its tables are of a newer actorflow.
        StoreUnavailable: When it cannot be reached.
    """
    return _in_turn(engines, engines.writing, partial(_upgrade, engines), "make its tables")


def opened(url: str, *, synchronous: Literal["FULL", "NORMAL"], create: bool) -> Engines:
    """Return the engines of a database whose tables can be used, or are made so.

    Raises:
        DefinitionError: When the URL is none.
        SchemaMismatch: When its tables are missing, old, or of a newer actorflow.
        StoreUnavailable: When it cannot be reached.
    """
    engines = Engines.to(url, synchronous=synchronous)
    try:
        (upgrade if create else check)(engines)
    except BaseException:
        engines.dispose()
        raise
    return engines


def _in_turn(
    engines: Engines, engine: sa.Engine, work: Callable[[sa.Connection], _T], what: str
) -> _T:
    """Do something in a transaction, after those who have SQLite's lock."""
    transactions = Transactions(engine, SystemClock(), _PATIENCE)
    try:
        return transactions.carry_out(work, what, again=is_locked)[0]
    except StoreUnavailable as error:
        named = f"database {engines.database}"
        raise StoreUnavailable(what, error.why, named, _cure(engines.file)) from error.__cause__


def _cure(file: Path | None) -> str:
    """Say what to do about a database that does not open."""
    if file is None:
        return "Check its address, that it is there and runs, and that this user may use it"
    if not file.parent.is_dir():
        strokes = "sqlite:/// begins a relative path, sqlite://// an absolute one"
        return f"There is no folder {file.parent}: make it, or mend the path ({strokes})"
    return "Check that it is a file of SQLite, that this user may write it, and its folder"


def _upgrade(engines: Engines, connection: sa.Connection) -> tuple[str | None, str]:
    # On SQLite the transaction itself, begun as IMMEDIATE, is the lock.
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    found, wanted = _found(connection), newest()
    if found == wanted:
        return found, wanted
    if found is not None and found not in _known():
        raise _mismatch(engines, found)
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return found, wanted


def _mismatch(engines: Engines, found: str | None) -> SchemaMismatch:
    newer = found is not None and found not in _known()
    return SchemaMismatch(engines.database, found, newest(), newer)


def _found(connection: sa.Connection) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


def _known() -> set[str]:
    return {script.revision for script in _scripts().walk_revisions()}


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "actorflow.state.sql.schema:migrations")
    return config
