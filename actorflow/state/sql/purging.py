"""Deletes ended runs in small batches while other connections write.

A run to delete is first marked, which hides it from all readers at once. Marking also increments
its fencing token, so an orchestrator that has just claimed the run can no longer write to it. Then
its rows are deleted: events, steps, attributes, and the run itself. A run is therefore visible as a
whole or not at all, however many transactions its deletion takes. A child is not deleted before
its whole family has ended: it may be asked for again, or undone. Last, old idempotency keys of
deleted runs are removed; they outlive the run so that a message delivered twice does not start a
second run.

Each transaction deletes a limited number of rows, fewer on a slow database, and is followed by a
pause of the same length, so the purge uses at most half of the database's time. No rows are loaded
into memory. A purge that is interrupted leaves marked runs behind, and the next purge starts with
them.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

import attrs
import sqlalchemy as sa

from actorflow.state.sql.leases import lease_forgotten
from actorflow.state.sql.retention import PurgeReport
from actorflow.state.sql.schema.tables import (
    NOT_PURGED,
    PURGED,
    attributes,
    batches,
    keys,
    messages,
    owners,
    runs,
    steps,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorflow.state.sql.retention import Limits
    from actorflow.state.sql.transactions import Transactions

__all__ = ["Pace", "Purger"]

_LOCK: Final = 0x_AC_70_F1_04
"""The key of PostgreSQL's advisory lock for purges; an arbitrary number."""
_MIN_ROWS: Final = 100
_SHORT: Final = 0.005
_LONG: Final = 0.02
"""A transaction that takes less than `_SHORT` or more than `_LONG` seconds changes the pace."""
_PAUSE: Final = 0.001
_OPERATION: Final = "purge runs"


@attrs.define
class Pace:
    """How many rows one transaction deletes: as many as take only a few milliseconds.

    There is a lower bound. The fixed cost of a transaction (a commit, the round trip to a server, a
    busy machine) must not shrink it further and further and make the purge endless.
    """

    max_rows: int
    rows: int = 0

    def __attrs_post_init__(self) -> None:
        self.rows = self._min_rows

    @property
    def _min_rows(self) -> int:
        return min(_MIN_ROWS, self.max_rows)

    def take(self, seconds: float) -> None:
        """Adapt to the duration of the last transaction."""
        if seconds > _LONG:
            self.rows = max(self.rows // 2, self._min_rows)
        elif seconds < _SHORT:
            self.rows = min(self.rows * 2, self.max_rows)


class Purger:
    """Deletes runs; usable from any thread, one purge at a time.

    Args:
        transactions: Runs the transactions.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._lock = threading.Lock()

    def purge(self, limits: Limits, stopped: threading.Event) -> PurgeReport:
        """Delete runs until no run exceeds the limits, or until `stopped` is set.

        Raises:
            StoreUnavailable: When the database cannot be reached; deleted rows stay deleted.
        """
        pace = Pace(limits.rows)
        with self._lock:
            bound, _ = self._transactions.run(
                lambda it: self._begin(it, limits), _OPERATION, stopped
            )
            report = self._in_batches(
                lambda it: self._purge_runs(it, bound, pace.rows), pace, stopped
            )
            old_keys = _Keys(self._transactions.wall() - limits.keys_older_than)
            report += self._in_batches(lambda it: old_keys.purge(it, pace.rows), pace, stopped)
        return report

    def _in_batches(
        self,
        work: Callable[[sa.Connection], PurgeReport | None],
        pace: Pace,
        stopped: threading.Event,
    ) -> PurgeReport:
        """Run `work` in one transaction after another until it returns None."""
        report = PurgeReport()
        while not stopped.is_set():
            part, took = self._transactions.run(work, _OPERATION, stopped)
            if part is None:
                break
            report += part
            pace.take(took)
            stopped.wait(max(took, _PAUSE))
        return report

    def _begin(self, connection: sa.Connection, limits: Limits) -> tuple[float, str] | None:
        """Delete leases of owners that are gone; return the bound (see `_bound`)."""
        connection.execute(sa.delete(owners).where(lease_forgotten(connection.dialect.name)))
        return self._bound(connection, limits)

    def _bound(self, connection: sa.Connection, limits: Limits) -> tuple[float, str] | None:
        """Return the end time and id of the newest run to delete; None when there is none."""
        bounds = []
        if limits.older_than is not None:
            bounds.append((self._transactions.wall() - limits.older_than, ""))
        if limits.keep is not None:
            ended = sa.select(*_END).where(_ENDED, NOT_PURGED).order_by(*(it.desc() for it in _END))
            beyond = connection.execute(ended.offset(limits.keep).limit(1)).one_or_none()
            bounds += [] if beyond is None else [(beyond.finished_at, beyond.run_id)]
        return max(bounds, default=None)

    def _purge_runs(
        self, connection: sa.Connection, bound: tuple[float, str] | None, rows: int
    ) -> PurgeReport | None:
        """Delete some rows and mark some runs; return None when there is nothing left to do."""
        _prepare(connection)
        going = connection.scalars(_GOING.limit(rows)).all()
        deleted, events = [0] * len(_WITH_KEYS), 0
        for index, (table, key) in enumerate(_WITH_KEYS):
            if going and rows:
                some = _first_rows(table, key, going, rows)
                if table is batches:
                    events = connection.execute(_number_of_events(some)).scalar_one()
                deleted[index] = connection.execute(_delete(table, key, some)).rowcount
                rows -= deleted[index]
        marked = 0
        if rows and bound is not None:
            marked = connection.execute(_mark(bound, self._transactions.wall(), rows)).rowcount
        report = PurgeReport(events=events, steps=deleted[1], runs=deleted[-1])
        return report if any(deleted) or marked else None


class _Keys:
    """Deletes idempotency keys whose runs are gone, oldest first.

    Each key is examined only once, because many of them may stay.

    Args:
        before: Only the keys of runs accepted before this time are examined.
    """

    def __init__(self, before: float) -> None:
        self._due = keys.c.created_at < before
        self._after: Any = sa.true()

    def purge(self, connection: sa.Connection, rows: int) -> PurgeReport | None:
        """Examine some keys; return None when there are none left."""
        _prepare(connection)
        query = sa.select(*_KEY, keys.c.run_id).where(self._due, self._after)
        seen = connection.execute(query.order_by(*_KEY).limit(rows)).all()
        if not seen:
            return None
        self._after = sa.tuple_(*_KEY) > tuple(seen[-1][:-1])
        named = sa.tuple_(keys.c.workflow_id, keys.c.idempotency_key)
        deletion = sa.delete(keys).where(
            named.in_([(it.workflow_id, it.idempotency_key) for it in seen]),
            ~sa.exists().where(runs.c.run_id == keys.c.run_id),
        )
        return PurgeReport(keys=connection.execute(deletion).rowcount)


# ── Statements ───────────────────────────────────────────────────────────────────────────────

_END: Final = (runs.c.finished_at, runs.c.run_id)
_KEY: Final = (keys.c.created_at, keys.c.workflow_id, keys.c.idempotency_key)
_ENDED: Final = runs.c.finished_at.is_not(None)


_relative: Final = runs.alias("relative")
_FAMILY_GOES_ON: Final = sa.or_(
    sa.exists().where(_relative.c.run_id == runs.c.root_run_id, _relative.c.finished_at.is_(None)),
    sa.exists().where(
        _relative.c.root_run_id == runs.c.root_run_id, _relative.c.finished_at.is_(None)
    ),
)
"""The run is a child, and a run of its family is in progress, which may need it again. As two
conditions, each has an index.
"""


_GOING: Final = sa.select(runs.c.run_id).where(PURGED).order_by(runs.c.run_id)


def _prepare(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        # Where a table has grown or shrunk much since its statistics were made, PostgreSQL would
        # read and sort all of it to find a few rows. Each query here has an index in its order.
        for plan in ("enable_seqscan", "enable_bitmapscan", "enable_sort"):
            connection.execute(sa.text(f"SET LOCAL {plan} = off"))


def _mark(bound: tuple[float, str], now: float, rows: int) -> sa.Update:
    """Mark the oldest runs to delete, unless they have been resumed."""
    going = sa.and_(_ENDED, NOT_PURGED, sa.tuple_(*_END) <= bound, ~_FAMILY_GOES_ON)
    oldest = sa.select(runs.c.run_id).where(going).order_by(*_END).limit(rows)
    return (
        sa.update(runs)
        .where(runs.c.run_id.in_(oldest), going)
        .values(purged_at=now, fence=runs.c.fence + 1)
    )


_WITH_KEYS: Final = (
    (batches, ("run_id", "first")),
    (steps, ("run_id", "step_id")),
    (attributes, ("run_id", "name")),
    (messages, ("run_id", "number")),
    (runs, ("run_id",)),
)
"""The tables and their keys, in the order in which a run's rows are deleted: its own row last."""


def _first_rows(
    table: sa.Table, key: tuple[str, ...], of: Sequence[str], rows: int
) -> sa.Select[Any]:
    """Select at most `rows` rows that belong to the given runs, always the same ones."""
    inner = table.alias()
    some = sa.select(inner).where(inner.c.run_id.in_(of))
    return some.order_by(*(inner.c[it] for it in key)).limit(rows)


def _number_of_events(some: sa.Select[Any]) -> sa.Select[Any]:
    found = some.subquery()
    number = sa.func.sum(found.c.last - found.c.first + 1)
    return sa.select(sa.func.coalesce(number, 0))


def _delete(table: sa.Table, key: tuple[str, ...], some: sa.Select[Any]) -> sa.Delete:
    keys_of_some = some.with_only_columns(*(some.selected_columns[it] for it in key))
    return sa.delete(table).where(sa.tuple_(*(table.c[it] for it in key)).in_(keys_of_some))
