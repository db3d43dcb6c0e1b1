"""Runs that have ended are deleted, a few at a time, and last of all their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from actorflow.errors import StoreUnavailable
from actorflow.state.sql.leases import moment_in
from actorflow.state.sql.refusal import why
from actorflow.state.sql.schema import keys, runs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Purge"]

_MOST_RUNS: Final = 100
_MOST_EVENTS: Final = 5_000
"""What one transaction deletes, if it is more than one run."""


@attrs.frozen
class Purge:
    """Deletes from one database; each transaction is small, so that nobody waits for long.

    Whoever is interrupted, or refused, has deleted what he has, and may do the rest later.
    """

    engine: sa.Engine

    def old_runs(self, seconds: float) -> int:
        """Delete the runs that ended longer ago than that; return how many there were."""
        past = moment_in(self.engine.dialect.name, -seconds)
        oldest = _ended().where(runs.c.finished_at < past).order_by(runs.c.finished_at)
        return self._again_and_again(lambda connection: _delete(connection, oldest))

    def surplus_runs(self, keep: int) -> int:
        """Delete all runs that have ended but the newest so many; return how many there were."""
        surplus = _ended().order_by(runs.c.finished_at.desc(), runs.c.run_id.desc()).offset(keep)
        return self._again_and_again(lambda connection: _delete(connection, surplus))

    def old_keys(self, seconds: float) -> int:
        """Delete the keys older than that whose runs are gone; return how many there were."""
        past = moment_in(self.engine.dialect.name, -seconds)
        gone = ~sa.exists().where(runs.c.run_id == keys.c.run_id)
        pair = (keys.c.workflow_id, keys.c.idempotency_key)
        oldest = sa.select(*pair).where(keys.c.created_at < past, gone).limit(_MOST_EVENTS)

        def delete(connection: sa.Connection) -> int:
            found = [tuple(row) for row in connection.execute(oldest)]
            if found:
                connection.execute(sa.delete(keys).where(sa.tuple_(*pair).in_(found)))
            return len(found)

        return self._again_and_again(delete)

    def _again_and_again(self, delete: Callable[[sa.Connection], int]) -> int:
        deleted = 0
        try:
            while count := self._once(delete):
                deleted += count
        except SQLAlchemyError as error:
            raise StoreUnavailable(f"delete more than {deleted} rows", why(error)) from error
        return deleted

    def _once(self, delete: Callable[[sa.Connection], int]) -> int:
        with self.engine.begin() as connection:
            return delete(connection)


def _ended() -> sa.Select[Any]:
    return sa.select(runs.c.run_id, runs.c.last_event).where(runs.c.finished_at.is_not(None))


def _delete(connection: sa.Connection, which: sa.Select[Any]) -> int:
    """Delete the first of some runs, which takes their steps and events along."""
    found = connection.execute(which.limit(_MOST_RUNS)).all()
    some = _some(found)
    if not some:
        return 0
    # One that was resumed in the meantime has not ended any more.
    ended = runs.c.finished_at.is_not(None)
    connection.execute(sa.delete(runs).where(runs.c.run_id.in_(some), ended))
    return len(some)


def _some(found: Sequence[Any]) -> list[str]:
    """Return as many of the runs as one transaction deletes, and one at least."""
    some: list[str] = []
    events = 0
    for run_id, last_event in found:
        events += last_event
        if some and events > _MOST_EVENTS:
            break
        some.append(run_id)
    return some
