"""How many bytecode instructions a step takes: a count, which no load on the machine changes.

Each figure is the slope between two sizes of one graph, so that the constant cost of a run drops
out. In the row `lesson` it is the slope between two numbers of runs of lesson 5 at once: the cost
of one small run, with its way in, its end and its five steps. Each count comes from a process of
its own, `python -m benchmarks.bytecodes`, with a fixed hash seed, a clock that stands still and no
garbage collection: the same code gives the same number every time. Work done in C is not counted,
however long it takes: a time and a count complete each other.

From Python 3.12 on, `sys.monitoring` counts. `sys.settrace` counts on 3.11 alone: it is built on
`sys.monitoring` after that, and now and then reports a frame without its instructions. On 3.13.0,
3 of 24 counts lacked 12 of them. Compare counts of one Python with each other only: the compiler,
and so the instructions of the same code, differ between versions.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import itertools
import json
import math
import os
import sys
import threading
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from types import FrameType
from typing import Any

import attrs

from actorflow.orchestrator import Orchestrator
from actorflow.support.clock import SystemClock
from benchmarks.contenders import Contender, actorflow, floor
from benchmarks.lesson import by_hand, lesson_flow
from benchmarks.options import Options
from benchmarks.report import Record, Table
from benchmarks.workloads import RETURNS, SUSPENDS, Body, Workload, chain, fan, layers

__all__ = ["Counts", "bytecodes", "counting", "slope_of"]

Slope = dict[str, float]
Opened = AbstractAsyncContextManager[Callable[[], Awaitable[object]]]

LESSON = "lesson"
RUNS = (100, 200)
SIZES = (200, 400)
SHAPES: dict[str, Callable[[int], Workload]] = {"fan": fan, "chain": chain, "layers": layers}
BODIES = {body.name: body for body in (RETURNS, SUSPENDS)}
# The watchdog has the loop turn from time to time, by a clock that does not stand still.
UNWATCHED: dict[str, Any] = {"blocked_after": math.inf}
SIDES: dict[str, Callable[[Workload, Body, int], Contender]] = {
    "floor": floor,
    "actorflow": functools.partial(actorflow, **UNWATCHED),
}


@attrs.define
class Counts:
    """The Python frames that were entered or resumed, and the instructions run in them."""

    calls: int = 0
    instructions: int = 0


async def bytecodes(options: Options) -> Table:
    """Return the instructions and calls that each side adds for one more step of a graph."""
    return Table(
        section="bytecodes",
        title=f"Bytecode instructions and calls a step, and a run of lesson 5, "
        f"async_workers={options.workers}",
        records=[
            *[await _record(shape, body, options.workers) for shape in SHAPES for body in BODIES],
            await _record(LESSON, RETURNS.name, options.workers),
        ],
    )


async def _record(shape: str, body: str, workers: int) -> Record:
    base, mine = [await slope_of(shape, body, side, workers) for side in SIDES]
    return {
        "workload": shape,
        "body": body,
        "floor": base["instructions"],
        "actorflow": mine["instructions"],
        "ratio": mine["instructions"] / base["instructions"],
        "calls of floor": base["calls"],
        "calls of actorflow": mine["calls"],
    }


async def slope_of(shape: str, body: str, side: str, workers: int) -> Slope:
    """Return what one more step, or run of the lesson, costs, counted in a process of its own."""
    arguments = (shape, body, side, str(workers))
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.bytecodes", *arguments),
        env={**os.environ, "PYTHONHASHSEED": "0"},
        stdout=PIPE,
    )
    output, _ = await child.communicate()
    if child.returncode:
        raise CountingFailed(*arguments)
    slope: Slope = json.loads(output)
    return slope


class CountingFailed(Exception):
    """Raised when the process that counts has ended with an error, which it has printed."""


async def counted(shape: str, body: str, side: str, workers: int) -> Slope:
    """Return what one more step, or run of the lesson, costs here, from two counts."""

    def opened(size: int) -> Opened:
        if shape == LESSON:
            return LESSONS[side](size, workers)
        return SIDES[side](SHAPES[shape](size), BODIES[body], workers).opened()

    sizes = RUNS if shape == LESSON else SIZES
    small, large = [await _counts(opened(size)) for size in sizes]
    more = sizes[1] - sizes[0]
    return {
        "calls": (large.calls - small.calls) / more,
        "instructions": (large.instructions - small.instructions) / more,
    }


@asynccontextmanager
async def _lessons_by_hand(
    runs: int, workers: int
) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    free = asyncio.Semaphore(workers)
    yield lambda: asyncio.gather(*(by_hand("here", free, threads=False) for _ in range(runs)))


@asynccontextmanager
async def _lessons(runs: int, workers: int) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    flow, inputs = lesson_flow(threads=False), {"url": "here"}
    async with Orchestrator(async_workers=workers, **UNWATCHED) as orchestrator:
        run = orchestrator.run_async
        yield lambda: asyncio.gather(*(run(flow, inputs) for _ in range(runs)))


LESSONS: dict[str, Callable[[int, int], Opened]] = {
    "floor": _lessons_by_hand,
    "actorflow": _lessons,
}


async def _counts(opened: Opened) -> Counts:
    async with opened as run:
        with counting():
            await run()  # fills the caches, those of the counting too
        gc.collect()
        with counting() as counts:
            await run()
    return counts


@contextmanager
def counting() -> Iterator[Counts]:
    """Count in every frame that this thread enters or resumes; garbage is not collected."""
    counts = Counts()
    gc.disable()
    try:
        with _monitored(counts) if sys.version_info >= (3, 12) else _traced(counts):
            yield counts
    finally:
        gc.enable()


@contextmanager
def _traced(counts: Counts) -> Iterator[None]:
    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if event == "opcode":
            counts.instructions += 1
        elif event == "call":
            counts.calls += 1
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


@contextmanager
def _monitored(counts: Counts) -> Iterator[None]:
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]  # from 3.12 on
    events = monitoring.events
    here = threading.get_ident()

    def instruction(*_: Any) -> None:
        if threading.get_ident() == here:
            counts.instructions += 1

    def call(*_: Any) -> None:
        if threading.get_ident() == here:
            counts.calls += 1

    callbacks = {
        events.INSTRUCTION: instruction,
        events.PY_START: call,
        events.PY_RESUME: call,
        events.PY_THROW: call,  # an exception thrown into a frame resumes it
    }
    tool = next(each for each in range(6) if monitoring.get_tool(each) is None)
    monitoring.use_tool_id(tool, __name__)
    for event, callback in callbacks.items():
        monitoring.register_callback(tool, event, callback)
    monitoring.set_events(tool, sum(callbacks))
    try:
        yield
    finally:
        monitoring.set_events(tool, 0)  # `free_tool_id` alone leaves the events on in Python 3.12
        for event in callbacks:
            monitoring.register_callback(tool, event, None)
        monitoring.free_tool_id(tool)


def stop_the_clock() -> None:
    """Have every orchestrator of this process read the same time forever, at no bytecode.

    Coroutine steps that never wait share a turn of the loop for some milliseconds. How many fit
    in would otherwise depend on the machine.
    """
    standing_still = itertools.repeat(time.monotonic()).__next__
    setattr(SystemClock, "now", staticmethod(standing_still))  # noqa: B010 - a method to mypy


if __name__ == "__main__":
    stop_the_clock()
    shape_name, body_name, side_name, worker_count = sys.argv[1:]
    print(json.dumps(asyncio.run(counted(shape_name, body_name, side_name, int(worker_count)))))
