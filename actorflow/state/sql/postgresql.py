"""Connections to PostgreSQL that do not wait for ever.

A server behind a broken network, or behind a proxy that has lost it, may take a statement and never
answer, and neither TCP nor psycopg finds that strange. Here, silence has a limit. A connection that
exceeds it is closed, which the caller sees as a lost connection: it connects again, and looks
whether the statement was executed.

The server has such a limit as well: a transaction that its client has abandoned would otherwise
keep rows locked, and the runs in those rows from all other orchestrators.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg

from actorflow.support.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import sqlalchemy as sa

__all__ = ["LimitedConnection", "connect", "unlimited"]

_T = TypeVar("_T")
_PING: Final = 5.0
"""Seconds of silence after which a connection of the pool is no longer alive."""
_CONNECTING: Final = 10
"""Seconds within which a connection must be established."""
_ABANDONED: Final = "SET idle_in_transaction_session_timeout TO '10s'"


class LimitedConnection(psycopg.Connection[Any]):
    """A connection that is closed when the server is silent for too long."""

    silence: float | None = None
    """Seconds of silence after which a statement fails; None for no limit."""

    def wait(self, gen: Generator[Any, Any, _T], *arguments: Any, **options: Any) -> _T:
        """Wait for the server, as psycopg does."""
        limit = self.silence
        if limit is not None and self.autocommit:  # as SQLAlchemy asks whether it is alive
            limit = min(limit, _PING)
        waited_for = gen if limit is None else self._limited(gen, limit)
        return super().wait(waited_for, *arguments, **options)

    def _limited(self, gen: Generator[Any, Any, _T], limit: float) -> Generator[Any, Any, _T]:
        """Pass everything on, until the socket has not been ready for so many seconds."""
        now = SystemClock.now
        since = now()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    since = now()
                elif now() - since >= limit:
                    self.pgconn.finish()  # what it may still say answers nothing
                    raise psycopg.OperationalError(f"the server was silent for {limit:g} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            result: _T = end.value
            return result


def connect(
    arguments: Any, options: dict[str, Any], silence: float | None, *, writes: bool
) -> LimitedConnection:
    """Return a new connection.

    Args:
        arguments: The positional arguments of `psycopg.connect`.
        options: Its named arguments.
        silence: Seconds of silence after which a statement fails.
        writes: Whether its transactions may lock rows.

    Raises:
        psycopg.OperationalError: When the server cannot be reached.
    """
    if "PGCONNECT_TIMEOUT" not in os.environ:
        options = {"connect_timeout": _CONNECTING} | options
    made = LimitedConnection.connect(*arguments, **options)
    made.silence = silence
    try:
        # Overrides the settings of the server, the database and the user: psycopg parses timestamps
        # in this form only, and no other encoding has every character.
        made.execute("SET datestyle TO ISO; SET client_encoding TO 'UTF8'").close()
        if writes:
            made.execute(_ABANDONED).close()
        made.commit()
    except BaseException:
        made.close()
        raise
    return made


@contextlib.contextmanager
def unlimited(connection: sa.Connection) -> Iterator[None]:
    """Let the server take its time for the statements of the block."""
    raw: Any = connection.connection.dbapi_connection
    before, raw.silence = raw.silence, None
    try:
        yield
    finally:
        raw.silence = before
