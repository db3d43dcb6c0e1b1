"""Watching a database: who follows which runs, the thread that looks, and how it hears of news."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorflow.state.sql.watching.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa

    from actorflow.state.sql.leases import Requests
    from actorflow.state.sql.watching.signals import Channel

__all__ = ["watcher_of"]


def watcher_of(engine: sa.Engine, requests: Requests, now: Callable[[], float]) -> Watcher:
    """Return a watcher, which does not connect yet.

    Args:
        engine: The engine to connect with.
        requests: The requests to cancel the runs of its state manager.
        now: Returns the monotonic time.
    """

    def connect() -> Channel:
        if engine.dialect.name == "sqlite":
            from actorflow.state.sql.watching.sqlite import SQLiteChannel  # noqa: PLC0415

            return SQLiteChannel(engine, requests.query)
        from actorflow.state.sql.watching.postgresql import PostgreSQLChannel  # noqa: PLC0415

        return PostgreSQLChannel(engine, requests.query)

    return Watcher(connect, requests, now)
