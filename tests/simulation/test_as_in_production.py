"""Every outcome that production has is one that simulation can reach.

Small asyncio programs are drawn from fixed seeds, and run in production a number of times: one run
after the other on a thread, and several at once on a loop that does other things as well. A
simulation that cannot reach one of their outcomes is worse than none: it says that there is no such
race.
"""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest

from actorflow import Orchestrator
from actorflow.testing import Script, Simulation, real
from actorflow.testing.simulation.tape import Choices
from tests.support.small_programs import Program, outcome_of
from tests.support.soak_factor import SOAK

REAL = Script(default=real())
MOST_SCHEDULES = 5_000
BIASES = 0.95, 0.8, 0.5, 0.0
RUNS = 12
AT_ONCE = 3
CHUNK = 25 * SOAK

every_chunk = pytest.mark.parametrize("chunk", range(4))


def simulated(program, number, workers, at_once):
    """Return the outcomes of some runs at once, on one of the schedules; the first is plain."""
    bias = BIASES[number % len(BIASES)]
    tape = Choices(random.Random(number), bias=bias) if number else None
    runs = {}
    with Simulation(script=REAL, tape=tape, async_workers=workers) as simulation:
        for _ in range(at_once):
            inputs = program.inputs()
            runs[simulation.start(program.flow, inputs)] = inputs
        results = simulation.conclude().results
    return {outcome_of(results[run_id], inputs) for run_id, inputs in runs.items()}


def unreached(program, outcomes, workers, at_once):
    """Return the outcomes that no schedule has; it stops when there are none left."""
    left = set(outcomes)
    for number in range(MOST_SCHEDULES):
        if not left:
            break
        left -= simulated(program, number, workers, at_once)
    return left


def on_a_thread(program, workers):
    """Run a program a few times, each time alone."""
    runs = []
    with Orchestrator(async_workers=workers) as orchestrator:
        for _ in range(RUNS):
            inputs = program.inputs()
            runs.append((orchestrator.run(program.flow, inputs), inputs))
    # What a step leaves behind on the loop is done by the time the orchestrator has been closed.
    return {outcome_of(*one) for one in runs}


async def on_a_busy_loop(program, workers):
    """Run a program a few times, several at once, next to callbacks of others."""
    runs = []
    async with Orchestrator(async_workers=workers) as orchestrator:
        others = [asyncio.create_task(_turn(times)) for times in (1, 3)]
        for _ in range(RUNS // AT_ONCE):
            started = []
            for _ in range(AT_ONCE):
                inputs = program.inputs()
                started.append((orchestrator.start(program.flow, inputs), inputs))
                await asyncio.sleep(0)
            runs += [(await run.wait_async(), inputs) for run, inputs in started]
        for other in others:
            other.cancel()
    return {outcome_of(*one) for one in runs}


async def _turn(times):
    for number in itertools.count(1):
        await asyncio.sleep(0.0003 if number % times == 0 else 0)


@every_chunk
def test_what_happens_on_a_thread_can_be_simulated(chunk):
    """With as few workers as the program can do with, and with more."""
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        program = Program(seed)
        for workers in (program.size, 10) if program.waits else (1, 2, 10):
            outcomes = on_a_thread(program, workers)

            assert set() == unreached(program, outcomes, workers, 1), f"seed {seed}: {program}"


@every_chunk
def test_what_happens_on_a_busy_loop_can_be_simulated(chunk):
    """As many runs at once."""
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        program = Program(seed)
        outcomes = asyncio.run(on_a_busy_loop(program, 10))

        assert set() == unreached(program, outcomes, 10, AT_ONCE), f"seed {seed}: {program}"
