"""Idempotency keys: of all runs that come with one, the first has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from actorflow.state.sql.schema.tables import keys
from actorflow.state.sql.writing.bulk import bulk, insert_into, moment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.engine import Dialect

    from actorflow.state.sql.writing.run_rows import Batch, Change

__all__ = ["Reservations"]


class Reservations:
    """Takes keys for new runs.

    Args:
        dialect: The dialect of a database that has been connected to.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._insert = bulk(dialect, {"keys": insert_into(dialect, keys, _if_absent)})

    def reserve(self, connection: sa.Connection, batch: Batch) -> dict[str, str]:
        """Take the keys of new runs; return the earlier run of each whose key was taken."""
        rows = [_row(run_id, it) for run_id, it in batch.items() if _key(it) is not None]
        whose = self._take(connection, rows)
        return {
            row["run_id"]: whose[_pair(row)] for row in rows if whose[_pair(row)] != row["run_id"]
        }

    def _take(
        self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]
    ) -> dict[tuple[str, str], str]:
        """Return whose each key is, now that those that were free are taken."""
        pairs = sa.tuple_(keys.c.workflow_id, keys.c.idempotency_key)
        whose: dict[tuple[str, str], str] = {}
        # On PostgreSQL, a key that was taken may be purged before it is looked up whose it was.
        while missing := [row for row in rows if _pair(row) not in whose]:
            self._insert.run(connection, {"keys": missing})
            query = sa.select(keys).where(pairs.in_([_pair(row) for row in missing]))
            for key in connection.execute(query):
                whose[key.workflow_id, key.idempotency_key] = key.run_id
        return whose


def _pair(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["workflow_id"], row["idempotency_key"]


def _key(change: Change) -> str | None:
    return None if change.created is None else change.created.record.idempotency_key


def _row(run_id: str, change: Change) -> dict[str, Any]:
    record = change.page.fold.record
    return {
        "workflow_id": record.workflow_id,
        "idempotency_key": record.idempotency_key,
        "run_id": run_id,
        "created_at": moment(record.created_at),
    }


def _if_absent(insert: Any) -> Any:
    return insert.on_conflict_do_nothing()
