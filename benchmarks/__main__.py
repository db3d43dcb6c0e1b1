"""The one command, `python -m benchmarks`; the package's docstring says what it takes."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import benchmarks
from benchmarks.bytecodes import bytecodes
from benchmarks.door import door
from benchmarks.durable import durable
from benchmarks.following import following
from benchmarks.history import history
from benchmarks.imports import imports
from benchmarks.makespan import makespans
from benchmarks.memory import memory, memory_by_file
from benchmarks.options import Options
from benchmarks.report import Table, dump_figures, dump_samples, show
from benchmarks.schedules import schedules
from benchmarks.throughput import throughput
from benchmarks.timings import beside_peers, entry, scaling, steps, workload_names

__all__ = ["main"]

Section = Callable[[Options], Coroutine[Any, Any, Table]]

SECTIONS: dict[str, tuple[Section, ...]] = {
    "steps": (steps,),
    "bytecodes": (bytecodes,),
    "scaling": (scaling,),
    "entry": (entry,),
    "lesson": (throughput,),
    "memory": (memory, memory_by_file),
    "durable": (durable, history),
    "door": (door,),
    "following": (following,),
    "schedules": (schedules,),
    "makespan": (makespans,),
    "import": (imports,),
    "peers": (beside_peers,),
}


def main(words: Sequence[str] | None = None) -> None:
    """Measure what was asked for; show every table as soon as it is there."""
    arguments = _arguments(words)
    options = Options(
        samples=2 if arguments.quick else arguments.samples,
        workers=arguments.workers,
        shrink=10 if arguments.quick else 1,
        workloads=frozenset(arguments.only),
        wfcommons=arguments.wfcommons,
    )
    tables = [_shown(section, options) for section in _sections(arguments)]
    if arguments.json:
        dump_figures(tables, arguments.json)
    if arguments.pyperf:
        dump_samples(tables, arguments.pyperf)


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=benchmarks.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--samples", type=int, default=7, help="of each, in turns (7)")
    parser.add_argument("--workers", type=int, default=10, help="async_workers, on all sides (10)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the size, 2 samples")
    parser.add_argument("--peers", action="store_true", help="other schedulers as well")
    parser.add_argument(
        "--wfcommons", type=Path, metavar="DIR", help="recorded workflows, for makespan"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--pyperf", type=Path, metavar="FILE", help="write the samples here")
    arguments = parser.parse_args(words)
    known = {*SECTIONS, *workload_names(10 if arguments.quick else 1)}
    if unknown := sorted({*arguments.only} - known):
        parser.error(f"--only {', '.join(unknown)}: expected one of {', '.join(sorted(known))}")
    return arguments


def _sections(arguments: argparse.Namespace) -> list[Section]:
    only = {*arguments.only}
    named = only & SECTIONS.keys() if only else {*SECTIONS} - {"peers"}
    if only - SECTIONS.keys():
        named |= {"steps"}
    if arguments.peers:
        named |= {"peers"}
    return [section for name in SECTIONS if name in named for section in SECTIONS[name]]


def _shown(section: Section, options: Options) -> Table:
    table = asyncio.run(section(options))
    print(show(table), flush=True)
    return table


if __name__ == "__main__":
    main()
