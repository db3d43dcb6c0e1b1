"""Many rows in one statement: they travel as one JSON text, which the database takes apart.

One statement for each row would cost a round of parsing, binding and answering for each, on
PostgreSQL about 90 us; and while SQLite steps through them one by one, each is a chance to lose
the interpreter's lock to the event loop. All values are within the one bound text.
"""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
import sqlalchemy as sa

from actorflow.state.sql.schema import Moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy.sql.type_api import TypeEngine

__all__ = ["ROWS", "bulk", "moment", "packed"]

ROWS: Final = "rows"
"""The name of the parameter that takes what `packed` returns."""

_encode: Final = msgspec.json.Encoder().encode


def packed(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return rows as the parameter of a statement; times are to be texts already."""
    return {ROWS: _encode(list(rows)).decode()}


@functools.lru_cache(maxsize=256)  # what was decided together happened at one time
def moment(seconds: float | None) -> str | None:
    """Return a moment as the text that both databases read."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat(sep=" ", timespec="microseconds")


def bulk(dialect: str, columns: Mapping[str, TypeEngine[Any]]) -> sa.FromClause:
    """Return the rows of the parameter as something to select from.

    Args:
        dialect: The name of the database's dialect.
        columns: The type of each column, by name.
    """
    return (_sqlite if dialect == "sqlite" else _postgresql)(columns)


def _sqlite(columns: Mapping[str, TypeEngine[Any]]) -> sa.FromClause:
    each = sa.func.json_each(sa.bindparam(ROWS, type_=sa.Text)).table_valued("value")
    parts = [
        sa.func.json_extract(each.c.value, f"$.{name}", type_=kind).label(name)
        for name, kind in columns.items()
    ]
    return sa.select(*parts).subquery("given")


def _postgresql(columns: Mapping[str, TypeEngine[Any]]) -> sa.FromClause:
    rows = sa.cast(sa.bindparam(ROWS, type_=sa.Text), sa.JSON)
    parts = [sa.column(name, _plain(kind)) for name, kind in columns.items()]
    return (
        sa.func.json_to_recordset(rows)
        .table_valued(*parts, name="given")
        .render_derived(with_types=True)
    )


def _plain(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return a column's type without its order, which a derived column cannot have."""
    if isinstance(kind, Moment):
        return sa.TIMESTAMP(timezone=True)
    return sa.Text() if isinstance(kind, sa.Text) else kind
