"""What it costs to import actorflow, to define a workflow and to open an orchestrator.

Each sample is a fresh process that times a few statements. Every round runs each of them once,
so that whatever slows the machine slows all; a ratio is between two samples of one round.
Ratios are of processor time, which does not count what other programs do.

Bytecode is cached, as `pip install` leaves it, in a directory of this measurement: the first round
fills it and is not counted.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Mapping, Sequence
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.options import Options
from benchmarks.report import Record, Table

__all__ = ["STATEMENTS", "MeasurementFailed", "imports"]

DEFINE = """
from actorflow import Orchestrator, RetryPolicy, Workflow
flow = Workflow("order")
flow.step(lambda url: url, id="fetch", retry=RetryPolicy(max_attempts=3), timeout=10)
flow.step(lambda fetch: fetch, id="parse", after="fetch")
flow.step(lambda parse: parse, id="store", after="parse")
flow.validate()
"""
OPEN = """
orchestrator = Orchestrator()
orchestrator.__enter__()
"""
TIMED = """
import time
{before}
began = time.process_time(), time.perf_counter()
{statements}
print(time.process_time() - began[0], time.perf_counter() - began[1])
"""

STATEMENTS: dict[str, tuple[str, str]] = {
    "import thespian.actors": ("", "import thespian.actors"),
    "import asyncio, thespian.actors, attrs": ("", "import asyncio, thespian.actors, attrs"),
    "import attrs": ("", "import attrs"),
    "import actorflow": ("", "import actorflow"),
    "import 3 names, define, validate": ("", DEFINE),
    "the same, and open": ("", DEFINE + OPEN),
    "open alone": (DEFINE, OPEN),
}
"""By name: the statements that come before the clock starts, and those that are timed.
The first is what all ratios are to; the second is loaded by every orchestrator that opens."""


class Sample(NamedTuple):
    """What one process took, in seconds."""

    cpu: float
    wall: float


async def imports(options: Options) -> Table:
    """Return milliseconds in fresh processes, beside the import of Thespian."""
    with TemporaryDirectory() as cache:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        rounds = [await _round(environment) for _ in range(options.samples + 1)]
    columns = list(zip(*rounds[1:], strict=True))
    return Table(
        section="import",
        title="Imports, a definition and an opening, in fresh processes (ms)",
        records=[
            _record(name, samples, columns[0])
            for name, samples in zip(STATEMENTS, columns, strict=True)
        ],
    )


async def _round(environment: Mapping[str, str]) -> list[Sample]:
    return [
        await _sample(before, statements, environment) for before, statements in STATEMENTS.values()
    ]


def _record(name: str, samples: Sequence[Sample], base: Sequence[Sample]) -> Record:
    ratios = [mine.cpu / its.cpu for mine, its in zip(samples, base, strict=True)]
    return {
        "what": name,
        "wall": 1e3 * median(each.wall for each in samples),
        "processor": 1e3 * median(each.cpu for each in samples),
        "ratio": median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
    }


async def _sample(before: str, statements: str, environment: Mapping[str, str]) -> Sample:
    program = TIMED.format(before=before, statements=statements)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env=environment, stdout=PIPE
    )
    output, _ = await child.communicate()
    if child.returncode:
        raise MeasurementFailed(statements)
    return Sample(*map(float, output.split()))


class MeasurementFailed(Exception):
    """Raised when a process has ended with an error, which it has printed."""
