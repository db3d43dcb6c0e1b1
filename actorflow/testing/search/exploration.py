"""The result of a search."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

import attrs

from actorflow.testing.errors import NothingExplored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actorflow.testing.errors import LawBroken
    from actorflow.testing.search.cases import Case
    from actorflow.testing.search.coverage import Coverage
    from actorflow.testing.trace.trace import Trace

__all__ = ["NOT_ENDED", "Exploration", "Spread"]

NOT_ENDED: Final = "not ended"
"""The key in `endings` for runs that had not ended."""


class Spread(NamedTuple):
    """The distribution of the durations of schedules, in virtual seconds."""

    least: float
    median: float
    p99: float
    """The 99th percentile."""

    @classmethod
    def of(cls, durations: Sequence[float]) -> Spread:
        """Return the spread of some durations; all zeros if there are none."""
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

    Searches with equal seeds give equal explorations; the time that they took is not compared.
    """

    seed: int
    schedules: int
    """Number of schedules tried, without those that made the failure smaller or were pruned."""
    seconds: float = attrs.field(eq=False)
    """The duration of the search, in real seconds."""
    distinct: int
    """Number of distinct schedules, by their choices."""
    durations: Spread
    """The durations of the schedules, in virtual seconds."""
    endings: Mapping[str, int]
    """The number of runs by final status, with "not ended" for the others."""
    edges: Coverage
    """The moves of the transition tables that were seen."""
    explored: int
    """Number of schedules that explored something. It differs from `schedules` only if a step asked
    for something that a simulation does not have: schedules on which the run failed because of
    that, or on which no other attempt ended, do not count."""
    refusal: str | None = None
    """Which step cannot be simulated, and why; None if all can."""
    exhaustive: int | None = None
    """The number of deviations up to which every schedule was asked for, if it was."""
    exhausted: bool = False
    """Whether every schedule with at most `exhaustive` deviations was tried, or is covered by one
    that was: they differ only in the order of deliveries that commute. False if a law was broken,
    or if a bound ended the search before."""
    complete: bool = False
    """Whether, in addition, no schedule has more deviations, so that these are all there are."""
    pruned: int = 0
    """Number of schedules that an exhaustive search ended early, because others cover them."""
    failure: Trace | None = attrs.field(default=None, eq=_hash)
    """The first schedule that broke a law, made as small as possible; None if there is none."""
    broken: LawBroken | None = attrs.field(default=None, eq=_name)
    """How it broke the law, as the error that `check` raises."""
    case: Case | None = attrs.field(default=None, eq=False)
    """The case of the failure; for a scenario, the small one."""
    shrunk_by: int = 0
    """Number of schedules tried to make the failure smaller."""

    @property
    def schedules_per_second(self) -> float:
        """Number of schedules tried per real second."""
        return self.schedules / self.seconds if self.seconds else 0.0

    def check(self) -> None:
        """Check that no law was broken, and that the search explored something.

        Raises:
            LawBroken: The first failure found, made small.
            NothingExplored: When no schedule explored anything, because a step cannot be simulated.
        """
        if self.broken is not None:
            # The traceback of the search is of no use.
            raise self.broken.with_traceback(None)
        if not self.explored:
            raise NothingExplored(self.schedules, self.refusal or "")

    @property
    def verdict(self) -> str:
        """The outcome in one line, or in several if a law is broken."""
        if self.broken is not None:
            return str(self.broken)
        if not self.explored:
            return f"nothing was explored: {self.refusal}"
        if self.explored < self.schedules:
            part = f"only {self.explored:,} of {self.schedules:,} schedules explored anything"
            return f"no law broken, but {part}: {self.refusal}"
        return "no law broken"

    @property
    def scope(self) -> str | None:
        """What an exhaustive search has tried, in one line; None for other searches."""
        if self.exhaustive is None:
            return None
        many = "" if self.exhaustive == 1 else "s"
        asked = f"with at most {self.exhaustive} deviation{many}"
        if not self.exhausted:
            return f"not exhausted: the search ended before it had tried all schedules {asked}"
        more = f", {self.pruned:,} others being equal to one of them" if self.pruned else ""
        some = f"exhausted: all schedules {asked}{more}"
        return f"{some}; there are no others" if self.complete else some

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> list[str]:
        rate = f"{self.schedules:,} schedule{'s' * (self.schedules != 1)} in {self.seconds:.1f} s"
        rate += f" ({self.schedules_per_second:,.0f} a second)"
        missed = "; ".join(map(str, self.edges.missed))
        scope = self.scope
        return [
            *([] if scope is None else [scope]),
            f"{rate}, {self.distinct:,} of them distinct; seed {self.seed}",
            f"runs: {', '.join(f'{count:,} {how}' for how, count in self.endings.items())}",
            f"virtual duration: {self.durations}",
            f"seen: {self.edges}" + (f"; missed: {missed}" if missed else ""),
            self.verdict,
        ]
