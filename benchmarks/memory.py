"""What a step takes in memory: the peak of a large run, what stays after it, and where it is.

Every figure comes from a process of its own, `python -m benchmarks.memory`, because a peak
belongs to a process: the resident peak from one that does nothing else, Python's own allocations
from another under tracemalloc, which makes everything slower.
The definition of the graph is not counted: both sides have it before they start.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tracemalloc
from asyncio.subprocess import PIPE
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.contenders import Contender, actorflow, floor
from benchmarks.options import Options
from benchmarks.report import Record, Table
from benchmarks.workloads import RETURNS, Body, Inputs, Node, Workload, fan, layers

__all__ = ["memory", "memory_by_file"]

STEPS = 100_000
EXPLAINED_STEPS = 10_000
LINES = 12
LINUX = Path("/proc/self/clear_refs").exists()
ROOTS = sorted({*sys.path, str(Path(asyncio.__file__).parents[1])}, key=len, reverse=True)

Side = Callable[[Workload, Body, int], Contender]
Figures = dict[str, int]

SHAPES: dict[str, Callable[[int], Workload]] = {"layers": layers, "fan": fan}
SIDES: dict[str, Side] = {"floor": floor, "actorflow": actorflow}


async def memory(options: Options) -> Table:
    """Return bytes per step of a large run: at its peak, and still held when it has ended."""
    steps = STEPS // options.shrink
    return Table(
        section="memory",
        title=f"Memory of a run of {steps:,} steps (bytes per step)",
        records=[
            await _record(shape, side, steps, options.workers) for shape in SHAPES for side in SIDES
        ],
    )


async def _record(shape: str, side: str, steps: int, workers: int) -> Record:
    record: Record = {"workload": f"{shape}-{steps}", "who": side}
    for what in ("resident", "traced") if LINUX else ("traced",):
        record |= await _in_its_own_process(what, shape, side, steps, workers)
    return record


async def memory_by_file(options: Options) -> Table:
    """Return which files' allocations are alive while the last step runs."""
    steps = EXPLAINED_STEPS // options.shrink
    figures = await _in_its_own_process("explained", "layers", "actorflow", steps, options.workers)
    records: list[Record] = [
        {"allocated in": name, "bytes per step": size} for name, size in figures.items()
    ]
    return Table(
        section="memory by file",
        title=f"Where it is during the last of {steps:,} steps, in layers",
        records=records,
    )


async def _in_its_own_process(
    what: str, shape: str, side: str, steps: int, workers: int
) -> Figures:
    arguments = (what, shape, side, str(steps), str(workers))
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.memory", *arguments, stdout=PIPE
    )
    output, _ = await child.communicate()
    if child.returncode:
        raise MeasurementFailed(*arguments)
    figures: Figures = json.loads(output)
    return figures


class MeasurementFailed(Exception):
    """Raised when the process that measures has ended with an error, which it has printed."""


async def resident(side: Side, workload: Workload, workers: int) -> Figures:
    """Return by how much the run raised what the process holds; Linux only."""
    async with side(workload, RETURNS, workers).opened() as run:
        gc.collect()
        _forget_resident_peak()
        before = _resident_peak()
        await run()
        return {"resident peak": round((_resident_peak() - before) / len(workload.nodes))}


def _forget_resident_peak() -> None:
    # The peak so far belongs to the definition of the graph; 5 is Linux's word for "start anew".
    Path("/proc/self/clear_refs").write_text("5")


def _resident_peak() -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


async def traced(side: Side, workload: Workload, workers: int) -> Figures:
    """Return what Python allocated at the peak, and what is left when the caller has let go."""
    contender = side(workload, RETURNS, workers)
    tracemalloc.start()
    async with contender.opened() as run:
        gc.collect()
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        await run()
        _, peak = tracemalloc.get_traced_memory()
        gc.collect()
        left, _ = tracemalloc.get_traced_memory()
    size = len(workload.nodes)
    return {"traced peak": round((peak - before) / size), "left": round((left - before) / size)}


async def explained(side: Side, workload: Workload, workers: int) -> Figures:
    """Return the bytes per step by the file that allocated them, as the last step sees them."""
    snapshots: list[tracemalloc.Snapshot] = []
    contender = side(workload, _photographing(workload, snapshots), workers)
    tracemalloc.start()
    async with contender.opened() as run:
        before = tracemalloc.take_snapshot()
        await run()
    grown = snapshots[0].compare_to(before, "filename")
    grown.sort(key=lambda each: each.size_diff, reverse=True)
    named = {_short(each.traceback[0].filename): each.size_diff for each in grown[:LINES]}
    named["elsewhere"] = sum(each.size_diff for each in grown[LINES:])
    return {name: round(size / len(workload.nodes)) for name, size in named.items()}


def _photographing(workload: Workload, snapshots: list[tracemalloc.Snapshot]) -> Body:
    def make(node: Node) -> Callable[[Inputs], Any]:
        async def photographing(inputs: Inputs) -> int:
            snapshots.append(tracemalloc.take_snapshot())
            total: int = await body(inputs)
            return total

        body = RETURNS.make(node)
        return photographing if node is workload.nodes[-1] else body

    return Body(name="photographing", make=make)


def _short(filename: str) -> str:
    root = next((root for root in ROOTS if filename.startswith(f"{root}/")), "")
    return filename.removeprefix(f"{root}/")


CHILDREN = {"resident": resident, "traced": traced, "explained": explained}

if __name__ == "__main__":
    what, shape, side, size, workers = sys.argv[1:]
    figures = CHILDREN[what](SIDES[side], SHAPES[shape](int(size)), int(workers))
    print(json.dumps(asyncio.run(figures)))
