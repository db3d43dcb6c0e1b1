"""How many bytecode instructions a step takes: a count, which no load on the machine changes.

Each figure is the slope between two sizes of one graph, so that the constant cost of a run drops
out. It comes from a process of its own, `python -m benchmarks.bytecodes`, with a fixed hash seed,
a clock that stands still and no garbage collection: the same code gives the same number every
time. Work done in C is not counted, however long it takes: a time and a count complete each other.

Calls are exact on every Python, and instructions on Python 3.11. From 3.12 on, `sys.settrace` now
and then reports a frame without its instructions: on 3.13.0, 3 of 24 counts lacked 12 of them.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import os
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import attrs

from actorflow.support.clock import SystemClock
from benchmarks.contenders import Contender, actorflow, floor
from benchmarks.options import Options
from benchmarks.report import Record, Table
from benchmarks.workloads import RETURNS, SUSPENDS, Body, Workload, chain, fan, layers

__all__ = ["Counts", "bytecodes", "counting", "slope_of"]

Slope = dict[str, float]

SIZES = (200, 400)
SHAPES: dict[str, Callable[[int], Workload]] = {"fan": fan, "chain": chain, "layers": layers}
BODIES = {body.name: body for body in (RETURNS, SUSPENDS)}
SIDES: dict[str, Callable[[Workload, Body, int], Contender]] = {
    "floor": floor,
    "actorflow": actorflow,
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
        title=f"Bytecode instructions and calls a step, async_workers={options.workers}",
        records=[
            await _record(shape, body, options.workers) for shape in SHAPES for body in BODIES
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
    """Return what one more step costs, counted in a process of its own."""
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
    """Return what one more step costs here, from the counts of a small and a large graph."""
    small, large = [
        await _counts(SIDES[side](SHAPES[shape](size), BODIES[body], workers)) for size in SIZES
    ]
    steps = SIZES[1] - SIZES[0]
    return {
        "calls": (large.calls - small.calls) / steps,
        "instructions": (large.instructions - small.instructions) / steps,
    }


async def _counts(contender: Contender) -> Counts:
    async with contender.opened() as run:
        with counting():
            await run()  # fills the caches; Python 3.13 reports code fully from its second time on
        gc.collect()
        with counting() as counts:
            await run()
    return counts


@contextmanager
def counting() -> Iterator[Counts]:
    """Count in every frame that this thread enters or resumes; garbage is not collected."""
    counts = Counts()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if event == "opcode":
            counts.instructions += 1
        elif event == "call":
            counts.calls += 1
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
        return trace

    before = sys.gettrace()
    gc.disable()
    # From Python 3.12 on, `settrace` reports instructions only if some frame has asked for them.
    sys._getframe().f_trace_opcodes = True  # noqa: SLF001 - the documented way to a frame
    sys.settrace(trace)
    try:
        yield counts
    finally:
        sys.settrace(before)
        gc.enable()


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
