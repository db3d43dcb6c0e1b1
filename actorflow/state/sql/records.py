"""Many runs with their steps and events, read in a few queries."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import attrs
import sqlalchemy as sa

from actorflow.state.sql.schema.tables import NOT_PURGED, batches, owners, runs, steps

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["WITH_OWNER", "Record", "among", "read_records", "with_owners"]


WITH_OWNER: Final = sa.select(
    runs,
    owners.c.host.label("owner_host"),
    owners.c.pid.label("owner_pid"),
    owners.c.lease_until,
)
"""Runs with the lease of their owner; to be selected from `with_owners`."""


def with_owners(source: sa.FromClause) -> sa.FromClause:
    """Join the owner of each run in progress to a source that has the runs."""
    own = sa.and_(owners.c.owner == runs.c.owner, runs.c.finished_at.is_(None))
    return source.outerjoin(owners, own)


@attrs.frozen
class Record:
    """The rows of a run."""

    run: Any
    steps: list[Any] = attrs.field(factory=list)
    batches: list[Any] = attrs.field(factory=list)
    """The batches of its events, in order."""


def read_records(connection: sa.Connection, run_ids: Sequence[str]) -> dict[str, Record]:
    """Return the rows of the runs that exist, by run id."""
    found = WITH_OWNER.select_from(with_owners(runs)).where(runs.c.run_id.in_(run_ids), NOT_PURGED)
    records = {run.run_id: Record(run) for run in connection.execute(found)}
    for step in connection.execute(sa.select(steps).where(steps.c.run_id.in_(run_ids))):
        if step.run_id in records:
            records[step.run_id].steps.append(step)
    columns = (batches.c.run_id, batches.c.first, batches.c.events)
    query = sa.select(*columns).where(batches.c.run_id.in_(run_ids))
    for batch in connection.execute(query.order_by(batches.c.run_id, batches.c.first)):
        if batch.run_id in records:
            records[batch.run_id].batches.append(batch)
    return records


def among(dialect: str, values: Collection[str]) -> sa.Select[Any]:
    """Return a query of the given strings, as one parameter: databases limit their number."""
    document = sa.literal(json.dumps(list(values)), sa.Text)
    if dialect == "sqlite":
        return sa.select(sa.func.json_each(document).table_valued("value").c.value)
    each = sa.func.json_array_elements_text(sa.cast(document, sa.JSON))
    return sa.select(each.column_valued("value"))
