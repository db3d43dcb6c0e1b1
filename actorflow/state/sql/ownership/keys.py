"""Idempotency keys: the first run that comes with a key reserves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from actorflow.state.sql.schema.tables import keys
from actorflow.state.sql.writing.bulk import bulk, insert_into, moment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.engine import Dialect

    from actorflow.state.sql.writing.open_runs import Batch, Change

__all__ = ["Reservations"]


class Reservations:
    """Reserves idempotency keys for new runs.

    Args:
        dialect: The dialect of a database that has been connected to.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._insert = bulk(dialect, {"keys": insert_into(dialect, keys, _if_absent)})

    def reserve(self, connection: sa.Connection, batch: Batch) -> dict[str, str]:
        """Reserve the keys of new runs; return the earlier run for each key already reserved."""
        rows = [_row(run_id, it) for run_id, it in batch.items() if _key(it) is not None]
        holders = self._reserve_free(connection, rows)
        return {
            row["run_id"]: holders[_pair(row)]
            for row in rows
            if holders[_pair(row)] != row["run_id"]
        }

    def _reserve_free(
        self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]
    ) -> dict[tuple[str, str], str]:
        """Reserve the keys that are free; return the run that holds each key."""
        pairs = sa.tuple_(keys.c.workflow_id, keys.c.idempotency_key)
        holders: dict[tuple[str, str], str] = {}
        # On PostgreSQL, a reserved key may be purged between the INSERT and the SELECT.
        while missing := [row for row in rows if _pair(row) not in holders]:
            self._insert.run(connection, {"keys": missing})
            query = sa.select(keys).where(pairs.in_([_pair(row) for row in missing]))
            for key in connection.execute(query):
                holders[key.workflow_id, key.idempotency_key] = key.run_id
        return holders


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
    }


def _if_absent(insert: Any) -> Any:
    return insert.on_conflict_do_nothing()
