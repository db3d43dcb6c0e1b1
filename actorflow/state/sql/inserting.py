"""Rows that are added to a table, however many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from actorflow.state.sql.bulk import Part

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Dialect

__all__ = ["insert_into"]

_SET_LATER: Final = frozenset({"purged_at", "cancel_asked"})
"""What a run has not when it is accepted."""


def insert_into(
    dialect: Dialect, table: sa.Table, then: Callable[[Any], Any] = lambda it: it
) -> Part:
    """Return the INSERT of rows of a table; `then` makes of it what a conflict is to bring."""
    columns = {column.name: column.type for column in table.c if column.name not in _SET_LATER}
    make: Any = postgresql.insert if dialect.name == "postgresql" else sqlite.insert

    def insert(given: sa.FromClause) -> Any:
        # Without a condition SQLite takes the ON of ON CONFLICT for that of a join.
        rows = sa.select(*given.c).where(sa.true())
        return then(make(table).from_select(list(columns), rows))

    return Part(columns, insert)
