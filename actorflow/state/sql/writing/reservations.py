"""Idempotency keys: reserved for new runs, in the transaction that inserts them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from actorflow.model.lifecycle import RunStatus
from actorflow.state.sql.leases import owned_elsewhere
from actorflow.state.sql.schema.tables import keys, runs
from actorflow.state.sql.writing.bulk import Grammar, bulk, insert_into, moment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.engine import Dialect

    from actorflow.model.records import RunRecord
    from actorflow.state.sql.writing.bulk import Bulk
    from actorflow.state.sql.writing.open_runs import Batch, Change

__all__ = ["Reservations", "lost_parents"]

_ENDED_BADLY: Final = (RunStatus.FAILED.value, RunStatus.CANCELLED.value)


class Reservations:
    """Reserves idempotency keys for new runs.

    Args:
        dialect: The dialect of a database that has been connected to.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._insert = _reservation(Grammar.of(dialect))

    def reserve(self, connection: sa.Connection, batch: Batch) -> dict[str, str]:
        """Reserve the keys of new runs; return the earlier run for each key already reserved."""
        rows = [_row(run_id, it) for run_id, it in batch.items() if _key(it) is not None]
        if not rows:
            return {}
        holders, earlier = self._reserve_free(connection, rows), dict[str, str]()
        for row in rows:
            holder, record = holders[_pair(row)], batch[row["run_id"]].run.fold.record
            if holder.run_id == row["run_id"]:
                continue
            if not _is_free(connection, holder, record):
                earlier[row["run_id"]] = holder.run_id
            elif _repoint(connection, holder, record):
                holders[_pair(row)] = _holder(connection, _pair(row))
            else:  # another start was first
                return self.reserve(connection, batch)
        return earlier

    def _reserve_free(
        self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]
    ) -> dict[tuple[str, str], Any]:
        """Reserve the keys that are free; return the row of each key."""
        pairs = sa.tuple_(keys.c.workflow_id, keys.c.idempotency_key)
        holders: dict[tuple[str, str], Any] = {}
        # On PostgreSQL, a reserved key may be purged between the INSERT and the SELECT.
        while missing := [row for row in rows if _pair(row) not in holders]:
            self._insert.run(connection, {"keys": missing})
            query = sa.select(keys).where(pairs.in_([_pair(row) for row in missing]))
            for key in connection.execute(query):
                holders[key.workflow_id, key.idempotency_key] = key
        return holders


def lost_parents(connection: sa.Connection, owner: str, batch: Batch) -> dict[str, str]:
    """Return the parents that others have taken over, by the new child of each.

    The new owner has looked for the child, and may be about to start it under the same id.
    """
    parents = {
        run_id: parent.run_id
        for run_id, it in batch.items()
        if it.created is not None and (parent := it.run.fold.record.parent) is not None
    }
    lost = owned_elsewhere(connection, owner, {*parents.values()}) if parents else ()
    return {run_id: parent_id for run_id, parent_id in parents.items() if parent_id in lost}


@functools.lru_cache(maxsize=16)
def _reservation(grammar: Grammar) -> Bulk:
    """Return the statement that reserves keys."""
    dialect = grammar.dialect
    return bulk(dialect, {"keys": insert_into(dialect, keys, _if_absent)})


def _is_free(connection: sa.Connection, holder: Any, record: RunRecord) -> bool:
    """Return whether a key that an earlier run holds may start another one."""
    if holder.expires_at is not None and holder.expires_at <= record.created_at:
        return True
    if record.terms.reuse == "never":
        return False
    # Locked, so that the run is not resumed in the meantime.
    query = sa.select(runs.c.status).where(runs.c.run_id == holder.run_id).with_for_update()
    return connection.execute(query).scalar_one_or_none() in _ENDED_BADLY


def _repoint(connection: sa.Connection, holder: Any, record: RunRecord) -> bool:
    """Give a key to another run; return whether it still belonged to the earlier one."""
    values = {
        "run_id": record.run_id,
        "created_at": record.created_at,
        "expires_at": _expiry(record),
    }
    this = _this(holder.workflow_id, holder.idempotency_key)
    mine = sa.update(keys).where(*this, keys.c.run_id == holder.run_id).values(values)
    return bool(connection.execute(mine).rowcount)


def _holder(connection: sa.Connection, pair: tuple[str, str]) -> Any:
    return connection.execute(sa.select(keys).where(*_this(*pair))).one()


def _this(workflow_id: str, key: str) -> tuple[Any, Any]:
    return keys.c.workflow_id == workflow_id, keys.c.idempotency_key == key


def _expiry(record: RunRecord) -> float | None:
    expires = record.terms.expires
    return None if expires is None else record.created_at + expires


def _pair(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["workflow_id"], row["idempotency_key"]


def _key(change: Change) -> str | None:
    return None if change.created is None else change.created.record.idempotency_key


def _row(run_id: str, change: Change) -> dict[str, Any]:
    record = change.run.fold.record
    return {
        "workflow_id": record.workflow_id,
        "idempotency_key": record.idempotency_key,
        "run_id": run_id,
        "created_at": moment(record.created_at),
        "expires_at": moment(_expiry(record)),
    }


def _if_absent(insert: Any) -> Any:
    return insert.on_conflict_do_nothing()
