"""A thousand runs of the lesson's flow, started together: runs per second, latency of a run."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from statistics import median, quantiles

import attrs
import pyperf

from actorflow.orchestrator import Orchestrator
from benchmarks.lesson import Output, by_hand, expected_output, lesson_flow
from benchmarks.options import Options
from benchmarks.report import Record, Table

__all__ = ["throughput"]

RUNS = 1_000

RunLesson = Callable[[str], Awaitable[Output]]
Opened = Callable[[bool, Options], AbstractAsyncContextManager[RunLesson]]


@asynccontextmanager
async def _floor(threads: bool, options: Options) -> AsyncIterator[RunLesson]:  # noqa: FBT001
    workers_free = asyncio.Semaphore(options.workers)
    yield lambda url: by_hand(url, workers_free, threads=threads)


@asynccontextmanager
async def _actorflow(threads: bool, options: Options) -> AsyncIterator[RunLesson]:  # noqa: FBT001
    flow = lesson_flow(threads=threads)
    async with Orchestrator(async_workers=options.workers, max_active_runs=RUNS) as orchestrator:

        async def run(url: str) -> Output:
            output: Output = (await orchestrator.run_async(flow, {"url": url})).output
            return output

        yield run


@attrs.frozen(kw_only=True)
class Sample:
    """How long all runs took together, and each of them, in seconds."""

    runs: int
    total: float
    latencies: list[float]

    def percentile(self, percent: int) -> float:
        """Return the latency in milliseconds that this share of the runs stayed below."""
        return 1e3 * quantiles(self.latencies, n=100)[percent - 1]


async def throughput(options: Options) -> Table:
    """Return runs per second and latencies, as medians over the samples."""
    records = []
    for threads in (True, False):
        sides: dict[str, Opened] = {"floor": _floor, "actorflow": _actorflow}
        rounds = [
            [await _sample(opened, options, threads=threads) for opened in sides.values()]
            for _ in range(options.samples + 1)
        ]
        columns = zip(*rounds[1:], strict=True)
        records += [_record(who, threads, each) for who, each in zip(sides, columns, strict=True)]
    return Table(
        section="lesson",
        title=f"{RUNS // options.shrink:,} runs of the lesson's flow, started together",
        records=records,
    )


async def _sample(opened: Opened, options: Options, *, threads: bool) -> Sample:
    runs = RUNS // options.shrink
    async with opened(threads, options) as run:
        await run("warm-up")
        gc.collect()
        began = pyperf.perf_counter()
        latencies = await asyncio.gather(*(_timed(run, f"run-{n}") for n in range(runs)))
        return Sample(runs=runs, total=pyperf.perf_counter() - began, latencies=latencies)


async def _timed(run: RunLesson, url: str) -> float:
    began = pyperf.perf_counter()
    output = await run(url)
    seconds: float = pyperf.perf_counter() - began
    assert output == expected_output(url)
    return seconds


def _record(who: str, threads: bool, samples: tuple[Sample, ...]) -> Record:  # noqa: FBT001
    return {
        "sync steps": "threads" if threads else "coroutines",
        "who": who,
        "runs/s": round(median(sample.runs / sample.total for sample in samples)),
        "p50 (ms)": median(sample.percentile(50) for sample in samples),
        "p99 (ms)": median(sample.percentile(99) for sample in samples),
    }
