"""How a watcher hears of changes in a SQLite file: it asks for the number of the data's version.

`PRAGMA data_version` gives another number after each commit of another connection, in this process
or in another one. It reads a counter in shared memory, which takes a few microseconds.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

from actorflow.state.sql.watching.signals import NOTHING, Signal

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import sqlalchemy as sa

    from actorflow.state.sql.watching.bell import Bell
    from actorflow.state.sql.watching.followers import Position

__all__ = ["SQLiteChannel"]

POLL: Final = 0.02
"""Seconds between two looks at the version while runs are followed; twice that otherwise."""
_QUERY: Final = (
    "SELECT run_id, status, last_event, fence FROM actorflow_runs "
    "WHERE run_id IN (SELECT value FROM json_each(?)) AND purged_at IS NULL"
)
_ANY: Final = Signal(runs=None, asked=True)


class SQLiteChannel:
    """A connection that notices the commits of others."""

    net: ClassVar[float] = 10.0
    """Seconds after which all runs are looked at even if nothing has changed."""

    def __init__(self, engine: sa.Engine, requests: sa.CompoundSelect[Any]) -> None:
        self._requests = requests
        self._connection = engine.connect()
        self._connection.detach()
        self._driver: Any = self._connection.connection.dbapi_connection
        self._version: object = None
        self._poll = POLL

    def listen(self, *, follows: bool) -> None:
        """Prepare to hear of changes of runs, or only of requests."""
        self._poll = POLL if follows else 2 * POLL

    def wait(self, bell: Bell, seconds: float | None) -> Signal:
        """Wait for a change, until the bell rings, or for that many seconds."""
        bell.wait(self._poll if seconds is None else min(seconds, self._poll))
        version = self._driver.execute("PRAGMA data_version").fetchone()
        known, self._version = self._version, version
        return NOTHING if version == known else _ANY

    def look(self, run_ids: Collection[str]) -> dict[str, Position]:
        """Return where runs stand, by one query."""
        with self._connection.begin():
            ids = msgspec.json.encode(list(run_ids)).decode()
            rows = self._connection.exec_driver_sql(_QUERY, (ids,))
            return {run_id: (status, last, fence) for run_id, status, last, fence in rows}

    def requests(self) -> Sequence[Sequence[str]]:
        """Return the pending requests."""
        with self._connection.begin():
            return self._connection.execute(self._requests).all()

    def close(self) -> None:
        """Disconnect."""
        with contextlib.suppress(Exception):  # it may be lost
            self._connection.close()
        # A detached connection that was invalidated, as on a file that was replaced, is still open.
        self._driver.close()
