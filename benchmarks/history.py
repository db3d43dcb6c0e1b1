"""What a durable step costs in a database that is full of ended runs, beside an empty one.

The runs are copies of one that was run: its rows, its steps' and its events', doubled until they
are enough. Both databases do the same work, in turns.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from itertools import count
from statistics import median

import sqlalchemy as sa

from actorflow.state.sql.engines import Engines
from actorflow.state.sql.schema.tables import batches, runs, steps
from benchmarks.durable import Database, actorflow_on, measured, steps_of
from benchmarks.options import Options
from benchmarks.report import Record, Table
from tests.support import postgres

__all__ = ["history"]

ENDED = 100_000


async def history(options: Options) -> Table:
    """Return the cost of a step in an empty and in a full database, as medians over the samples."""
    ended = ENDED // options.shrink
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        server = stack.enter_context(postgres.running())
        names = count()
        news = {
            "SQLite, FULL": lambda: f"sqlite:///{place}/{next(names)}.db",
            "PostgreSQL": server.database,
        }
        records = []
        for name, new in news.items():
            empty, full = (_kept_at(name, new()) for _ in range(2))
            filled = await _fill(full, ended, options)
            records += [
                await _record(kind, empty, full, filled, options) for kind in ("fan", "lesson")
            ]
    title = "Microseconds per durable step in an empty database, and among ended runs"
    return Table(section="history", title=title, records=records, note="")


def _kept_at(name: str, url: str) -> Database:
    return Database(name=name, synchronous="FULL", new=lambda: url)


async def _fill(database: Database, ended: int, options: Options) -> int:
    """Keep at least so many ended runs in a database; return how many there are."""
    async with actorflow_on("lesson", database, options):
        kept = 1  # the one that has warmed it up
    with Engines.to(database.new()) as engines:
        with engines.writing.begin() as connection:
            while kept < ended:
                for table in (runs, steps, batches):
                    others = [column for column in table.c if column.name != "run_id"]
                    copy = sa.select(table.c.run_id + f".{kept}", *others)
                    connection.execute(table.insert().from_select(["run_id", *others], copy))
                kept *= 2
        _settle(engines.writing)
    return kept


def _settle(engine: sa.Engine) -> None:
    """Do what a server does by itself, in time; it would do so while the others are measured."""
    is_sqlite = engine.dialect.name == "sqlite"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for command in ["ANALYZE"] if is_sqlite else ["VACUUM ANALYZE", "CHECKPOINT"]:
            connection.execute(sa.text(command))


async def _record(
    kind: str, empty: Database, full: Database, ended: int, options: Options
) -> Record:
    samples: dict[str, list[float]] = {"empty": [], "full": []}
    for _ in range(options.samples + 1):
        for name, database in (("empty", empty), ("full", full)):
            cost = await measured(actorflow_on(kind, database, options), database)
            samples[name].append(cost.seconds)
    costs = {
        name: 1e6 * median(each[1:]) / steps_of(kind, options) for name, each in samples.items()
    }
    return {
        "database": empty.name,
        "workload": kind,
        "ended runs": ended,
        **costs,
        "ratio": costs["full"] / costs["empty"],
    }
