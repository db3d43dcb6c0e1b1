"""How a watcher hears of changes in a PostgreSQL database: it listens on a connection of its own.

The connection is used without SQLAlchemy and without psycopg's own waiting, neither of which has a
limit: a server behind a broken network may never answer. Here each answer has one, and a connection
that exceeds it is given up.
"""

from __future__ import annotations

import selectors
from typing import TYPE_CHECKING, Any, ClassVar, Final

import psycopg
from psycopg import pq
from sqlalchemy.dialects import postgresql

from actorflow.state.sql.channels import CANCELS, FOLLOWED, RUNS, runs_in
from actorflow.state.sql.engines import connected
from actorflow.state.sql.watching.signals import NOTHING, Signal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    import sqlalchemy as sa

    from actorflow.state.sql.watching.bell import Bell
    from actorflow.state.sql.watching.followers import Position

__all__ = ["PostgreSQLChannel"]

_LIMIT: Final = 10.0
"""Seconds within which the server must answer."""
_QUERY: Final = (
    b"SELECT run_id, status, last_event, fence FROM actorflow_runs "
    b"WHERE run_id = ANY($1::text[]) AND purged_at IS NULL"
)
_FOLLOW: Final = (f"LISTEN {RUNS}", f"SELECT pg_advisory_lock_shared({FOLLOWED})")
_UNFOLLOW: Final = (f"UNLISTEN {RUNS}", f"SELECT pg_advisory_unlock_shared({FOLLOWED})")


class PostgreSQLChannel:
    """A connection that listens."""

    net: ClassVar[float] = 1.0
    """Seconds after which all runs are looked at even if nothing was heard."""

    def __init__(self, engine: sa.Engine, requests: sa.CompoundSelect[Any]) -> None:
        self._requests = _compiled(requests)
        # Not from the pool, which would wait for an answer when the connection is closed.
        self._follows = False
        self._selector = selectors.DefaultSelector()
        try:
            self._driver = connected(engine)
        except BaseException:
            self._selector.close()
            raise
        self._pg: pq.abc.PGconn = self._driver.pgconn
        self._pg.nonblocking = 1
        try:
            self._selector.register(self._pg.socket, selectors.EVENT_READ)
            self._ask(f"LISTEN {CANCELS}".encode())
        except BaseException:
            self.close()
            raise

    def listen(self, *, follows: bool) -> None:
        """Prepare to hear of changes of runs, or only of requests."""
        if follows is not self._follows:
            for statement in _FOLLOW if follows else _UNFOLLOW:
                self._ask(statement.encode())
            self._follows = follows

    def wait(self, bell: Bell, seconds: float | None) -> Signal:
        """Wait until something is heard, the bell rings, or that many seconds have passed."""
        # An answer to a query may have brought announcements along.
        heard = list(self._heard())
        if not heard:
            with bell.beside(self._pg.socket):
                ready = bell.wait(seconds)
            if ready:
                self._pg.consume_input()
            heard = list(self._heard())
        return _signal(heard) if heard else NOTHING

    def _heard(self) -> Iterator[tuple[str, str]]:
        while (notice := self._pg.notifies()) is not None:
            yield notice.relname.decode(), notice.extra.decode()

    def look(self, run_ids: Collection[str]) -> dict[str, Position]:
        """Return where runs stand, by one query; runs that do not exist are left out."""
        rows = self._ask(_QUERY, _array(run_ids))
        return {run_id: (status, int(last), int(fence)) for run_id, status, last, fence in rows}

    def requests(self) -> Sequence[Sequence[str]]:
        """Return the pending requests, as run id, kind and what belongs to it."""
        return self._ask(self._requests)

    def _ask(self, statement: bytes, *parameters: bytes) -> list[list[str]]:
        """Run a statement; return its rows as strings."""
        self._pg.send_query_params(statement, list(parameters))  # psycopg 3.2.0 takes no tuple
        while self._pg.flush():
            self._until_ready(selectors.EVENT_READ | selectors.EVENT_WRITE)
        rows: list[list[str]] = []
        while (result := self._next_result()) is not None:
            if result.status not in {pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK}:
                raise psycopg.OperationalError(result.error_message.decode(errors="replace"))
            rows += _rows(result)
        return rows

    def _next_result(self) -> pq.abc.PGresult | None:
        while self._pg.is_busy():
            self._until_ready(selectors.EVENT_READ)
        return self._pg.get_result()

    def _until_ready(self, events: int) -> None:
        self._selector.modify(self._pg.socket, events)
        if not self._selector.select(_LIMIT):
            raise psycopg.OperationalError(f"the server has not answered within {_LIMIT:g} s")
        self._pg.consume_input()

    def close(self) -> None:
        """Disconnect."""
        self._selector.close()
        self._driver.close()


def _compiled(query: sa.CompoundSelect[Any]) -> bytes:
    """Return a query as a string, with the values of its parameters."""
    dialect = postgresql.dialect(paramstyle="pyformat")  # type: ignore[no-untyped-call]
    return str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True})).encode()


def _signal(heard: Collection[tuple[str, str]]) -> Signal:
    named = [runs_in(text) for channel, text in heard if channel == RUNS]
    whole = None in named
    run_ids = {run_id for some in named if some is not None for run_id in some}
    return Signal(
        runs=None if whole else run_ids, asked=any(channel == CANCELS for channel, _ in heard)
    )


def _array(strings: Collection[str]) -> bytes:
    """Return strings as PostgreSQL writes an array."""
    escaped = (it.replace("\\", "\\\\").replace('"', '\\"') for it in strings)
    return ("{" + ",".join(f'"{it}"' for it in escaped) + "}").encode()


def _rows(result: pq.abc.PGresult) -> Iterator[list[str]]:
    for row in range(result.ntuples):
        values = (result.get_value(row, column) for column in range(result.nfields))
        yield [(value or b"").decode() for value in values]
