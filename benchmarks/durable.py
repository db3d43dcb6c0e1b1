"""What a durable step costs: in SQLite and PostgreSQL, beside a loop that commits each by itself.

The floor is a hand-written asyncio loop that inserts each step's output in a transaction of its
own, with the database's own driver. It keeps no events, and cannot resume anything. (In the
lesson's flow it inserts the five of a run when that has ended, which costs the same.)
All sides write to the same kind of database, on the same disk, with the same settings, in turns.

What is in flight together can be committed together. So each is measured with few workers, and
with as many as the fan has steps. In the chain nothing is in flight together.

The clock also measures the disk and whatever else the machine does. So the table has the processor
time of a step as well: this process's, and that of PostgreSQL's processes.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sqlite3
import sys
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import attrs
import psycopg
import pyperf

from actorflow.orchestrator import Orchestrator
from actorflow.state.sql import SQLStateManager
from benchmarks.contenders import workflow_of
from benchmarks.lesson import by_hand, expected_output, lesson_flow
from benchmarks.options import Options
from benchmarks.report import Record, Table
from benchmarks.workloads import RETURNS, chain, fan
from tests.support import postgres

__all__ = ["Cost", "Database", "actorflow_on", "durable", "measured", "steps_of"]

WIDTH = 200
RUNS = 100

Job = Callable[[], Awaitable[None]]


@attrs.frozen(kw_only=True)
class Database:
    """Where both sides write."""

    name: str
    synchronous: Any
    new: Callable[[], str]
    """Returns the address of an empty database."""
    server_seconds: Callable[[], float] = float
    """Returns the processor time of the database's own processes; zero if it has none."""


@attrs.frozen(kw_only=True)
class Cost:
    """What a job took, in seconds."""

    seconds: float
    own: float
    """Processor time of this process."""
    server: float
    """Processor time of the database's processes."""


async def durable(options: Options) -> Table:
    """Return the cost of a step in each database, as medians over the samples."""
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        server = stack.enter_context(postgres.running())
        names = iter(range(1_000_000))

        def file() -> str:
            return f"sqlite:///{place}/{next(names)}.db"

        databases = [
            Database(name="SQLite, NORMAL", synchronous="NORMAL", new=file),
            Database(name="SQLite, FULL", synchronous="FULL", new=file),
            Database(
                name="PostgreSQL",
                synchronous="FULL",
                new=server.database,
                server_seconds=server.processor_seconds,
            ),
        ]
        records = [
            await _record(kind, database, attrs.evolve(options, workers=workers))
            for database in databases
            for kind, workers in _variants(options)
        ]
    note = "" if find_spec("dbos") else "DBOS is not installed; type: pip install dbos"
    title = (
        f"Microseconds per durable step: a fan and a chain of {WIDTH // options.shrink}, and "
        f"{RUNS // options.shrink} runs of the lesson's flow at once"
    )
    return Table(section="durable", title=title, records=records, note=note)


def _variants(options: Options) -> list[tuple[str, int]]:
    """Return the workloads with numbers of workers; a chain never has use for a second one."""
    several = sorted({options.workers, WIDTH // options.shrink})
    wide = [(kind, workers) for kind in ("fan", "lesson") for workers in several]
    return [*wide, ("chain", options.workers)]


async def _record(kind: str, database: Database, options: Options) -> Record:
    steps = steps_of(kind, options)
    floors, ours = [], []
    for _ in range(options.samples + 1):
        floors.append(await measured(_floor(kind, database, options), database))
        ours.append(await measured(actorflow_on(kind, database, options), database))

    def per_step(costs: Sequence[Cost], name: str) -> float:
        seconds: float = median(getattr(cost, name) for cost in costs[1:])
        return 1e6 * seconds / steps

    floor, own = (per_step(each, "seconds") for each in (floors, ours))
    record: Record = {
        "database": database.name,
        "workload": kind,
        "workers": options.workers,
        "commit per step": floor,
        "actorflow": own,
        "ratio": own / floor,
        "own CPU": per_step(ours, "own"),
        "server CPU": per_step(ours, "server"),
    }
    if find_spec("dbos"):
        peer = 1e6 * median(await _dbos(kind, database, options)) / steps
        record |= {"DBOS": peer, "DBOS / actorflow": peer / own}
    return record


def steps_of(kind: str, options: Options) -> int:
    """Return how many steps a fan or a chain has, or the runs of the lesson's flow together."""
    return (5 * RUNS if kind == "lesson" else WIDTH) // options.shrink


async def measured(opened: Any, database: Database) -> Cost:
    """Return what a job cost, without what opens it."""
    async with opened as job:
        gc.collect()
        own, server = process_time(), database.server_seconds()
        began = pyperf.perf_counter()
        await job()
        seconds: float = pyperf.perf_counter() - began
        own, server = process_time() - own, database.server_seconds() - server
    return Cost(seconds=seconds, own=own, server=server)


# ── The floor ────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def _floor(kind: str, database: Database, options: Options) -> AsyncIterator[Job]:
    url = database.new()
    with closing(_connection(url, database)) as connection:
        connection.execute("CREATE TABLE done (run TEXT, step TEXT, output TEXT)")
        mark = "?" if url.startswith("sqlite") else "%s"
        insert = f"INSERT INTO done VALUES ({mark}, {mark}, {mark})"  # noqa: S608 - of two marks

        def commit(run: str, step: str, output: object) -> None:
            connection.execute(insert, (run, step, json.dumps(output)))

        workers = asyncio.Semaphore(options.workers)
        floor = _FLOORS[kind]
        yield lambda: floor(options, workers, commit)


def _connection(url: str, database: Database) -> Any:
    """Return a connection on which each statement is a transaction."""
    if not url.startswith("sqlite"):
        return psycopg.connect(url, autocommit=True)
    connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={database.synchronous}")
    return connection


async def _fan_by_hand(options: Options, workers: asyncio.Semaphore, commit: Any) -> None:
    async def step(number: int) -> int:
        async with workers:
            output = number
            commit("run", f"s{number}", output)
        return output

    count = WIDTH // options.shrink
    await step(0)
    done = await asyncio.gather(*(step(number) for number in range(1, count - 1)))
    commit("run", "sum", sum(done))


async def _chain_by_hand(options: Options, workers: asyncio.Semaphore, commit: Any) -> None:
    output = 0
    for number in range(WIDTH // options.shrink):
        async with workers:
            output += number
            commit("run", f"s{number}", output)


async def _lessons_by_hand(options: Options, workers: asyncio.Semaphore, commit: Any) -> None:
    async def run(url: str) -> None:
        output = await by_hand(url, workers, threads=False)
        for step in ("fetch", "process", "enrich", "analyze", "aggregate"):
            commit(url, step, output)

    await asyncio.gather(*(run(str(number)) for number in range(RUNS // options.shrink)))


_FLOORS = {"fan": _fan_by_hand, "chain": _chain_by_hand, "lesson": _lessons_by_hand}


# ── actorflow ────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def actorflow_on(kind: str, database: Database, options: Options) -> AsyncIterator[Job]:
    """Yield runs of one kind, of an orchestrator whose runs are kept there."""
    state = SQLStateManager(database.new(), create=True, synchronous=database.synchronous)
    flow = lesson_flow(threads=False)
    graph = (chain if kind == "chain" else fan)(WIDTH // options.shrink)
    graph_flow = workflow_of(graph, RETURNS)

    async def one(url: str) -> None:
        result = await orchestrator.run_async(flow, {"url": url})
        assert expected_output(url) == result.output

    async def whole_graph() -> None:
        await orchestrator.run_async(graph_flow)

    async def lessons() -> None:
        await asyncio.gather(*(one(str(number)) for number in range(RUNS // options.shrink)))

    async with Orchestrator(state, async_workers=options.workers) as orchestrator:
        await one("warm-up")
        graph_flow.validate()  # a workflow is defined once, not for each run
        yield lessons if kind == "lesson" else whole_graph


# ── DBOS ─────────────────────────────────────────────────────────────────────────────────────


async def _dbos(kind: str, database: Database, options: Options) -> list[float]:
    """Return the seconds of each sample, from a process of its own: there can be one in each."""
    count = (RUNS if kind == "lesson" else WIDTH) // options.shrink
    words = [database.new(), kind, str(count), str(options.samples), str(options.workers)]
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.durable_dbos", *words),
        stdout=PIPE,
        cwd=Path(__file__).parents[1],
    )
    said, _ = await child.communicate()
    seconds: list[float] = json.loads(said.splitlines()[-1])
    return seconds
