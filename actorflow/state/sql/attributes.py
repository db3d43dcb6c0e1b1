"""Attributes of runs in the database: a JSON column to read them, and a row each to find them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from actorflow.errors.storage import RunNotFound
from actorflow.model.attributes import key_of, merged
from actorflow.state.sql.schema.tables import NOT_PURGED, attributes, runs
from actorflow.support.read_only import NOTHING, ReadOnly

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from actorflow.model.attributes import Attribute

__all__ = ["attribute_rows", "dump_attributes", "load_attributes", "set_attributes"]


def dump_attributes(values: Mapping[str, Attribute]) -> str | None:
    """Return attributes as the column has them; None when there are none."""
    return msgspec.json.encode(dict(values)).decode() if values else None


def load_attributes(column: str | None) -> Mapping[str, Attribute]:
    """Return the attributes of a column."""
    return NOTHING if column is None else ReadOnly(msgspec.json.decode(column))


def attribute_rows(
    run_id: str, created_at: Any, values: Mapping[str, Attribute]
) -> Iterable[dict[str, Any]]:
    """Yield a row for each attribute.

    Args:
        run_id: The run.
        created_at: When it was accepted, in the form that the statement takes.
        values: Its attributes.
    """
    for name, value in values.items():
        kind, text = key_of(value)
        row = {"run_id": run_id, "name": name, "value": text, "type": kind}
        yield row | {"created_at": created_at}


def set_attributes(
    connection: sa.Connection, run_id: str, changes: Mapping[str, Attribute | None]
) -> None:
    """Change attributes of a run.

    Raises:
        DefinitionError: When there are then too many.
        RunNotFound: When there is no such run.
    """
    this = runs.c.run_id == run_id
    query = sa.select(runs.c.attributes, runs.c.created_at).where(this, NOT_PURGED)
    # The lock makes others wait who change them too; it lets steps be inserted.
    run = connection.execute(query.with_for_update(key_share=True)).one_or_none()
    if run is None:
        raise RunNotFound(run_id)
    kept = merged(run_id, load_attributes(run.attributes), changes)
    connection.execute(sa.update(runs).where(this).values(attributes=dump_attributes(kept)))
    changed = (attributes.c.run_id == run_id, attributes.c.name.in_(list(changes)))
    connection.execute(sa.delete(attributes).where(*changed))
    values = {name: value for name, value in changes.items() if value is not None}
    if values:
        rows = list(attribute_rows(run_id, run.created_at, values))
        connection.execute(sa.insert(attributes), rows)
