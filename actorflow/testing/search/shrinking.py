"""Shrinking: from a schedule that breaks a law to a small one that breaks the same law.

Size is four numbers, of which the first counts most: the steps that run, the deviations from the
defaults (in the scenario and on the tape), the length of the tape, and its values. A change is kept
if the law still breaks and the numbers have become smaller; changes are repeated until none is
kept.

Such a descent ends where no single change helps. If many deviations are left there, the shrinker
starts again elsewhere: it looks for other schedules that break the law, prefers those that deviate
little, and descends from the best of them. It keeps the smallest schedule of all descents. The
first one may use half of all tries.

Dropping a step shifts everything after it on the tape, so a smaller scenario seldom fails on the
current tape. It therefore gets some other chances: the default schedule, and a few random ones.
"""

from __future__ import annotations

import random
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from actorflow.support.clock import SystemClock
from actorflow.testing.search.edits import blocks
from actorflow.testing.search.following import Follower, Order
from actorflow.testing.search.swarm import Swarm, biased
from actorflow.testing.simulation.account import UNDO
from actorflow.testing.simulation.settings import SPANS
from actorflow.testing.simulation.tape import Tape

if TYPE_CHECKING:
    from actorflow.testing.errors import LawBroken
    from actorflow.testing.search.cases import Case, Watch
    from actorflow.testing.simulation.simulate import Simulation
    from actorflow.testing.simulation.tape import Source
    from actorflow.testing.trace.trace import Trace

__all__ = ["Finding", "Judge", "Shrinker"]

Judge: TypeAlias = Callable[["Trace"], "LawBroken | None"]
"""Returns how a trace breaks a law, or None if it does not."""

_MOST_RUNS: Final = 4_000
_MOST_OF_FIRST_DESCENT: Final = 2_000
_MOST_DELIVERIES: Final = 1_000_000
"""Over all schedules tried: large workflows get fewer schedules."""
_MOST_SECONDS: Final = 60.0
"""Real seconds. This bounds slow laws; everything else is bounded by the number of tries."""
_MOST_DEVIATIONS: Final = 8
_OTHER_CHANCES: Final = 10
_FEW: Final = 5
"""A descent that ends with so many deviations is good enough."""
_TRIES_OF_A_START: Final = 150
_TRIES_OF_A_DESCENT: Final = 350
_STRONG_BIASES: Final = (0.9, 0.95, 0.98)
_EARLIEST: Final = 12
_KEPT: Final = (0.5, 0.7, 0.9)
_FOREVER: Final = float("inf")
_ORDER: Final = "deliver"
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
        """Its size: steps, deviations, length, values."""
        case, tape = self.case, self.trace.tape
        values = case.oddness + sum(value for _, value in tape)
        return case.size, case.deviations + tape.deviations, len(tape), values


class Shrinker:
    """Makes a finding smaller.

    Args:
        finding: The finding.
        judge: Says whether a trace breaks the same law.
        most: Maximum number of schedules to try.
    """

    def __init__(self, finding: Finding, judge: Judge, most: int = _MOST_RUNS) -> None:
        self.best: Finding = finding
        """The smallest finding so far."""
        self.tried: int = 0
        """Number of schedules tried."""
        self.judge = judge
        self._most = self._limit = most
        self._deliveries = 0
        self._now = SystemClock.now
        self._until = _FOREVER
        self._stopped: Callable[[], bool] | None = None
        self._seen: set[tuple[Case, Tape]] = set()
        self._random = random.Random(0)
        self._followed: tuple[Finding, Order] | None = None
        """The best finding and its order, computed on first use."""

    def shrink(self, stopped: Callable[[], bool] | None = None) -> Finding:
        """Return a finding that no change tried makes smaller.

        Args:
            stopped: Called after each schedule; returns whether to stop.
        """
        self._stopped, self._until = stopped, self._now() + _MOST_SECONDS
        self._limit = min(self._most, _MOST_OF_FIRST_DESCENT)
        self._descend()
        if self._deviates_much():
            self._limit = self._most
            while self._deviates_much() and not self._is_done():
                self._start_elsewhere()
            self._descend()
        return self.best

    def _descend(self, *, thorough: bool = True) -> None:
        """Make the best finding smaller, until no change helps.

        Args:
            thorough: Whether to look for shorter ways, too, which takes most of the tries.
        """
        before = None
        while before is not self.best and not self._is_done():
            before = self.best
            self._shrink_case()
            for tape in self._smaller_tapes(thorough=thorough):
                self._try(self.best.case, tape)
                if self._is_done():
                    break

    def _deviates_much(self) -> bool:
        return self.best.trace.tape.deviations > _FEW

    def _is_done(self) -> bool:
        return self.tried >= self._limit

    # ── Other starts ─────────────────────────────────────────────────────────────────────────

    def _start_elsewhere(self) -> None:
        """Descend from another finding, and keep it if it becomes smaller than the best."""
        known, start = self.best, self._other_start()
        if start is None:
            return
        self.best = start
        self._limit = min(self._most, self.tried + _TRIES_OF_A_DESCENT)
        self._descend(thorough=False)
        self._limit = self._most
        if known.key < self.best.key:
            self.best = known

    def _other_start(self) -> Finding | None:
        """Return the smallest of a few other findings, if there are any."""
        case, swarm, found = self.best.case, Swarm(self._random), []
        for number in range(_TRIES_OF_A_START):
            if self._is_done():
                break
            bias = self._random.choice(_STRONG_BIASES)
            way = swarm.next() if number % 2 else (biased(self._random, bias), None)
            found.append(self._finding(case, *way))
        return min(filter(None, found), key=lambda one: one.key, default=None)

    # ── Trying ───────────────────────────────────────────────────────────────────────────────

    def _try(self, case: Case, tape: Tape) -> bool:
        """Try a schedule; return whether it is a smaller finding, which becomes the best."""
        if (case, tape) in self._seen:
            return False
        self._seen.add((case, tape))
        if self._run(case, tape, None):
            return True
        clamped = _Clamped(tape)
        return self._run(case, clamped.choose, clamped.watch)

    def _run(self, case: Case, source: Source, watch: Watch | None) -> bool:
        found = None if self._is_done() else self._finding(case, source, watch)
        if found is None or found.key >= self.best.key:
            return False
        self.best = found
        return True

    def _finding(self, case: Case, source: Source, watch: Watch | None) -> Finding | None:
        """Run a schedule, and return it if it breaks the law."""
        self.tried += 1
        trace = case.simulate(source, watch)
        self._count(trace)
        broken = self.judge(trace)
        return None if broken is None else Finding(case, trace, broken)

    def _count(self, trace: Trace) -> None:
        """Count a schedule, and stop trying if a bound is reached."""
        self._deliveries += len(trace.envelopes)
        enough = self._deliveries >= _MOST_DELIVERIES or self._now() >= self._until
        if enough or (self._stopped is not None and self._stopped()):
            self._most = self._limit = self.tried

    # ── The scenario ─────────────────────────────────────────────────────────────────────────

    def _shrink_case(self) -> None:
        for edit in self.best.case.edits():
            case = edit(self.best.case)
            if case != self.best.case:
                self._try_case(case)
            if self._is_done():
                break

    def _try_case(self, case: Case) -> bool:
        tape = self.best.trace.tape
        if any(self._try(case, one) for one in (tape, Tape(), _compensators_as_steps(tape))):
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
        """Try the order of the best, with the faults at the same place or a little earlier."""
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
        """Return a tape without some choices, as if their subjects were gone."""
        chance, keep = self._random.random, self._random.choice(_KEPT)
        return Tape(
            {
                label: [value for value in stream if chance() < keep]
                for label, stream in tape.streams.items()
            }
        )

    # ── The tape ─────────────────────────────────────────────────────────────────────────────

    def _smaller_tapes(self, *, thorough: bool) -> Iterator[Tape]:
        """Yield tapes that may be smaller than that of the best finding at each moment."""
        yield Tape()
        for chosen in blocks(_deviations(self.best.trace.tape)):
            yield _plain_at(self.best.trace.tape, chosen)
        if thorough:
            self._shorten()
        for label, stream in self.best.trace.tape.streams.items():
            for few in blocks(range(len(stream))):
                yield _without(self.best.trace.tape, label, few)
        for place in _deviations(self.best.trace.tape):
            yield from _lower_at(self.best.trace.tape, place)

    def _shorten(self) -> None:
        """Look for a shorter way to the same failure, until there is none."""
        while any(self._try(self.best.case, tape) for tape in self._shorter_ways()):
            pass

    def _shorter_ways(self) -> Iterator[Tape]:
        """Yield tapes that deviate like the best for a while, then at most once more.

        The best may deviate more often only because it took another way.
        """
        places = [place for place, value, _ in _placed(self.best.trace) if value]
        for kept in range(max(0, len(places) - _MOST_DEVIATIONS), len(places) - 1):
            base = _plain_at(self.best.trace.tape, places[kept:])
            known = set(places[:kept])
            for place, _, options in _placed(self.best.case.simulate(base)):
                if place not in known:
                    yield from (_with(base, place, value) for value in range(1, options))


def _placed(trace: Trace) -> Iterator[tuple[_Place, int, int]]:
    """Yield the place of each choice on the tape, its value, and its number of options."""
    counts: dict[str, int] = {}
    for label, value, options in trace.choices:
        counts[label] = index = counts.get(label, -1) + 1
        yield (label, index), value, options


def _earlier_faults(tape: Tape) -> Iterator[Tape]:
    """Yield tapes on which the first fault comes a few occasions earlier."""
    for label, stream in tape.streams.items():
        if label in SPANS:
            for value in range(stream[0] - 1, max(0, stream[0] - _EARLIEST), -1):
                yield _changed(tape, label, [value, *stream[1:]])


def _deviations(tape: Tape) -> list[_Place]:
    """Return the places where a tape deviates, longest streams first."""
    streams = sorted(tape.streams.items(), key=lambda item: -len(item[1]))
    return [
        (label, index) for label, stream in streams for index, value in enumerate(stream) if value
    ]


class _Clamped:
    """A source that reads a tape but takes the last option instead of wrapping around.

    The very last option is to let time pass although messages wait. It should still mean that when
    there are fewer messages.
    """

    def __init__(self, tape: Tape) -> None:
        self._read = tape.reader()
        self._simulation: Callable[[], Simulation | None] = _no_simulation

    def watch(self, simulation: Simulation) -> None:
        """Learn the simulation whose options are chosen from."""
        self._simulation = weakref.ref(simulation)

    def choose(self, options: int, label: str) -> int:
        """Return the index of an option."""
        value = self._read(options, label)
        if value < options:
            # It may be a blank, behind the options, if the last option is a rare one.
            simulation = self._simulation() if value and label == _ORDER else None
            if simulation is None:
                return value
            system = simulation.system
            options = len(system.channels) + len(system.without_mail)
        return min(value, options - 1)


def _no_simulation() -> None:
    return None


def _compensators_as_steps(tape: Tape) -> Tape:
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
    if index < len(stream) and stream[index]:
        for lower in sorted({1, stream[index] // 2, stream[index] - 1} - {0}):
            if lower < stream[index]:
                yield _changed(tape, label, [*stream[:index], lower, *stream[index + 1 :]])
