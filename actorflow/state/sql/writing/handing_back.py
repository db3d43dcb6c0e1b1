"""The statements that give runs up: to the next owner, or until there is news for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from actorflow.state.sql.leases import database_time
from actorflow.state.sql.schema.tables import runs
from actorflow.state.sql.values.errors import clipped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorflow.model.mail import Eviction
    from actorflow.state.sql.writing.queue import HandBack

__all__ = ["HandBacks"]


class HandBacks:
    """Gives up runs of one owner.

    Args:
        dialect: The name of the database's dialect.
        owner: The owner's id.
    """

    def __init__(self, dialect: str, owner: str) -> None:
        self._owner = owner
        self._now = database_time(dialect)

    def write(self, connection: sa.Connection, given: HandBack) -> None:
        """Give up ownership of a run in progress."""
        run_id, parked = given.run_id, given.parked
        mine = (runs.c.run_id == run_id, runs.c.owner == self._owner, runs.c.finished_at.is_(None))
        reason = None if parked is None else clipped(parked)
        free: dict[str, Any] = {
            "owner": "",
            "owned_since": None,
            "fence": runs.c.fence + 1,
            "parked": reason,
            "parked_since": None if parked is None else self._now,
        }
        if given.eviction is not None:
            free["deadline_at"] = given.eviction.deadline_at
        if self._sleeps(connection, mine, given.eviction, free):
            return
        if connection.execute(sa.update(runs).where(*mine).values(free)).rowcount:
            return
        # A run that was about to be resumed, and keeps its end, does not keep its key.
        ended = (runs.c.run_id == run_id, runs.c.owner == self._owner, ~mine[2])
        connection.execute(sa.update(runs).where(*ended).values(key_slot=None))

    def _sleeps(
        self,
        connection: sa.Connection,
        mine: Sequence[Any],
        eviction: Eviction | None,
        free: dict[str, Any],
    ) -> bool:
        """Have an evicted run wait without an owner; return False if there is news for it."""
        if eviction is None:
            return False
        no_news = (
            sa.func.coalesce(runs.c.last_message, 0) <= eviction.seen,
            runs.c.cancel_asked.is_(None),
        )
        asleep = {
            "waiting": clipped(eviction.waiting),
            "waiting_since": self._now,
            "wake_at": eviction.wake_at,
        }
        sleeps = sa.update(runs).where(*mine, *no_news).values(free | asleep)
        return bool(connection.execute(sleeps).rowcount)
