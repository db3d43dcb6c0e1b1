"""The channels over which processes tell each other of changes in a PostgreSQL database.

A writer announces the runs of a commit on `actorflow_runs`, within its own transaction and
statement, and only while a process follows runs in this database: each watcher that does holds a
shared advisory lock, and a writer that can take the lock alone knows that there is none. To find
that out costs about 1 us. To announce costs about a tenth of a small commit, and a quarter of the
throughput when four processes commit at once, because PostgreSQL lets announcements commit one
after another.

A request to cancel or to pause a run is announced on `actorflow_cancels`, always.

An announcement may be lost with a connection. It only makes a watcher look sooner than it would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "CANCELS",
    "FOLLOWED",
    "RUNS",
    "announce",
    "ask",
    "notification",
    "payload",
    "runs_in",
]

RUNS: Final = "actorflow_runs"
"""The channel for runs whose record has changed."""
CANCELS: Final = "actorflow_cancels"
"""The channel for requests to cancel and to pause."""
FOLLOWED: Final = 0x6163746F72666C77
"""The key of the advisory lock that watchers share; it spells `actorflw`."""
_LARGEST: Final = 7_900
"""The maximum size in bytes of a payload; PostgreSQL's own limit is 8,000."""
_EVERY: Final = "[]"
"""The payload that stands for more runs than it could name."""


def ask(statement: sa.Update, connection: sa.Connection) -> None:
    """Execute the statement that records a request to cancel, and announce it."""
    connection.execute(statement)
    announce(connection)


def announce(connection: sa.Connection) -> None:
    """Announce that there is a request for the owner of a run."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_notify(CANCELS, "")))


def payload(run_ids: Iterable[str]) -> str:
    """Return the payload that names runs."""
    encoded = msgspec.json.encode(list(run_ids))
    return encoded.decode() if len(encoded) <= _LARGEST else _EVERY


def runs_in(text: str) -> list[str] | None:
    """Return the runs that a payload names; None if it may be any."""
    try:
        return msgspec.json.decode(text, type=list[str]) or None
    except msgspec.DecodeError:  # from another program
        return None


def notification() -> sa.ColumnElement[Any]:
    """Return the expression that announces the runs in the parameter `told`, if any is followed."""
    key: sa.ColumnElement[int] = sa.literal_column(str(FOLLOWED))
    channel: sa.ColumnElement[str] = sa.literal_column(f"'{RUNS}'")
    free = sa.func.pg_try_advisory_lock(key, type_=sa.Boolean)
    followed = sa.case((free, ~sa.func.pg_advisory_unlock(key, type_=sa.Boolean)), else_=sa.true())
    announced = sa.func.pg_notify(channel, sa.bindparam("told", type_=sa.Text))
    return sa.case((followed, sa.cast(announced, sa.Text)))
