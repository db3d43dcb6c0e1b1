"""The sections that time a step: per workload, by size, by way of calling, and beside peers."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from benchmarks.contenders import Contender, actorflow, actorflow_from_outside, floor
from benchmarks.measure import Measured, interleaved
from benchmarks.options import Options
from benchmarks.peers import missing, peers
from benchmarks.report import Record, Table
from benchmarks.workloads import BODIES, RETURNS, THREAD, Body, Workload, chain, fan, layers

__all__ = ["beside_peers", "entry", "scaling", "steps", "workload_names"]

SIZES = (1_000, 10_000, 100_000)
BOTH = (floor, actorflow)
ENTRIES = (*BOTH, actorflow_from_outside)


def _workloads(shrink: int) -> list[Workload]:
    fans = [fan(1_000 // shrink), fan(10_000 // shrink)]
    chains = [chain(1_000 // shrink), chain(5_000 // shrink)]
    return [*fans, *chains, layers(10_000 // shrink)]


def workload_names(shrink: int) -> list[str]:
    """Return the names of the workloads that the first section runs."""
    return [workload.name for workload in _workloads(shrink)]


async def steps(options: Options) -> Table:
    """Return what a step costs beside the floor, on every workload with every body."""
    pairs = [
        await _pair(workload, body, options)
        for workload in options.chosen(_workloads(options.shrink))
        for body in BODIES
    ]
    return Table(
        section="steps",
        title=f"Cost of a step, async_workers={options.workers} (us)",
        records=[_ratio(base, mine) for base, mine in pairs],
        samples=[measured for pair in pairs for measured in pair],
    )


async def _pair(workload: Workload, body: Body, options: Options) -> list[Measured]:
    contenders = [make(workload, body, options.workers) for make in BOTH]
    return await interleaved(contenders, options.samples)


def _ratio(base: Measured, mine: Measured) -> Record:
    ratios = mine.ratios_to(base)
    return {
        **_about(base),
        "floor": base.microseconds,
        "actorflow": mine.microseconds,
        "ratio": mine.microseconds / base.microseconds,
        "lowest": min(ratios),
        "highest": max(ratios),
    }


def _about(measured: Measured) -> Record:
    workload, body = measured.contender.workload, measured.contender.body
    return {"workload": workload.name, "body": body.name, "steps": len(workload.nodes)}


async def scaling(options: Options) -> Table:
    """Return what a step costs in graphs of one shape and growing size, all in turns."""
    shapes = [
        await _sizes([shape(size // options.shrink) for size in SIZES], options)
        for shape in (layers, fan, chain)
    ]
    return Table(
        section="scaling",
        title="Cost of a step by the size of its graph (us; growth is against the smallest)",
        records=[record for measured in shapes for record in _growth(measured)],
        samples=[each for measured in shapes for each in measured],
    )


async def _sizes(workloads: Sequence[Workload], options: Options) -> list[Measured]:
    contenders = [
        make(workload, RETURNS, options.workers) for workload in workloads for make in BOTH
    ]
    return await interleaved(contenders, options.samples)


def _growth(measured: Sequence[Measured]) -> list[Record]:
    first_base, first = measured[:2]
    return [
        {
            **_about(base),
            "floor": base.microseconds,
            "growth of floor": base.microseconds / first_base.microseconds,
            "actorflow": mine.microseconds,
            "growth of actorflow": mine.microseconds / first.microseconds,
            "ratio": mine.microseconds / base.microseconds,
        }
        for base, mine in zip(measured[::2], measured[1::2], strict=True)
    ]


async def entry(options: Options) -> Table:
    """Return what a step costs on the caller's loop, and from a thread that waits outside."""
    return await _side_by_side(
        "entry",
        "The orchestrator on the caller's loop, and on a thread of its own (us)",
        [
            [make(workload, RETURNS, options.workers) for make in ENTRIES]
            for workload in (chain(1_000 // options.shrink), layers(10_000 // options.shrink))
        ],
        options,
    )


async def beside_peers(options: Options) -> Table:
    """Return what a step costs in the other schedulers that are installed, on smaller graphs."""
    table = await _side_by_side(
        "peers",
        "Beside other schedulers (us)",
        [
            [
                *[
                    make(workload, body, options.workers)
                    for body in (RETURNS, THREAD)
                    for make in BOTH
                ],
                *peers(workload, options.workers),
            ]
            for workload in (shape(1_000 // options.shrink) for shape in (fan, chain, layers))
        ],
        options,
    )
    left_out = ", ".join(missing())
    return attrs.evolve(table, note=left_out and f"Left out, because not installed: {left_out}.")


async def _side_by_side(
    section: str, title: str, groups: Sequence[Sequence[Contender]], options: Options
) -> Table:
    measured = [await interleaved(group, options.samples) for group in groups]
    return Table(
        section=section,
        title=title,
        records=[
            {
                **_about(each),
                "who": each.contender.name,
                "cost": each.microseconds,
                "ratio": each.microseconds / _base(each, group).microseconds,
            }
            for group in measured
            for each in group
        ],
        samples=[each for group in measured for each in group],
    )


def _base(measured: Measured, group: Sequence[Measured]) -> Measured:
    # The floor comes first, and there is one for each body: threads are compared with threads.
    return next(each for each in group if each.contender.body is measured.contender.body)
