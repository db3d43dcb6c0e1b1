"""How a contender is timed: in turns with the others, in one process, on one loop.

pyperf's own runner gives each benchmark processes of its own, one benchmark after the other, so
that two of them never share a minute of the machine; a ratio needs them to. So the taking of
turns is done here, and pyperf keeps the samples, their statistics and the machine's description.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from statistics import median

import attrs
import pyperf

from benchmarks.contenders import Contender
from benchmarks.workloads import Outputs

__all__ = ["Measured", "interleaved"]

STEPS_PER_SAMPLE = 10_000
"""Small graphs run several times in one sample: a millisecond alone is mostly noise."""


@attrs.frozen(kw_only=True)
class Measured:
    """What one contender took: a value per sample, in seconds per step."""

    contender: Contender
    values: tuple[float, ...]

    @property
    def microseconds(self) -> float:
        """Return the median cost of a step, in microseconds."""
        return 1e6 * median(self.values)

    def ratios_to(self, other: Measured) -> list[float]:
        """Return this cost in multiples of the other's, for each pair of neighbouring samples."""
        return [mine / its for mine, its in zip(self.values, other.values, strict=True)]

    def benchmark(self, section: str) -> pyperf.Benchmark:
        """Return the samples as pyperf keeps them."""
        contender = self.contender
        name = f"{section}/{contender.workload.name}/{contender.body.name}/{contender.name}"
        return pyperf.Benchmark([pyperf.Run(self.values, metadata={"name": name})])


async def interleaved(contenders: Sequence[Contender], samples: int) -> list[Measured]:
    """Take a warm-up and `samples` samples of each contender: A B C, A B C, and so on."""
    expected: dict[str, Outputs] = {}
    rounds = [
        [await _sample(contender, expected) for contender in contenders] for _ in range(samples + 1)
    ]
    return [
        Measured(contender=contender, values=values)
        for contender, values in zip(contenders, zip(*rounds[1:], strict=True), strict=True)
    ]


async def _sample(contender: Contender, expected: dict[str, Outputs]) -> float:
    steps = len(contender.workload.nodes)
    loops = max(1, STEPS_PER_SAMPLE // steps)
    outputs: Outputs = {}
    async with contender.opened() as run:
        gc.collect()
        began = pyperf.perf_counter()
        for _ in range(loops):
            outputs = await run()
        seconds: float = pyperf.perf_counter() - began
    assert expected.setdefault(contender.workload.name, outputs) == outputs, contender.name
    return seconds / (loops * steps)
