"""From a schedule that breaks a law to a small one that breaks the same law.

What is smaller is a question of four numbers, the first of which counts most: the steps that
run, what is not plain (in the scenario and on the tape), the length of the tape, and its values.
A change is kept if the law still breaks and the numbers have become smaller; the changes come
round again until none is kept any more.

Dropping a step moves everything that comes after it on the tape, so that a smaller scenario
seldom fails on the tape at hand. It is therefore given some other chances: the plainest
schedule, and a few that are drawn.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from actorflow.support.clock import SystemClock
from actorflow.testing.search.edits import blocks
from actorflow.testing.search.following import Follower, Order
from actorflow.testing.search.swarm import Swarm
from actorflow.testing.simulation.account import UNDO
from actorflow.testing.simulation.tape import Tape
from actorflow.testing.simulation.targets import SPANS

if TYPE_CHECKING:
    from actorflow.testing.errors import LawBroken
    from actorflow.testing.search.cases import Case, Watch
    from actorflow.testing.simulation.tape import Source
    from actorflow.testing.trace.trace import Trace

__all__ = ["Finding", "Judge", "Shrinker"]

Judge: TypeAlias = Callable[["Trace"], "LawBroken | None"]
"""Says how a trace breaks a law, or None if it does not."""

_MOST_RUNS: Final = 2_000
_MOST_DELIVERIES: Final = 1_000_000
"""Of all schedules that are tried together: large workflows get fewer of them."""
_MOST_SECONDS: Final = 60.0
"""Real ones. It is for laws that take their time: whatever else is bounded by what is tried."""
_LONGEST_WAY: Final = 8
_OTHER_CHANCES: Final = 10
_EARLIEST: Final = 12
_KEPT: Final = (0.5, 0.7, 0.9)
_FOREVER: Final = float("inf")
_Place: TypeAlias = tuple[str, int]
"""A stream of a tape, and an index in it."""


@attrs.frozen
class Finding:
    """A schedule that breaks a law."""

    case: Case
    trace: Trace
    broken: LawBroken

    @property
    def key(self) -> tuple[int, int, int, int]:
        """How small it is: steps, deviations, length, values."""
        case, tape = self.case, self.trace.tape
        values = case.oddness + sum(value for _, value in tape)
        return case.size, case.deviations + tape.deviations, len(tape), values


class Shrinker:
    """Makes a finding smaller.

    Args:
        finding: What was found.
        judge: Says whether a trace breaks the same law.
        most: How many schedules may be tried.
    """

    def __init__(self, finding: Finding, judge: Judge, most: int = _MOST_RUNS) -> None:
        self.best: Finding = finding
        """The smallest so far."""
        self.tried: int = 0
        """How many schedules were tried."""
        self.judge = judge
        self._most = most
        self._deliveries = 0
        self._now = SystemClock.now
        self._until = _FOREVER
        self._stopped: Callable[[], bool] | None = None
        self._seen: set[tuple[Case, Tape]] = set()
        self._random = random.Random(0)
        self._followed: tuple[Finding, Order] | None = None
        """The order of the best, once it was asked for."""

    def shrink(self, stopped: Callable[[], bool] | None = None) -> Finding:
        """Return a finding that none of the changes makes smaller, or none that was tried.

        Args:
            stopped: Asked after each schedule whether to leave it at that.
        """
        before, self._stopped = None, stopped
        self._until = self._now() + _MOST_SECONDS
        while before is not self.best and not self._has_enough():
            before = self.best
            self._shrink_case()
            for tape in self._smaller_tapes():
                self._try(self.best.case, tape)
                if self._has_enough():
                    break
        return self.best

    def _has_enough(self) -> bool:
        return self.tried >= self._most

    # ── Trying ───────────────────────────────────────────────────────────────────────────────

    def _try(self, case: Case, tape: Tape) -> bool:
        """Return whether a schedule is a smaller finding, which then is the best."""
        if (case, tape) in self._seen:
            return False
        self._seen.add((case, tape))
        return self._run(case, tape, None) or self._run(case, _held(tape), None)

    def _run(self, case: Case, source: Source, watch: Watch | None) -> bool:
        if self._has_enough():
            return False
        self.tried += 1
        trace = case.simulate(source, watch)
        self._count(trace)
        broken = self.judge(trace)
        if broken is None:
            return False
        found = Finding(case, trace, broken)
        if found.key >= self.best.key:
            return False
        self.best = found
        return True

    def _count(self, trace: Trace) -> None:
        """Take note of a schedule that was tried, and try no other one if that is enough."""
        self._deliveries += len(trace.envelopes)
        enough = self._deliveries >= _MOST_DELIVERIES or self._now() >= self._until
        if enough or (self._stopped is not None and self._stopped()):
            self._most = self.tried

    # ── The scenario ─────────────────────────────────────────────────────────────────────────

    def _shrink_case(self) -> None:
        for edit in self.best.case.edits():
            case = edit(self.best.case)
            if case != self.best.case:
                self._try_case(case)
            if self._has_enough():
                break

    def _try_case(self, case: Case) -> bool:
        tape = self.best.trace.tape
        if any(self._try(case, one) for one in (tape, Tape(), _as_of_steps(tape))):
            return True
        if self._follow(case):
            return True
        swarm = Swarm(self._random)
        for _ in range(_OTHER_CHANCES):
            thinned = self._thinned(self.best.trace.tape)
            if self._try(case, thinned) or self._run(case, *swarm.next()):
                return True
        return False

    def _follow(self, case: Case) -> bool:
        """Try the order of the best, with the faults where they were, or a little earlier."""
        order, tape = self._order(), self.best.trace.tape
        for other in (tape, *_earlier_faults(tape)):
            follower = Follower(order, other)
            if self._run(case, follower.choose, follower.watch):
                return True
        return False

    def _order(self) -> Order:
        if self._followed is None or self._followed[0] is not self.best:
            self._followed = self.best, Order(self.best.case, self.best.trace)
        return self._followed[1]

    def _thinned(self, tape: Tape) -> Tape:
        """Return a tape that lacks some choices, as if what they were about were gone."""
        chance, keep = self._random.random, self._random.choice(_KEPT)
        return Tape(
            {
                label: [value for value in stream if chance() < keep]
                for label, stream in tape.streams.items()
            }
        )

    # ── The tape ─────────────────────────────────────────────────────────────────────────────

    def _smaller_tapes(self) -> Iterator[Tape]:
        """Yield what may be smaller than the tape of the best, whichever that is by then."""
        yield Tape()
        for chosen in blocks(_deviations(self.best.trace.tape)):
            yield _plain_at(self.best.trace.tape, chosen)
        self._shorten()
        for label, stream in self.best.trace.tape.streams.items():
            for few in blocks(range(len(stream))):
                yield _without(self.best.trace.tape, label, few)
        for place in _deviations(self.best.trace.tape):
            yield from _lower_at(self.best.trace.tape, place)

    def _shorten(self) -> None:
        """Look for another way to the same end, until there is none that is shorter."""
        while any(self._try(self.best.case, tape) for tape in self._shorter_ways()):
            pass

    def _shorter_ways(self) -> Iterator[Tape]:
        """Yield tapes that deviate as the best does for a while, and then once more at most.

        It deviates more often, and perhaps only because it went another way.
        """
        places = [place for place, value, _ in _placed(self.best.trace) if value]
        for kept in range(max(0, len(places) - _LONGEST_WAY), len(places) - 1):
            base = _plain_at(self.best.trace.tape, places[kept:])
            known = set(places[:kept])
            for place, _, options in _placed(self.best.case.simulate(base)):
                if place not in known:
                    yield from (_with(base, place, value) for value in range(1, options))


def _placed(trace: Trace) -> Iterator[tuple[_Place, int, int]]:
    """Yield where on the tape each choice stands, its value, and its number of options."""
    counts: dict[str, int] = {}
    for label, value, options in trace.choices:
        counts[label] = index = counts.get(label, -1) + 1
        yield (label, index), value, options


def _earlier_faults(tape: Tape) -> Iterator[Tape]:
    """Yield tapes on which the first fault comes up to so many occasions earlier."""
    for label, stream in tape.streams.items():
        if label in SPANS:
            for value in range(stream[0] - 1, max(0, stream[0] - _EARLIEST), -1):
                yield _changed(tape, label, [value, *stream[1:]])


def _deviations(tape: Tape) -> list[_Place]:
    """Return where a tape is not plain, the streams that are about most in front."""
    streams = sorted(tape.streams.items(), key=lambda item: -len(item[1]))
    return [
        (label, index) for label, stream in streams for index, value in enumerate(stream) if value
    ]


def _held(tape: Tape) -> Callable[[int, str], int]:
    """Return what chooses as a tape does, but the last option instead of wrapping round.

    The last option of all is that time goes on although messages wait. It should still be so
    when there are fewer of them.
    """
    read = tape.reader()
    return lambda options, label: min(read(options, label), options - 1)


def _as_of_steps(tape: Tape) -> Tape:
    """Return a tape on which steps do what their compensators did."""
    return Tape({label.replace(UNDO, ""): stream for label, stream in tape.streams.items()})


def _changed(tape: Tape, label: str, stream: Iterable[int]) -> Tape:
    return Tape({**tape.streams, label: stream})


def _plain_at(tape: Tape, places: Iterable[_Place]) -> Tape:
    streams = {label: list(stream) for label, stream in tape.streams.items()}
    for label, index in places:
        if index < len(streams.get(label, ())):
            streams[label][index] = 0
    return Tape(streams)


def _without(tape: Tape, label: str, indices: Iterable[int]) -> Tape:
    dropped = set(indices)
    stream = tape.streams.get(label, ())
    kept = [value for index, value in enumerate(stream) if index not in dropped]
    return _changed(tape, label, kept)


def _with(tape: Tape, place: _Place, value: int) -> Tape:
    label, index = place
    stream = list(tape.streams.get(label, ()))
    stream += [0] * (index + 1 - len(stream))
    return _changed(tape, label, [*stream[:index], value, *stream[index + 1 :]])


def _lower_at(tape: Tape, place: _Place) -> Iterator[Tape]:
    label, index = place
    stream = list(tape.streams.get(label, ()))
    if index < len(stream):
        for lower in sorted({1, stream[index] // 2, stream[index] - 1} - {0}):
            if lower < stream[index]:
                yield _changed(tape, label, [*stream[:index], lower, *stream[index + 1 :]])
