"""Runs that are enqueued on a connection, and in a transaction, of the caller's.

The statements are those of the writer, so that the rows are the same. They are compiled for the
dialect of the caller's engine, which may have another driver than ours.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from actorflow.errors.definition import DefinitionError
from actorflow.errors.storage import AlreadyStarted
from actorflow.state.folding import RunFold
from actorflow.state.sql.engines import transaction
from actorflow.state.sql.writing.group import Statements
from actorflow.state.sql.writing.open_runs import Batch, Change, OpenRun
from actorflow.support.safe_text import text_of
from actorflow.support.urls import masked_text, masked_url

if TYPE_CHECKING:
    from actorflow.state.sql.writing.queue import Create

__all__ = ["OutsideWriter"]

_NOBODY: Final = ""
_NAMED: Final = frozenset({"pyformat", "qmark"})
"""The parameter styles that the bulk statements can be compiled for."""


class OutsideWriter:
    """Writes enqueued runs on connections of callers; usable from any thread.

    Args:
        engine: An engine of the manager's, to compare databases.
        serializer: The name of the serializer that wrote the strings.
    """

    def __init__(self, engine: sa.Engine, serializer: str) -> None:
        self._engine = engine
        self._serializer = serializer
        self._lock = threading.Lock()
        self._known: weakref.WeakKeyDictionary[sa.Engine, Statements] = weakref.WeakKeyDictionary()
        """Engines that are known to lead to the same database."""

    @staticmethod
    def connection_of(given: Any) -> sa.Connection:
        """Return the connection itself, or that of a session.

        Raises:
            DefinitionError: When it is neither.
        """
        if isinstance(given, sa.Connection):
            return given
        for name in ("sync_session", "sync_connection"):
            if hasattr(given, name):
                problem = f"enqueue_in() got {type(given).__name__}, which is asynchronous"
                cure = "Write await session.run_sync(lambda it: state.enqueue_in(it, flow, inputs))"
                raise DefinitionError(None, problem, cure)
        # `Session` and `scoped_session`, without loading the ORM.
        found = given.connection() if hasattr(given, "get_bind") else None
        if isinstance(found, sa.Connection):
            return found
        said = masked_text(text_of(given))  # an engine shows its URL
        problem = f"enqueue_in() got {said}, which is neither a connection nor a session"
        cure = "Pass a sqlalchemy.Connection, as of engine.begin(), or a sqlalchemy.orm.Session"
        raise DefinitionError(None, problem, cure)

    def enqueue(self, connection: sa.Connection, entry: Create) -> str:
        """Enqueue a run; return its id, or that of the earlier or live run with its keys.

        Raises:
            DefinitionError: When the connection cannot be used.
            KeyInUse: When a live run with its `key` keeps it out.
            SQLAlchemyError: When the database refuses a statement.
        """
        statements = self._statements(connection)
        _refuse_autocommit(connection)
        run_id = entry.record.run_id
        batch: Batch = {run_id: Change(OpenRun(RunFold(entry.record), 1, 0), 0, entry)}
        refused = statements.admit(connection, batch).get(run_id)
        if isinstance(refused, AlreadyStarted):
            return refused.run_id
        if refused is not None:
            raise refused
        statements.write(connection, batch)
        return run_id

    def _statements(self, connection: sa.Connection) -> Statements:
        with self._lock:
            known = self._known.get(connection.engine)
        if known is None:
            self._check_database(connection)
            known = Statements(connection.dialect, _NOBODY, self._serializer)
            with self._lock:
                self._known[connection.engine] = known
        return known

    def _check_database(self, connection: sa.Connection) -> None:
        dialect, ours = connection.dialect, self._engine.dialect
        url = masked_url(connection.engine.url.render_as_string(hide_password=True))
        if dialect.name != ours.name or dialect.paramstyle not in _NAMED:
            problem = f"enqueue_in() got a connection to {url}"
            cure = f"Pass one to the manager's database, with the driver {ours.driver}"
            raise DefinitionError(None, problem, cure)
        with transaction(self._engine) as own:
            same = _identity(own) == _identity(connection)
        if not same:
            problem = f"enqueue_in() got a connection to {url}, which is another database or schema"
            raise DefinitionError(None, problem, "Pass a connection to the manager's database")


def _identity(connection: sa.Connection) -> object:
    """Return what tells a database, with its table of runs, from all others."""
    if connection.dialect.name == "sqlite":
        files = connection.exec_driver_sql("PRAGMA database_list").all()
        found = os.stat(next(path for _, name, path in files if name == "main") or os.devnull)  # noqa: PTH116
        return found.st_dev, found.st_ino
    query = "SELECT current_database(), pg_postmaster_start_time(), to_regclass('actorflow_runs')"
    return tuple(connection.exec_driver_sql(f"{query}::oid").one())


def _refuse_autocommit(connection: sa.Connection) -> None:
    """Refuse a connection that would commit each statement by itself.

    Raises:
        DefinitionError: When it is one.
    """
    level = connection.get_execution_options().get("isolation_level")
    raw: Any = connection.connection.dbapi_connection
    alone = getattr(raw, "autocommit", False) is True or level == "AUTOCOMMIT"
    if connection.dialect.name == "sqlite" and getattr(raw, "isolation_level", "") is None:
        connection.exec_driver_sql("SELECT 1").close()  # has SQLAlchemy begin, if it has not yet
        alone = not raw.in_transaction
    if alone:
        problem = "enqueue_in() got a connection that commits each statement by itself (AUTOCOMMIT)"
        cure = "Pass a connection or session in a transaction, which decides about the run"
        raise DefinitionError(None, problem, cure)
