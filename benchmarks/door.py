"""How long an orchestrator takes to run all that waits in a database when it starts.

Runs of a flow of one step are enqueued, and then an orchestrator with `recover=True` starts beside
them, as after a restart. The clock runs until the last of them has ended. What matters is that a
run costs as much among many as among few; the table therefore has the milliseconds of a run, and
the processor time of this process as well, because the clock also measures the disk.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from statistics import median
from time import perf_counter, process_time

from actorflow import Orchestrator, Workflow
from actorflow.model.events import Event
from actorflow.model.lifecycle import EventKind
from actorflow.state.sql import SQLStateManager
from benchmarks.options import Options
from benchmarks.report import Record, Table

__all__ = ["door"]

WAITING = (1_000, 2_000, 4_000, 10_000)
PLACES = (10, 100, 1_000)
_GROUP = 500
"""How many runs are enqueued at once."""


async def door(options: Options) -> Table:
    """Return the seconds for all waiting runs, in SQLite, by their number and that of places."""
    cases = [(count // options.shrink, places) for places in PLACES for count in WAITING]
    samples: dict[tuple[int, int], list[tuple[float, float]]] = {case: [] for case in cases}
    for _ in range(min(options.samples, 3)):
        for case in cases:
            samples[case].append(await _sample(*case))
    return Table(
        section="door",
        title="Runs that wait when an orchestrator starts, in SQLite",
        records=[_record(*case, taken) for case, taken in samples.items()],
    )


def _record(count: int, places: int, samples: Sequence[tuple[float, float]]) -> Record:
    seconds, own = (median(column) for column in zip(*samples, strict=True))
    return {
        "runs": count,
        "max_active_runs": places,
        "seconds": seconds,
        "ms a run": 1e3 * seconds / count,
        "processor ms a run": 1e3 * own / count,
    }


async def _sample(count: int, places: int) -> tuple[float, float]:
    flow = Workflow("short")
    flow.step(_nothing, id="step", async_=True)
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/runs.db"
        await _enqueue(url, flow, count)
        state, ended = SQLStateManager(url), _Ended(count)
        orchestrator = Orchestrator(
            state, recover=True, max_active_runs=places, observers=[ended.see]
        )
        orchestrator.register(flow)
        began = perf_counter(), process_time()
        async with orchestrator:
            await ended.all.wait()
            took = perf_counter() - began[0], process_time() - began[1]
        state.close()
    return took


async def _nothing() -> None: ...


async def _enqueue(url: str, flow: Workflow, count: int) -> None:
    state = SQLStateManager(url, create=True)
    async with Orchestrator(state) as orchestrator:
        for start in range(0, count, _GROUP):
            some = range(start, min(start + _GROUP, count))
            await asyncio.gather(*(orchestrator.enqueue_async(flow) for _ in some))
    state.close()


class _Ended:
    """Counts the runs that have ended; its observer runs on a thread of its own."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._loop = asyncio.get_running_loop()
        self.all = asyncio.Event()

    def see(self, event: Event) -> None:
        """Take note of an event."""
        if event.kind is EventKind.RUN_COMPLETED:
            self._left -= 1
            if not self._left:
                self._loop.call_soon_threadsafe(self.all.set)
