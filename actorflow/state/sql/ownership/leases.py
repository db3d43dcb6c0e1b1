"""How long a run is whose: one lease for all runs of an owner, kept by its writer.

An owner that is alive renews its lease along with what it writes anyhow, or by itself when it has
nothing to write. The time is the database's own, so that clocks of several machines need not
agree. A lease that has run out takes nothing from its owner yet: it lets others take its runs
over, one by one, and each that they take has a new fencing token, which the writes of the former
owner do not have. So an owner that was only slow goes on with whatever nobody has taken. What
somebody has, it learns at its next write of that run, and when it next renews its lease.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from actorflow.state.sql.schema.tables import STAYS, Moment, owners, runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from actorflow.state.sql.ownership.cancel_requests import Requests

__all__ = ["Lease", "nobodys", "run_out"]

_RENEWALS: Final = 3
"""How many times a lease is renewed while it would last."""
_AT_ONCE: Final = 500
"""How many runs one query looks for."""
_TAKEN_OVER: Final = "it was taken over by another orchestrator"


def nobodys(dialect: str) -> sa.ColumnElement[bool]:
    """Return the condition under which a run in progress belongs to nobody any more."""
    holds = sa.exists().where(
        owners.c.owner == runs.c.owner, owners.c.lease_until > _in(dialect, 0.0)
    )
    return ~holds


def run_out(dialect: str) -> sa.ColumnElement[bool]:
    """Return the condition under which a lease means no more than none."""
    return owners.c.lease_until <= _in(dialect, 0.0)


def _in(dialect: str, seconds: float) -> sa.ColumnElement[Any]:
    """Return the moment in so many seconds, by the clock of the database."""
    if dialect == "sqlite":
        # The form that `Moment` has, though SQLite knows milliseconds only.
        form = "%Y-%m-%d %H:%M:%f000+00:00"
        return sa.func.strftime(form, "now", f"{seconds:+f} seconds", type_=Moment)
    return sa.func.clock_timestamp() + sa.func.make_interval(0, 0, 0, 0, 0, 0, seconds)


class Lease:
    """One owner's lease; for its writer's thread alone.

    Args:
        dialect: The name of the database's dialect.
        owner: Whose it is.
        seconds: How long it lasts unless it is renewed.
        now: Returns the monotonic time.
        requests: What others ask of its runs, which is looked for along with it.
    """

    def __init__(
        self,
        dialect: str,
        owner: str,
        seconds: float,
        now: Callable[[], float],
        requests: Requests,
    ) -> None:
        self._now = now
        self._requests = requests
        self._every = seconds / _RENEWALS
        self._renewed_at: float | None = None
        insert: Any = (sqlite.insert if dialect == "sqlite" else postgresql.insert)(owners)
        until = _in(dialect, seconds)
        self._renew = insert.values(owner=owner, lease_until=until).on_conflict_do_update(
            index_elements=["owner"], set_={"lease_until": until}
        )
        self._end = sa.delete(owners).where(owners.c.owner == owner)

    @property
    def rest(self) -> float:
        """Seconds until it is to be renewed."""
        if self._renewed_at is None:
            return 0.0
        return max(0.0, self._renewed_at + self._every - self._now())

    def renew(self, connection: sa.Connection) -> float | None:
        """Renew it if that is due; return what `keep` takes when that is committed."""
        if self.rest > 0.0:
            return self._renewed_at
        at = self._now()
        connection.execute(self._renew)
        self._requests.read(connection)
        return at

    def keep(self, renewed_at: float | None) -> None:
        """Take note that a renewal is committed."""
        self._renewed_at = renewed_at
        self._requests.tell()

    def strayed(self, connection: sa.Connection, fences: Mapping[str, int]) -> list[str]:
        """Return those of the runs that do not have these fencing tokens any more."""
        run_ids, found = list(fences), dict[str, int]()
        for start in range(0, len(run_ids), _AT_ONCE):
            some = runs.c.run_id.in_(run_ids[start : start + _AT_ONCE])
            query = sa.select(runs.c.run_id, runs.c.fence).where(some, STAYS)
            for run_id, fence in connection.execute(query):
                found[run_id] = fence
        return [run_id for run_id, fence in fences.items() if found.get(run_id) != fence]

    def tell_lost(self, run_ids: Iterable[str]) -> None:
        """Have runs ended here that belong to somebody else."""
        for run_id in run_ids:
            self._requests.pass_on(run_id, _TAKEN_OVER, compensate=False)

    def end(self, connection: sa.Connection) -> None:
        """Give up all runs that have not ended, to whoever wants them."""
        connection.execute(self._end)
        self._renewed_at = None
