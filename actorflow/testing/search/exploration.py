"""What a search has come to."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actorflow.testing.errors import LawBroken
    from actorflow.testing.search.cases import Case
    from actorflow.testing.search.coverage import Coverage
    from actorflow.testing.trace.trace import Trace

__all__ = ["NOT_ENDED", "Exploration", "Spread"]

NOT_ENDED: Final = "not ended"
"""Stands among the endings for runs that had none."""


class Spread(NamedTuple):
    """How long schedules took, in virtual seconds."""

    least: float
    median: float
    p99: float
    """99 of 100 took no longer."""

    @classmethod
    def of(cls, durations: Sequence[float]) -> Spread:
        """Return how durations are spread; all is nought if there are none."""
        line = sorted(durations) or [0.0]
        return cls(line[0], median(line), line[(len(line) * 99 + 99) // 100 - 1])

    def __str__(self) -> str:
        return f"{self.least:g} s at least, {self.median:g} s at the median, {self.p99:g} s at p99"


def _name(broken: LawBroken | None) -> str | None:
    return None if broken is None else broken.name


def _hash(trace: Trace | None) -> str | None:
    return None if trace is None else trace.hash


@attrs.frozen(kw_only=True, slots=False)
class Exploration:
    """What a search has seen, and the first schedule that broke a law.

    Two searches of equal seeds come to equal explorations; how long they took does not count.
    """

    seed: int
    schedules: int
    """How many were tried, without those that made the failure smaller."""
    seconds: float = attrs.field(eq=False)
    """How long that took, in real seconds."""
    distinct: int
    """How many of them had no like: no two chose alike."""
    durations: Spread
    """How long they took, in virtual seconds."""
    endings: Mapping[str, int]
    """How their runs ended: how often each status came, and "not ended" beside them."""
    edges: Coverage
    """The moves of the transition tables that were seen."""
    failure: Trace | None = attrs.field(default=None, eq=_hash)
    """The first schedule that broke a law, made as small as it would be; None if none did."""
    broken: LawBroken | None = attrs.field(default=None, eq=_name)
    """How it broke the law. Its text says all that there is to say."""
    case: Case | None = attrs.field(default=None, eq=False)
    """What the failure is a schedule of: for a scenario, the small one."""
    shrunk_by: int = 0
    """How many schedules were tried to make the failure smaller."""

    @property
    def schedules_per_second(self) -> float:
        """How many schedules were tried in a real second."""
        return self.schedules / self.seconds if self.seconds else 0.0

    def check(self) -> None:
        """Return if no law was broken.

        Raises:
            LawBroken: The first that was found, made small.
        """
        if self.broken is not None:
            # Where in the search it was found says nothing.
            raise self.broken.with_traceback(None)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> list[str]:
        rate = f"{self.schedules:,} schedules in {self.seconds:.1f} s"
        rate += f" ({self.schedules_per_second:,.0f} a second)"
        missed = "; ".join(map(str, self.edges.missed))
        return [
            f"{rate}, {self.distinct:,} of them distinct; seed {self.seed}",
            f"runs: {', '.join(f'{count:,} {how}' for how, count in self.endings.items())}",
            f"virtual duration: {self.durations}",
            f"seen: {self.edges}" + (f"; missed: {missed}" if missed else ""),
            "no law broken" if self.broken is None else str(self.broken),
        ]
