"""How many schedules of one small workflow can be tried in a second, beside other simulators.

A DAG of ten steps, two of which may be in flight at once, on a new schedule each time: by plain
chance, by the search with its swarm of biases, and through Hypothesis; with and without all
laws. simloom and simloop know no steps: each is given the asyncio floor on the same graph, whose
bodies sleep for a second of virtual time. As the floor has neither timeouts nor retries, the
steps have none either.
"""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Callable, Coroutine, Iterator, Mapping
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from statistics import median
from typing import Any

import pyperf

from actorflow.definition.step import Step
from actorflow.definition.workflow import Workflow
from actorflow.testing import Script, Tape, explore, laws, returns, simulate
from benchmarks.floors import asyncio_floor
from benchmarks.options import Options
from benchmarks.report import Record, Table
from benchmarks.workloads import RETURNS, Inputs, layers

__all__ = ["PEERS", "schedules"]

SCHEDULES = 1_000
WORKERS = 2
WORKLOAD = layers(10, width=3, dependencies=2)
SCRIPT = Script(default=returns(after=None))

Try = Callable[[int], object]
"""Tries so many schedules."""


async def schedules(options: Options) -> Table:
    """Return schedules per second, as medians over samples that are taken in turns."""
    # Hypothesis and the peers run event loops of their own, so none may run around them.
    count = SCHEDULES // options.shrink
    contenders = dict(_contenders())
    rounds = await asyncio.to_thread(_rounds, contenders, count, options.samples)
    columns = zip(*rounds[1:], strict=True)
    return Table(
        section="schedules",
        title=f"A workflow of {len(WORKLOAD.nodes)} steps on {count:,} schedules",
        records=[_record(who, each) for who, each in zip(contenders, columns, strict=True)],
        note=_note(),
    )


def _rounds(contenders: Mapping[str, Try], count: int, samples: int) -> list[list[float]]:
    return [[_rate(run, count) for run in contenders.values()] for _ in range(samples + 1)]


def _rate(run: Try, count: int) -> float:
    gc.collect()
    began = pyperf.perf_counter()
    run(count)
    seconds: float = pyperf.perf_counter() - began
    return count / seconds


def _record(who: str, rates: tuple[float, ...]) -> Record:
    return {
        "who": who,
        "schedules/s": round(median(rates)),
        "lowest": round(min(rates)),
        "highest": round(max(rates)),
    }


# ── actorflow ────────────────────────────────────────────────────────────────────────────────


def _contenders() -> Iterator[tuple[str, Try]]:
    flow = Workflow("ten")
    for node in WORKLOAD.nodes:
        flow.add(Step(node.id, RETURNS.make(node), after=node.after, async_=True))
    yield "plain chance", partial(_by_chance, flow)
    yield "search", partial(_search, flow, ())
    yield "search, all laws", partial(_search, flow, laws.ALL)
    if find_spec("hypothesis"):
        yield "Hypothesis", partial(_by_hypothesis, flow, ())
        yield "Hypothesis, all laws", partial(_by_hypothesis, flow, laws.ALL)
    for name, explore_peer in PEERS.items():
        if find_spec(name):
            yield name, partial(explore_peer, _floor)


def _by_chance(flow: Workflow, count: int) -> None:
    chance = random.Random(count)
    for _ in range(count):
        trace = simulate(flow, script=SCRIPT, tape=chance, async_workers=WORKERS)
        assert len(trace.result.outputs) == len(WORKLOAD.nodes)


def _search(flow: Workflow, rules: tuple[laws.Law, ...], count: int) -> None:
    exploration = explore(flow, script=SCRIPT, schedules=count, laws=rules, async_workers=WORKERS)
    exploration.check()
    assert exploration.schedules == count


def _by_hypothesis(flow: Workflow, rules: tuple[laws.Law, ...], count: int) -> None:
    from hypothesis import HealthCheck, given, settings  # noqa: PLC0415 - an extra

    from actorflow.testing.strategies import tapes  # noqa: PLC0415 - needs that extra

    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(tapes())
    def keeps_the_laws(tape: Tape) -> None:
        laws.check(simulate(flow, script=SCRIPT, tape=tape, async_workers=WORKERS), rules)

    keeps_the_laws()


# ── The peers ────────────────────────────────────────────────────────────────────────────────


async def _floor() -> None:
    bodies = {node.id: _sleeps for node in WORKLOAD.nodes}
    outputs = await asyncio_floor(WORKLOAD.after, bodies, WORKERS)
    assert len(outputs) == len(WORKLOAD.nodes)


async def _sleeps(_inputs: Inputs) -> int:
    await asyncio.sleep(1.0)
    return 1


Main = Callable[[], Coroutine[Any, Any, object]]


def _simloom(main: Main, count: int) -> None:
    exploration = import_module("simloom").explore(main, runs=count)
    assert not exploration.failed


def _simloop(main: Main, count: int) -> None:
    report = import_module("simloop").explore(main, range(count))
    assert report is None


PEERS: Mapping[str, Callable[[Main, int], None]] = {"simloom": _simloom, "simloop": _simloop}
MEASURED_ELSEWHERE = {"simloom": "172-189", "simloop": "244-263"}
"""Schedules per second in Python 3.12, on a machine like the one in docs/explanation."""


def _note() -> str:
    missing = [name for name in PEERS if not find_spec(name)]
    if not missing:
        return ""
    figures = ", ".join(f"{name} {MEASURED_ELSEWHERE[name]}" for name in missing)
    return (
        "Not installed, and in need of Python 3.12 or later; measured on a like machine, "
        f"in schedules per second: {figures}."
    )
