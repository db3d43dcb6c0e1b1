"""Many rows of several tables at once, in as few statements as a database needs for them.

One statement for each row would cost a round of parsing, binding and answering for each, on
PostgreSQL about 90 us; and while SQLite steps through them one by one, each is a chance to lose
the interpreter's lock to the event loop.

- PostgreSQL takes all of it as one statement, so that it is asked once. Rows travel as one JSON
  text, which it takes apart.
- SQLite is next door. It takes a statement for each table, whose rows are parameters: that takes
  half the time of taking JSON apart. Their number is part of the statement, so only powers of two
  are used, of which the connection keeps the statements prepared.

All values are bound. The statements are made by SQLAlchemy, but once: to find a statement of this
size among those that it has compiled takes it longer than the database needs to run it.
"""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import attrs
import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from actorflow.state.sql.schema.tables import Moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy.engine import Dialect
    from sqlalchemy.sql.type_api import TypeEngine

__all__ = ["Bulk", "Part", "Rows", "bulk", "insert_into", "moment"]

Rows: TypeAlias = "Sequence[Mapping[str, Any]]"
"""Each with a value for each column; times are texts already."""

_MOST: Final = 128
"""How many rows one statement of SQLite takes; it would know 32,766 parameters."""
_encode: Final = msgspec.json.Encoder().encode


@functools.lru_cache(maxsize=256)  # what was decided together happened at one time
def moment(seconds: float | None) -> str | None:
    """Return a moment as the text that both databases read."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat(sep=" ", timespec="microseconds")


@attrs.frozen
class Part:
    """What is done with the rows of one table."""

    columns: Mapping[str, TypeEngine[Any]]
    make: Callable[[sa.FromClause], Any]
    """Returns the statement that does it, given something to select the rows from."""


class Bulk(Protocol):
    """Something that is done with many rows, of several tables."""

    def run(self, connection: sa.Connection, rows: Mapping[str, Rows]) -> bool:
        """Do it; return False when not every row of the guard was met, and nothing may stay.

        Args:
            connection: In whose transaction.
            rows: The rows of each part, by its name.
        """


def bulk(dialect: Dialect, parts: Mapping[str, Part], guard: str | None = None) -> Bulk:
    """Return what does all parts, in their order.

    Args:
        dialect: The dialect of a database that has been connected to.
        parts: What there is to do, by name.
        guard: The part, the first one, whose rows have all to be met.
    """
    return (_Sqlite if dialect.name == "sqlite" else _Postgresql)(dialect, parts, guard)


class _Sqlite:
    def __init__(self, dialect: Dialect, parts: Mapping[str, Part], guard: str | None) -> None:
        self._statements = {name: _ManyRows(dialect, part) for name, part in parts.items()}
        self._guard = guard

    def run(self, connection: sa.Connection, rows: Mapping[str, Rows]) -> bool:
        for name, statement in self._statements.items():
            met = statement.run(connection, rows[name])
            if name == self._guard and met != len(rows[name]):
                return False
        return True


class _ManyRows:
    """One part, in SQLite's words."""

    def __init__(self, dialect: Dialect, part: Part) -> None:
        self._values_of = itemgetter(*part.columns)
        self._row = f"({', '.join('?' * len(part.columns))})"
        self._of_one = str(part.make(_one_row(part)).compile(dialect=dialect))
        self._of = functools.cache(self._repeated)

    def run(self, connection: sa.Connection, rows: Rows) -> int:
        """Return how many rows of the table were met."""
        met = 0
        for some in _in_powers_of_two(rows):
            values = tuple(chain.from_iterable(map(self._values_of, some)))
            met += connection.exec_driver_sql(self._of(len(some)), values).rowcount
        return met

    def _repeated(self, count: int) -> str:
        """Return the statement for many rows; to have that compiled would take 20 ms."""
        rows = ", ".join([self._row] * count)
        return self._of_one.replace(f"VALUES {self._row}", f"VALUES {rows}", 1)


def _in_powers_of_two(rows: Rows) -> Iterator[Rows]:
    start, size = 0, _MOST
    while start < len(rows):
        while size > len(rows) - start:
            size //= 2
        yield rows[start : start + size]
        start += size


def _one_row(part: Part) -> sa.FromClause:
    columns = [sa.column(name, kind) for name, kind in part.columns.items()]
    row = tuple(sa.bindparam(None, type_=each.type) for each in columns)
    named = sa.values(*columns, name="named").data([row]).cte("named", nesting=True)
    # Of a statement that begins with WITH, Python's sqlite3 does not say how many rows it met.
    return sa.select(*named.c).subquery("given")


class _Postgresql:
    def __init__(self, dialect: Dialect, parts: Mapping[str, Part], guard: str | None) -> None:
        self._dialect = dialect
        self._parts = parts
        self._guard = guard
        self._texts: dict[tuple[str, ...], str] = {}

    def run(self, connection: sa.Connection, rows: Mapping[str, Rows]) -> bool:
        names = tuple(name for name in self._parts if rows[name])
        if not names:
            return True
        given = {name: _encode(rows[name]).decode() for name in names}
        met = connection.exec_driver_sql(self._text(names), given).scalar_one()
        return self._guard is None or not rows[self._guard] or met == len(rows[self._guard])

    def _text(self, names: tuple[str, ...]) -> str:
        text = self._texts.get(names)
        if text is None:
            text = self._texts[names] = str(self._all(names).compile(dialect=self._dialect))
        return text

    def _all(self, names: tuple[str, ...]) -> sa.Select[Any]:
        """Return all parts as one statement, which says how many rows of the guard were met.

        Without them the others do nothing: what somebody else goes on with has rows that theirs
        would clash with.
        """
        guard = self._guard if self._guard in names else None
        met: Any = sa.literal_column("0")
        done = []
        for name in names:
            part, given = self._parts[name], _recordset(name, self._parts[name])
            if guard is not None and name != guard:
                given = given.where(met == _length(guard))
            statement = part.make(given.subquery(f"given_{name}"))
            if name == guard:
                statement = statement.returning(sa.literal_column("1"))
                met = sa.select(sa.func.count()).select_from(statement.cte(name)).scalar_subquery()
            else:
                done.append(statement.cte(name))
        return sa.select(met).add_cte(*done)


def _recordset(name: str, part: Part) -> sa.Select[Any]:
    columns = [sa.column(each, _plain(kind)) for each, kind in part.columns.items()]
    rows = sa.func.json_to_recordset(_json(name)).table_valued(*columns)
    return sa.select(*rows.render_derived(with_types=True).c)


def _length(name: str) -> sa.ColumnElement[int]:
    return sa.func.json_array_length(_json(name))


def _json(name: str) -> sa.ColumnElement[Any]:
    return sa.cast(sa.bindparam(name, type_=sa.Text), sa.JSON)


def _plain(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return a column's type without its order, which a derived column cannot have."""
    if isinstance(kind, Moment):
        return sa.TIMESTAMP(timezone=True)
    return sa.Text() if isinstance(kind, sa.Text) else kind


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
