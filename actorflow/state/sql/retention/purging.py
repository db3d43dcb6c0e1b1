"""Deletes ended runs bit by bit, while others write.

A run that is to go is first marked, which takes it out of everybody's sight in one instant. Its
fencing token goes up with that, so whoever had just claimed it can write nothing of it. Then its
rows are deleted: events, steps, and the run itself. So a run is there as a whole or not at all,
however many transactions it takes to delete it. Last of all go the idempotency keys of runs that
are gone, when they are old: a message that is delivered again must not begin anything anew.

Each transaction deletes a limited number of rows, fewer where the database is slow, and is
followed by a pause as long as it was: at least half of the time the database belongs to others.
Nothing is loaded here. Whoever is stopped on the way leaves marked runs behind, and the next one
to purge begins with them.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

import attrs
import sqlalchemy as sa

from actorflow.state.sql.ownership.leases import run_out
from actorflow.state.sql.retention.limits import PurgeReport
from actorflow.state.sql.schema.tables import GOES, STAYS, events, keys, owners, runs, steps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorflow.state.sql.database.transactions import Transactions
    from actorflow.state.sql.retention.limits import Limits

__all__ = ["Pace", "Purger"]

_LOCK: Final = 0x_AC_70_F1_04
"""The key of the advisory lock under which PostgreSQL purges; any number of nobody else's."""
_FEW: Final = 100
_SHORT: Final = 0.005
_LONG: Final = 0.02
"""Seconds that a transaction is to take."""
_PAUSE: Final = 0.001
_WHAT: Final = "purge runs"


@attrs.define
class Pace:
    """How many rows a transaction deletes: as many as take no more than a moment.

    But never very few. What a transaction costs besides its rows (a commit, the way to a server
    and back, a busy machine) must not make it smaller and smaller, and the purge endless.
    """

    most: int
    rows: int = 0

    def __attrs_post_init__(self) -> None:
        self.rows = self._least

    @property
    def _least(self) -> int:
        return min(_FEW, self.most)

    def take(self, seconds: float) -> None:
        """Learn how long the last transaction has taken."""
        if seconds > _LONG:
            self.rows = max(self.rows // 2, self._least)
        elif seconds < _SHORT:
            self.rows = min(self.rows * 2, self.most)


class Purger:
    """Deletes what is to go; from any thread, one at a time.

    Args:
        transactions: How.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._one = threading.Lock()

    def purge(self, limits: Limits, stopped: threading.Event) -> PurgeReport:
        """Delete runs until none is left that is to go, or until `stopped` is set.

        Raises:
            StoreUnavailable: When the database does not answer; what is deleted stays so.
        """
        pace = Pace(limits.rows)
        with self._one:
            bound, _ = self._transactions.carry_out(
                lambda it: self._begin(it, limits), _WHAT, stopped
            )
            report = self._bit_by_bit(lambda it: self._some(it, bound, pace.rows), pace, stopped)
            last = _Keys(self._transactions.wall() - limits.keys_older_than)
            report += self._bit_by_bit(lambda it: last.some(it, pace.rows), pace, stopped)
        return report

    def _bit_by_bit(
        self,
        work: Callable[[sa.Connection], PurgeReport | None],
        pace: Pace,
        stopped: threading.Event,
    ) -> PurgeReport:
        """Do something in transactions until there is nothing left to do."""
        report = PurgeReport()
        while not stopped.is_set():
            part, took = self._transactions.carry_out(work, _WHAT, stopped)
            if part is None:
                break
            report += part
            pace.take(took)
            stopped.wait(max(took, _PAUSE))
        return report

    def _begin(self, connection: sa.Connection, limits: Limits) -> tuple[float, str] | None:
        """Delete the leases of those that are gone, and return what `_bound` does."""
        connection.execute(sa.delete(owners).where(run_out(connection.dialect.name)))
        return self._bound(connection, limits)

    def _bound(self, connection: sa.Connection, limits: Limits) -> tuple[float, str] | None:
        """Return the end and the id of the newest run that is to go; None when there is none."""
        bounds = []
        if limits.older_than is not None:
            bounds.append((self._transactions.wall() - limits.older_than, ""))
        if limits.keep is not None:
            ended = sa.select(*_END).where(_ENDED, STAYS).order_by(*(it.desc() for it in _END))
            beyond = connection.execute(ended.offset(limits.keep).limit(1)).one_or_none()
            bounds += [] if beyond is None else [(beyond.finished_at, beyond.run_id)]
        return max(bounds, default=None)

    def _some(
        self, connection: sa.Connection, bound: tuple[float, str] | None, rows: int
    ) -> PurgeReport | None:
        """Delete some rows, and mark some runs; return None when there is nothing to do."""
        _prepare(connection)
        going = connection.scalars(_GOING.limit(rows)).all()
        done = [0, 0, 0]
        for place, delete in enumerate((_delete_events, _delete_steps, _delete_runs)):
            if going and rows:
                done[place] = connection.execute(delete(going, rows)).rowcount
                rows -= done[place]
        marked = 0
        if rows and bound is not None:
            marked = connection.execute(_mark(bound, self._transactions.wall(), rows)).rowcount
        gone = PurgeReport(events=done[0], steps=done[1], runs=done[2])
        return gone if any(done) or marked else None


class _Keys:
    """Deletes idempotency keys whose runs are gone, from the oldest to the last that is due.

    A key that stays is looked at once: they may be many.

    Args:
        before: The keys of runs that were accepted before that are due.
    """

    def __init__(self, before: float) -> None:
        self._due = keys.c.created_at < before
        self._after: Any = sa.true()

    def some(self, connection: sa.Connection, rows: int) -> PurgeReport | None:
        """Look at some keys; return None when there are no more."""
        _prepare(connection)
        query = sa.select(*_KEY, keys.c.run_id).where(self._due, self._after)
        seen = connection.execute(query.order_by(*_KEY).limit(rows)).all()
        if not seen:
            return None
        self._after = sa.tuple_(*_KEY) > tuple(seen[-1][:-1])
        named = sa.tuple_(keys.c.workflow_id, keys.c.idempotency_key)
        gone = sa.delete(keys).where(
            named.in_([(it.workflow_id, it.idempotency_key) for it in seen]),
            ~sa.exists().where(runs.c.run_id == keys.c.run_id),
        )
        return PurgeReport(keys=connection.execute(gone).rowcount)


# ── Statements ───────────────────────────────────────────────────────────────────────────────

_END: Final = (runs.c.finished_at, runs.c.run_id)
_KEY: Final = (keys.c.created_at, keys.c.workflow_id, keys.c.idempotency_key)
_ENDED: Final = runs.c.finished_at.is_not(None)


_GOING: Final = sa.select(runs.c.run_id).where(GOES).order_by(runs.c.run_id)


def _prepare(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        # Where a table has grown, or lost many rows, since its statistics were made, PostgreSQL
        # would read and sort all of it to find a few rows. Each query here has an index that has
        # its order, too.
        for plan in ("enable_seqscan", "enable_bitmapscan", "enable_sort"):
            connection.execute(sa.text(f"SET LOCAL {plan} = off"))


def _mark(bound: tuple[float, str], now: float, rows: int) -> sa.Update:
    """Mark the oldest runs that are to go, unless they have been resumed."""
    going = sa.and_(_ENDED, STAYS, sa.tuple_(*_END) <= bound)
    oldest = sa.select(runs.c.run_id).where(going).order_by(*_END).limit(rows)
    return (
        sa.update(runs)
        .where(runs.c.run_id.in_(oldest), going)
        .values(purged_at=now, fence=runs.c.fence + 1)
    )


def _delete_events(of: Sequence[str], rows: int) -> sa.Delete:
    return _delete(events, ("run_id", "number"), of, rows)


def _delete_steps(of: Sequence[str], rows: int) -> sa.Delete:
    return _delete(steps, ("run_id", "step_id"), of, rows)


def _delete_runs(of: Sequence[str], rows: int) -> sa.Delete:
    """Delete runs of which nothing else is left."""
    return _delete(runs, ("run_id",), of, rows)


def _delete(table: sa.Table, key: tuple[str, ...], of: Sequence[str], rows: int) -> sa.Delete:
    """Delete some rows of runs."""
    inner = table.alias()
    some = sa.select(*(inner.c[it] for it in key)).where(inner.c.run_id.in_(of)).limit(rows)
    return sa.delete(table).where(sa.tuple_(*(table.c[it] for it in key)).in_(some))
