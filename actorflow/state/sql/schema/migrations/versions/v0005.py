"""Events in batches: one row for the events of a run that were recorded together.

A row for each event cost more than everything else that a step writes. The events are now a JSON
list in `actorflow_event_batches`, and `actorflow_events` is a view with a row for each of them.

A large history is copied before the tables change, in many short transactions (`prepare`). Until
the last one, which copies the rest and replaces the table by the view, the database has its old
version, and processes of the old version may write to it. An interrupted upgrade can therefore be
continued or abandoned at any point. How far it got is seen from the copies themselves.
"""

from __future__ import annotations

import json
from datetime import UTC
from itertools import groupby, pairwise, takewhile
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from alembic import op

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["down_revision", "prepare", "revision", "upgrade"]

revision = "0005"
down_revision = "0004"

_ID: Final = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

_MAX_EVENTS: Final = 5_000
"""How many events one transaction copies."""
_MAX_RUNS: Final = 500
"""The events of how many runs one transaction copies."""
_MAX_IN_BATCH: Final = 250
_MAX_SIZE: Final = 1_000_000
"""The maximum number of characters in a batch, unless a single event is larger."""

_metadata: Final = sa.MetaData()
_runs: Final = sa.Table("actorflow_runs", _metadata, sa.Column("run_id", _ID, primary_key=True))
_batches: Final = sa.Table(
    "actorflow_event_batches",
    _metadata,
    sa.Column("run_id", _ID, sa.ForeignKey(_runs.c.run_id, ondelete="CASCADE")),
    sa.Column("first", sa.BigInteger),
    sa.Column("last", sa.BigInteger, nullable=False),
    sa.Column("events", sa.Text, nullable=False),
    sa.PrimaryKeyConstraint("run_id", "first", name="actorflow_event_batches_key"),
    sa.CheckConstraint("first >= 1", name="actorflow_event_batches_first"),
    sa.CheckConstraint("last >= first", name="actorflow_event_batches_last"),
    sqlite_with_rowid=False,
)

# A purge may have deleted some of the events of a run that it has marked; such runs are left out.
_INCOMPLETE: Final = sa.text(
    """
    SELECT run_id, copied FROM (
        SELECT run_id, last_event, coalesce((
            SELECT last FROM actorflow_event_batches AS batches
            WHERE batches.run_id = runs.run_id ORDER BY first DESC LIMIT 1
        ), 0) AS copied
        FROM actorflow_runs AS runs WHERE run_id > :after AND purged_at IS NULL
    ) AS progress
    WHERE last_event > copied ORDER BY run_id LIMIT :runs
    """
)
_EVENTS: Final = sa.text(
    """
    SELECT run_id, number, kind, step_id, attempt, time, data FROM actorflow_events
    WHERE run_id IN :run_ids AND number > :copied ORDER BY run_id, number LIMIT :events
    """
).bindparams(sa.bindparam("run_ids", expanding=True))
_VIEW: Final = {
    "sqlite": """
        CREATE VIEW actorflow_events AS
        SELECT
            batches.run_id AS run_id,
            batches.first + event.key AS number,
            json_extract(event.value, '$[0]') AS kind,
            json_extract(event.value, '$[1]') AS step_id,
            json_extract(event.value, '$[2]') AS attempt,
            json_extract(event.value, '$[3]') AS time,
            json_extract(event.value, '$[4]') AS data,
            runs.workflow_id AS workflow_id
        FROM actorflow_event_batches AS batches
        JOIN actorflow_runs AS runs ON runs.run_id = batches.run_id
        JOIN json_each(batches.events) AS event
        WHERE runs.purged_at IS NULL
    """,
    # PostgreSQL's operators for JSON refuse NUL characters, which the fields of an error may have;
    # they are shown as `\0`. E'' has the same meaning whatever standard_conforming_strings is.
    "postgresql": r"""
        CREATE VIEW actorflow_events AS
        SELECT
            batches.run_id AS run_id,
            batches.first + event.place - 1 AS number,
            (event.value ->> 0) COLLATE "C" AS kind,
            (event.value ->> 1) COLLATE "C" AS step_id,
            (event.value ->> 2)::integer AS attempt,
            (event.value ->> 3)::timestamptz AS time,
            event.value ->> 4 AS data,
            runs.workflow_id AS workflow_id
        FROM actorflow_event_batches AS batches
        JOIN actorflow_runs AS runs ON runs.run_id = batches.run_id
        CROSS JOIN LATERAL json_array_elements((
            CASE strpos(batches.events, E'\\u0000') WHEN 0 THEN batches.events
            ELSE regexp_replace(
                batches.events, E'(?<!\\\\)((?:\\\\\\\\)*)\\\\u0000', E'\\1\\\\\\\\0', 'g'
            ) END
        )::json) WITH ORDINALITY AS event (value, place)
        WHERE runs.purged_at IS NULL
    """,
}


def prepare(connection: sa.Connection, after: str) -> str | None:
    """Copy the next events; return the run after which to go on, or None when all are copied."""
    _batches.create(connection, checkfirst=True)
    given = {"after": after, "runs": _MAX_RUNS}
    incomplete = connection.execute(_INCOMPLETE, given).all()
    if not incomplete:
        return None
    copied = incomplete[0].copied
    # Runs of which nothing is copied, which are nearly all; or one of which something is.
    some = list(takewhile(lambda it: not it.copied, incomplete)) or incomplete[:1]
    run_ids = [it.run_id for it in some]
    asked = {"run_ids": run_ids, "copied": copied, "events": _MAX_EVENTS}
    found = connection.execute(_EVENTS, asked).all()
    rows = [
        row
        for run_id, events in groupby(found, attrgetter("run_id"))
        for row in _rows(run_id, list(events))
    ]
    if rows:
        connection.execute(sa.insert(_batches), rows)
    if len(found) == _MAX_EVENTS:
        done = run_ids[: run_ids.index(found[-1].run_id)]  # the last one may have more
        return done[-1] if done else after
    return str(run_ids[-1])


def upgrade() -> None:
    """Copy what is left of the events, and replace their table by a view."""
    connection = op.get_bind()
    dialect = connection.dialect.name
    if dialect == "postgresql":
        op.execute("LOCK TABLE actorflow_events IN ACCESS EXCLUSIVE MODE")
    after: str | None = ""
    while after is not None:
        after = prepare(connection, after)
    op.drop_table("actorflow_events")
    connection.exec_driver_sql(_VIEW[dialect])


def _rows(run_id: str, events: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Return the rows of a run's events."""
    encoded = [_encode(event) for event in events]
    for start, end in pairwise(_bounds([len(each) for each in encoded])):
        yield {
            "run_id": run_id,
            "first": events[start].number,
            "last": events[end - 1].number,
            "events": f"[{','.join(encoded[start:end])}]",
        }


def _bounds(sizes: Sequence[int]) -> Iterator[int]:
    """Return the indexes at which a batch begins, and the number of events."""
    begin = size = 0
    yield 0
    for index, each in enumerate(sizes):
        if index > begin and (index - begin == _MAX_IN_BATCH or size + each > _MAX_SIZE):
            begin, size = index, 0
            yield index
        size += each
    if sizes:
        yield len(sizes)


def _encode(event: Any) -> str:
    time = event.time
    if not isinstance(time, str):  # PostgreSQL's are datetimes
        time = time.astimezone(UTC).isoformat(sep=" ", timespec="microseconds")
    fields = json.dumps([event.kind, event.step_id, event.attempt, time], ensure_ascii=False)
    return f"{fields[:-1]},{event.data or 'null'}]"
