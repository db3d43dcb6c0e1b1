"""How soon a waiter hears of a commit in another process, and what it costs.

One state manager writes, another one follows, over the same database, as two processes would. The
time is from the return of the commit to the call of the follower. It is measured with one follower,
and with ten thousand on other runs, for which the number of queries that one commit causes is
counted as well.

A request to cancel is timed from its call to the owner's ear, with a lease that is not renewed.

What following costs a writer is the median time of a small commit, with a follower and without
one. On PostgreSQL the commit is announced only then.
"""

from __future__ import annotations

import queue
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from statistics import median, quantiles
from time import perf_counter, process_time, sleep

from actorflow.model.events import Event
from actorflow.model.lifecycle import EventKind
from actorflow.state.sql import SQLStateManager
from actorflow.testing.contracts.accounts import STARTED, accept, accepted, happened, write
from benchmarks.options import Options
from benchmarks.report import Record, Table
from tests.support import postgres

__all__ = ["following"]

COMMITS = 200
FOLLOWERS = 10_000
IDLE = 2.0
"""Seconds for which the processor time of an idle watcher is measured."""
BETWEEN = 0.03
"""Seconds between two commits, so that each is heard of by itself."""
PATIENCE = 30.0


async def following(options: Options) -> Table:
    """Return delays and costs, for each database and number of followers."""
    commits, followers = COMMITS // options.shrink, FOLLOWERS // options.shrink
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        server = stack.enter_context(postgres.running())
        news = {"SQLite": lambda n: f"sqlite:///{place}/{n}.db", "PostgreSQL": _on(server)}
        records = [
            _record(name, new(others), commits, others)
            for name, new in news.items()
            for others in (0, followers)
        ]
    title = "Following runs of another process, in milliseconds"
    return Table(section="following", title=title, records=records)


def _on(server: postgres.Server) -> Callable[[int], str]:
    return lambda _: server.database()


def _record(name: str, url: str, commits: int, others: int) -> Record:
    writer = SQLStateManager(url, create=True, lease=3600.0)
    reader = SQLStateManager(url)
    with closing(writer), closing(reader):
        accept(writer, accepted())
        write(writer, happened(*STARTED))
        alone = _commit_times(writer, 3, commits)
        heard: queue.SimpleQueue[float] = queue.SimpleQueue()
        reader.follow("run", lambda _: heard.put(perf_counter()))
        for number in range(others):
            reader.follow(f"other {number}", lambda _: None)
        heard.get(timeout=PATIENCE)
        sleep(1.0)  # until the watcher has looked at all of them
        looks = reader._watcher.looks  # noqa: SLF001 - it counts for this
        delays, committing = _delays(writer, heard, 3 + commits, commits)
        looks = reader._watcher.looks - looks  # noqa: SLF001 - it counts for this
        return {
            "database": name,
            "other followers": others,
            "delay, median": median(delays) * 1e3,
            "delay, p99": quantiles(delays, n=100)[98] * 1e3,
            "queries a commit": looks / commits,
            "cancel": _cancel(writer, reader) * 1e3,
            "commit": median(alone) * 1e3,
            "commit, followed": median(committing) * 1e3,
            "idle CPU %": _idle(),
        }


def _commit_times(writer: SQLStateManager, after: int, commits: int) -> list[float]:
    times = []
    for number in range(commits):
        sleep(BETWEEN)
        began = perf_counter()
        write(writer, _event(after + number))
        times.append(perf_counter() - began)
    return times


def _delays(
    writer: SQLStateManager, heard: queue.SimpleQueue[float], after: int, commits: int
) -> tuple[list[float], list[float]]:
    delays, times = [], []
    for number in range(commits):
        sleep(BETWEEN)
        while not heard.empty():
            heard.get()
        began = perf_counter()
        write(writer, _event(after + number))
        committed = perf_counter()
        delays.append(max(0.0, heard.get(timeout=PATIENCE) - committed))
        times.append(committed - began)
    return delays, times


def _event(after: int) -> list[Event]:
    return happened(EventKind.STEP_ABANDONED, after=after)


def _cancel(writer: SQLStateManager, reader: SQLStateManager) -> float:
    heard: queue.SimpleQueue[float] = queue.SimpleQueue()
    writer.listen(lambda *_: heard.put(perf_counter()))
    accept(writer, accepted("to cancel"))
    write(writer, happened(*STARTED, run_id="to cancel"))
    sleep(0.5)  # until it listens
    began = perf_counter()
    reader.ask_to_cancel("to cancel", "enough")
    return heard.get(timeout=PATIENCE) - began


def _idle() -> float:
    """Return the share of a processor that two idle watchers take, one following, one owning."""
    began, used = perf_counter(), process_time()
    sleep(IDLE)
    return 100 * (process_time() - used) / (perf_counter() - began)
