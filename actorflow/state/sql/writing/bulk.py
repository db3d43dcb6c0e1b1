"""Bulk statements: many rows of several tables in as few statements as the database needs.

One statement for each row would cost a round of parsing, binding and answering each, about 90 us on
PostgreSQL. While SQLite steps through the rows one by one, each step is also a chance to lose the
interpreter's lock to the event loop.

- PostgreSQL gets everything in one statement, and thus one round trip. The rows are passed as one
  JSON string that the server expands.
- SQLite runs in process. It gets one statement for each table, with the rows as parameters, which
  takes half the time of parsing JSON. The number of rows is part of the statement, so only powers
  of two are used; the connection caches these as prepared statements.

All values are bound parameters. SQLAlchemy compiles each statement only once: looking up a
statement of this size in its cache takes longer than the database needs to run it. State managers
share compiled statements when their databases have the same `Grammar`: compiling those that SQLite
needs takes 10 ms.
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

__all__ = ["Bulk", "Grammar", "Part", "Rows", "bulk", "insert_into", "moment"]

Rows: TypeAlias = "Sequence[Mapping[str, Any]]"
"""Rows with a value for each column; times are strings already."""

_MAX_ROWS: Final = 128
"""How many rows one SQLite statement takes; SQLite's own limit is 32,766 parameters."""
_encode: Final = msgspec.json.Encoder().encode


@functools.lru_cache(maxsize=256)  # events decided together share one time
def moment(seconds: float | None) -> str | None:
    """Return a time in the format that both databases parse."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat(sep=" ", timespec="microseconds")


@attrs.frozen
class Part:
    """A statement for rows of one table."""

    columns: Mapping[str, TypeEngine[Any]]
    make: Callable[[sa.FromClause], Any]
    """Returns the statement, source a FROM clause that provides the rows."""


@attrs.frozen
class Grammar:
    """All that the compiled statements of a dialect depend on; equal grammars give equal SQL.

    Other settings of a server have no influence, because the statements have no string literals.
    """

    kind: type[Dialect]
    paramstyle: str
    version: tuple[Any, ...] | None
    """The version of the server."""
    dialect: Dialect = attrs.field(eq=False, repr=False)

    @classmethod
    def of(cls, dialect: Dialect) -> Grammar:
        """Return the grammar of a database that has been connected to."""
        return cls(type(dialect), dialect.paramstyle, dialect.server_version_info, dialect)


class Bulk(Protocol):
    """Statements that run together, each with many rows; threads may share them."""

    def run(self, connection: sa.Connection, rows: Mapping[str, Rows]) -> bool:
        """Run the statements; return False when not every guard row matched.

        The caller must then roll back.

        Args:
            connection: A connection with an open transaction.
            rows: The rows of each part, by its name.
        """


def bulk(
    dialect: Dialect,
    parts: Mapping[str, Part],
    guard: str | None = None,
    told: sa.ColumnElement[Any] | None = None,
) -> Bulk:
    """Return a `Bulk` that runs all parts in order.

    Args:
        dialect: The dialect of a database that has been connected to.
        parts: The parts, by name.
        guard: The name of the first part if each of its rows must match.
        told: What else PostgreSQL computes, from the single row of the rows named "told".
    """
    if dialect.name == "sqlite":
        return _Sqlite(dialect, parts, guard)
    return _Postgresql(dialect, parts, guard, told)


class _Sqlite:
    def __init__(self, dialect: Dialect, parts: Mapping[str, Part], guard: str | None) -> None:
        self._statements = {name: _ManyRows(dialect, part) for name, part in parts.items()}
        self._guard = guard

    def run(self, connection: sa.Connection, rows: Mapping[str, Rows]) -> bool:
        for name, statement in self._statements.items():
            matched = statement.run(connection, rows[name])
            if name == self._guard and matched != len(rows[name]):
                return False
        return True


class _ManyRows:
    """A part for SQLite."""

    def __init__(self, dialect: Dialect, part: Part) -> None:
        self._values_of = itemgetter(*part.columns)
        self._row = f"({', '.join('?' * len(part.columns))})"
        self._for_one = str(part.make(_one_row(part)).compile(dialect=dialect))
        self._for = functools.cache(self._repeated)

    def run(self, connection: sa.Connection, rows: Rows) -> int:
        """Return how many rows of the table matched."""
        matched = 0
        for some in _in_powers_of_two(rows):
            values = tuple(chain.from_iterable(map(self._values_of, some)))
            matched += connection.exec_driver_sql(self._for(len(some)), values).rowcount
        return matched

    def _repeated(self, count: int) -> str:
        """Return the statement for `count` rows; compiling it would take 20 ms."""
        rows = ", ".join([self._row] * count)
        return self._for_one.replace(f"VALUES {self._row}", f"VALUES {rows}", 1)


def _in_powers_of_two(rows: Rows) -> Iterator[Rows]:
    start, size = 0, _MAX_ROWS
    while start < len(rows):
        while size > len(rows) - start:
            size //= 2
        yield rows[start : start + size]
        start += size


def _one_row(part: Part) -> sa.FromClause:
    columns = [sa.column(name, kind) for name, kind in part.columns.items()]
    row = tuple(sa.bindparam(None, type_=each.type) for each in columns)
    named = sa.values(*columns, name="named").data([row]).cte("named", nesting=True)
    # sqlite3 does not report a row count for statements that begin with WITH.
    return sa.select(*named.c).subquery("given")


class _Postgresql:
    def __init__(
        self,
        dialect: Dialect,
        parts: Mapping[str, Part],
        guard: str | None,
        told: sa.ColumnElement[Any] | None,
    ) -> None:
        self._dialect = dialect
        self._parts = parts
        self._guard = guard
        self._told = () if told is None else (told,)
        self._compiled: dict[tuple[str, ...], str] = {}

    def run(self, connection: sa.Connection, rows: Mapping[str, Rows]) -> bool:
        names = tuple(name for name in self._parts if rows[name])
        if not names:
            return True
        source = {name: _encode(rows[name]).decode() for name in names}
        if self._told:
            source |= rows["told"][0]
        matched = connection.exec_driver_sql(self._sql(names), source).scalar_one()
        return self._guard is None or not rows[self._guard] or matched == len(rows[self._guard])

    def _sql(self, names: tuple[str, ...]) -> str:
        sql = self._compiled.get(names)
        if sql is None:
            sql = self._compiled[names] = str(self._combined(names).compile(dialect=self._dialect))
        return sql

    def _combined(self, names: tuple[str, ...]) -> sa.Select[Any]:
        """Return all parts as one statement, which selects how many guard rows matched.

        Unless all of them match, the other parts do nothing: another owner may have gone on with a
        run, and our rows would conflict with its rows.
        """
        guard = self._guard if self._guard in names else None
        matched: Any = sa.literal_column("0")
        done = []
        for name in names:
            part, source = self._parts[name], _recordset(name, self._parts[name])
            if guard is not None and name != guard:
                source = source.where(matched == _length(guard))
            statement = part.make(source.subquery(f"given_{name}"))
            if name == guard:
                statement = statement.returning(sa.literal_column("1"))
                matched = (
                    sa.select(sa.func.count()).select_from(statement.cte(name)).scalar_subquery()
                )
            else:
                done.append(statement.cte(name))
        return sa.select(matched, *self._told).add_cte(*done)


def _recordset(name: str, part: Part) -> sa.Select[Any]:
    columns = [sa.column(each, _plain(kind)) for each, kind in part.columns.items()]
    rows = sa.func.json_to_recordset(_json(name)).table_valued(*columns)
    return sa.select(*rows.render_derived(with_types=True).c)


def _length(name: str) -> sa.ColumnElement[int]:
    return sa.func.json_array_length(_json(name))


def _json(name: str) -> sa.ColumnElement[Any]:
    return sa.cast(sa.bindparam(name, type_=sa.Text), sa.JSON)


def _plain(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return a column's type without its collation, which a derived column cannot have."""
    if isinstance(kind, Moment):
        return sa.TIMESTAMP(timezone=True)
    return sa.Text() if isinstance(kind, sa.Text) else kind


_SET_LATER: Final = frozenset(
    {
        "purged_at",
        "cancel_asked",
        "takeovers",
        "claimed_event",
        "parked_since",
        "waiting",
        "waiting_since",
        "paused",
        "paused_since",
        "start_at",
        "run_key",
        "key_slot",
        "debounce",
        "frozen",
        "pause_heard",
        "last_message",
        "wake_at",
        "deadline_at",
    }
)
"""Columns that have their defaults when a run is accepted, or are set by another statement."""


def insert_into(
    dialect: Dialect, table: sa.Table, on_conflict: Callable[[Any], Any] = lambda it: it
) -> Part:
    """Return the INSERT of rows into a table; `then` adds its ON CONFLICT clause."""
    columns = {column.name: column.type for column in table.c if column.name not in _SET_LATER}
    make: Any = postgresql.insert if dialect.name == "postgresql" else sqlite.insert

    def insert(source: sa.FromClause) -> Any:
        # Without a WHERE clause, SQLite parses the ON of ON CONFLICT as that of a join.
        rows = sa.select(*source.c).where(sa.true())
        return on_conflict(make(table).from_select(list(columns), rows))

    return Part(columns, insert)
