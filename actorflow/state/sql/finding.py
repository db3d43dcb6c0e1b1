"""Finding and counting runs: the conditions, the order and the pages of a listing.

A page begins after a run's position in the order of the list, which an index has, so that a page
far down costs as much as the first. Attributes are looked up in their own table, whose index has
the runs with an attribute in the same order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from actorflow.state.sql.health import Owner
from actorflow.state.sql.records import WITH_OWNER, with_owners
from actorflow.state.sql.schema.tables import AWAKE, NOT_PURGED, PURGED, attributes, owners, runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorflow.model.attributes import Key
    from actorflow.model.filters import RunQuery

__all__ = ["Found", "found_owners"]

_LARGEST: Final = 2**63 - 1
"""The largest integer of a database."""
_any: Final = runs.alias("any_run")
_IS_PURGING: Final = sa.exists().where(_any.c.purged_at.is_not(None))
"""A purge is under way. Nearly always none is, and databases then skip the runs being purged."""


class Found:
    """The runs that match a query.

    Args:
        query: The query.
        dialect: The name of the database's dialect.
    """

    def __init__(self, query: RunQuery, dialect: str) -> None:
        self._query = query
        tables = [attributes.alias(f"attribute_{n}") for n, _ in enumerate(query.attributes)]
        self._first = tables[0] if tables else None
        """The table of the first attribute, whose index has the order of the list."""
        self._ordered: Any = runs if self._first is None else self._first
        self._tagged = [
            condition
            for table, (name, keys) in zip(tables, query.attributes.items(), strict=True)
            for condition in _has_attribute(table, name, keys)
        ]
        self._others = [table.c.run_id == runs.c.run_id for table in tables[1:]]
        self._of_runs = list(_conditions(query, dialect))
        self._created = list(_within(self._ordered.c.created_at, query, "created"))

    def page(self) -> sa.Select[Any]:
        """Return the query for the page, and one run more if there is one."""
        query, ordered = self._query, self._ordered
        statement = self._where(WITH_OWNER, NOT_PURGED, owned=True)
        if query.after is not None:
            created_at, run_id = query.after
            later = sa.or_(ordered.c.created_at < created_at, ordered.c.run_id > run_id)
            statement = statement.where(ordered.c.created_at <= created_at, later)
        statement = statement.order_by(ordered.c.created_at.desc(), ordered.c.run_id)
        return statement.limit(min(query.limit + 1, _LARGEST)).offset(query.offset)

    def total(self) -> sa.Select[Any]:
        """Return the query for the number of runs."""
        # A difference of two index-only counts: only the rows say whether a run is being purged.
        number = sa.select(sa.func.count())
        purged = self._where(number, PURGED).scalar_subquery()
        hidden = sa.case((_IS_PURGING, purged), else_=0)
        return sa.select(self._counted(number).scalar_subquery() - hidden)

    def counts(self, columns: Sequence[str]) -> Iterator[tuple[sa.Select[Any], int]]:
        """Return the queries for the numbers of runs by columns, and whether to add or subtract."""
        by = [runs.c[name] for name in columns]
        grouped = sa.select(*by, sa.func.count()).group_by(*by)
        yield self._where(grouped), 1
        yield self._where(grouped, PURGED, _IS_PURGING), -1

    def _counted(self, statement: sa.Select[Any]) -> sa.Select[Any]:
        if self._first is None or self._of_runs or self._others:
            return self._where(statement)
        return statement.select_from(self._first).where(*self._tagged, *self._created)

    def _where(self, statement: sa.Select[Any], *more: Any, owned: bool = False) -> sa.Select[Any]:
        """Add the conditions to a statement; `owned` if it has columns of the owners."""
        source: sa.FromClause = runs
        if self._first is not None:
            source = self._first.join(runs, self._first.c.run_id == runs.c.run_id)
        statement = statement.select_from(with_owners(source) if owned else source)
        return statement.where(*self._tagged, *self._others, *self._of_runs, *self._created, *more)


def _has_attribute(table: Any, name: str, keys: frozenset[Key]) -> Iterator[Any]:
    yield table.c.name == name
    if len(keys) == 1:  # of several values, an index does not have the order
        ((kind, value),) = keys
        yield from (table.c.value == value, table.c.type == kind)
    else:
        # One condition for each type, because SQLite limits how deep an expression is.
        kinds = sorted({kind for kind, _ in keys})
        values = {it: sorted(value for kind, value in keys if kind == it) for it in kinds}
        each = [sa.and_(table.c.value.in_(values[it]), table.c.type == it) for it in kinds]
        yield sa.or_(*each)


def _conditions(query: RunQuery, dialect: str) -> Iterator[Any]:
    """Yield what must hold of a run's row."""
    if query.status is not None:
        statuses = sorted(status.value for status in query.status)
        one = len(statuses) == 1
        yield runs.c.status == statuses[0] if one else runs.c.status.in_(statuses)
    for name, value in query.equal.items():
        if name == "root_run_id":  # the column is null for the first run of a family
            first = sa.and_(runs.c.run_id == value, runs.c.root_run_id.is_(None))
            yield sa.or_(runs.c.root_run_id == value, first)
        else:
            yield runs.c[name] == value
    if "owner" in query.equal:
        yield AWAKE
    yield from _within(runs.c.finished_at, query, "finished")
    for name, wanted in query.flags.items():
        yield _is_so(name) if wanted else sa.not_(_is_so(name))
    if query.error is not None:
        yield _is_error(query.error, dialect)


def _is_so(flag: str) -> Any:
    """Return whether a run is parked, waiting or paused; one that has ended is neither."""
    known = runs.c[flag].is_not(None)
    return known if flag == "parked" else sa.and_(known, runs.c.finished_at.is_(None))


def _within(column: Any, query: RunQuery, what: str) -> Iterator[Any]:
    after, before = query.times.get(f"{what}_after"), query.times.get(f"{what}_before")
    if after is not None:
        yield column >= after
    if before is not None:
        yield column < before


# ── Errors ───────────────────────────────────────────────────────────────────────────────────

_NUL: Final = r"(?<!\\)((?:\\\\)*)\\u0000"


def _is_error(wanted: str, dialect: str) -> Any:
    """Return whether an error has this class, or this string in its text."""
    if dialect == "sqlite":
        kind, text = (sa.func.json_extract(runs.c.error, f"$.{name}") for name in ("type", "text"))
        is_in, end = sa.func.instr(text, wanted), sa.func.substr(kind, -len(wanted) - 1)
    else:
        kind, text = (_json_of_error().op("->>")(name) for name in ("type", "text"))
        is_in, end = sa.func.strpos(text, wanted), sa.func.right(kind, len(wanted) + 1)
    return sa.or_(is_in > 0, kind == wanted, end == f".{wanted}")


def _json_of_error() -> Any:
    # PostgreSQL's operators for JSON refuse NUL characters, which the fields of an error may have.
    shown = sa.func.regexp_replace(runs.c.error, _NUL, r"\1\\\\0", "g")
    has_none = sa.func.strpos(runs.c.error, r"\u0000") == 0
    return sa.cast(sa.case((has_none, runs.c.error), else_=shown), sa.JSON)


# ── Owners ───────────────────────────────────────────────────────────────────────────────────


def found_owners(connection: sa.Connection) -> list[Owner]:
    """Return the owners with a lease, and those that runs in progress have, by their names."""
    open_runs = sa.select(runs.c.owner, sa.func.count()).group_by(runs.c.owner)
    open_runs = open_runs.where(AWAKE, NOT_PURGED)
    numbers: dict[str, int] = dict(iter(connection.execute(open_runs)))
    leases = sa.select(owners.c.owner, owners.c.lease_until)
    until: dict[str, float] = dict(iter(connection.execute(leases)))
    return [
        Owner(owner=owner, lease_until=until.get(owner), runs=numbers.get(owner, 0))
        for owner in sorted({*numbers, *until})
    ]
