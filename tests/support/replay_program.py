"""A simulation of everything that may differ between processes; `test_replay` runs it in two."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from actorflow.definition.retry import RetryPolicy
from actorflow.definition.step import Step
from actorflow.testing import Faults, Script, Simulation, Tape, either, hangs, raises, real, returns
from tests.support.brain import flow

FAULTS = Faults(
    crashes=2,
    duplicates=2,
    delays=2,
    cancels=1,
    restarts=1,
    late_results=1,
    store_failures=1,
    store_stalls=1,
)


class Odd:
    """A value whose repr holds its id."""


def odd(inputs):
    """Return what hashes differently in every process, and what has an id in its repr."""
    return {"words", "in", "no", "order", Odd, None}, Odd(), {Odd(): [inputs]}


async def waits(a):
    """Wait for what another step returned, in no time."""
    import asyncio  # noqa: PLC0415 - a step's own business

    await asyncio.sleep(len(a) / 2)
    raise KeyError({"a", "set", "of", "words"})


def workflow():
    """A few steps of every kind."""
    retry = RetryPolicy(max_attempts=3)
    return flow(
        Step("a", odd, async_=True, retry=retry),
        Step("b", waits, after="a", async_=True, timeout=2.0, retry=retry, required=False),
        Step("c", odd, after=["a"], timeout=5.0, retry=retry),
        Step("d", odd, after=["b", "c"], async_=True, required=False),
        timeout=90.0,
    )


SCRIPT = Script(
    {"d": either(returns({"x", "y", "z"}, after=None), raises(ValueError({"p", "q"})), hangs())},
    default=either(real(after=None), raises(ValueError("v"), after=None)),
)


def replay(tape):
    """Run two of them on a tape, and return the trace."""
    with Simulation(script=SCRIPT, tape=tape, faults=FAULTS) as simulation:
        for _ in range(2):
            simulation.start(workflow())
        simulation.run_until_quiet()
        return simulation.trace()


def main():
    """Replay the tapes that a file holds, and print the hash of each trace, a line each."""
    for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines():
        sys.stdout.write(replay(Tape(json.loads(line))).hash + "\n")
