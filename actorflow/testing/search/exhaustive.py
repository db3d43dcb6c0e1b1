"""Every schedule of a small case: all that deviate from the default one at most a few times.

A schedule is the series of its choices, and 0 is the default one. The search runs the schedule
without deviations, then those with one, and so on: each is a series that ends with a deviation and
continues with defaults, so that each is met exactly once. This is delay-bounded scheduling (Emmi,
Qadeer and Rakamaric, POPL 2011): a small bound reaches most defects, and the number of schedules
grows with a power of the bound rather than with the length of the schedule.

Pruning
-------
Two deliveries to different actors commute: the actors do not share their state. Many schedules
therefore differ only in the order of such deliveries, and one of them stands for all. The usual
reductions (sleep sets, persistent sets: Godefroid, LNCS 1032, 1996) are unsound under a bound,
because the schedule that stands for the others may deviate more often than the bound allows (Coons,
Musuvathi and McKinley, OOPSLA 2013). Here it is not enough for deliveries to commute: the oldest
message is the default one, so the order in which messages were sent decides how many deviations
another schedule takes.

The search thus compares states, by the causal history that led to them (Musuvathi and Qadeer, PLDI
2007): what each actor has received, in which order and when. To this it adds everything that the
future depends on: the waiting messages by age, the timers in their order, the attempts, the time,
and the other choices made. A schedule that reaches a state which another one has reached with as
many deviations or fewer ends there: all that could follow also follows from the other one, within
the bound. As schedules are run in the order of their deviations, the first to reach a state never
deviates more often than the others. States are compared by a hash of 64 bits.

Nothing is pruned when faults may happen, because they are counted over all messages, or when steps
call their own functions, because those may share state.
"""

from __future__ import annotations

import sys
import weakref
from array import array
from typing import TYPE_CHECKING, Final

from actorflow.testing.simulation.behaviours import Either, Real
from actorflow.testing.trace.labels import Names, said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from actorflow.systems.delivery import Cell, Envelope
    from actorflow.testing.search.cases import Given
    from actorflow.testing.simulation.account import Body
    from actorflow.testing.simulation.behaviours import Behaviour
    from actorflow.testing.simulation.simulate import Simulation
    from actorflow.testing.trace.trace import Trace

__all__ = ["Exhaustive"]

_ORDER: Final = "deliver"


class Exhaustive:
    """All schedules of a case with a bounded number of deviations.

    Args:
        case: The case.
        deviations: Maximum number of deviations.
        most: Maximum number of schedules to run, with those that end early.
        prune: Whether schedules are left out that differ from others only in the order of
            deliveries that commute, where that is known.
    """

    def __init__(
        self, case: Given, deviations: int, most: int = sys.maxsize, *, prune: bool = True
    ) -> None:
        self._case = case
        self._left = most
        self.deviations: int = deviations
        self._reached: set[int] | None = set() if prune and _may_prune(case) else None
        """The states that have been reached; None if nothing is pruned."""
        self.pruned: int = 0
        """Number of schedules that ended early, in a state that another one had reached."""
        self.exhausted: bool = False
        """Whether all schedules were tried."""
        self.complete: bool = False
        """Whether, in addition, no schedule has more deviations."""

    def traces(self) -> Iterator[Trace | None]:
        """Run the schedules, fewest deviations first, and yield their traces.

        Yields None for a schedule that ended early.
        """
        layer: Iterable[Sequence[int]] = [()]
        for _ in range(self.deviations + 1):
            parents: list[_Parent] = []
            for prefix in layer:
                if not self._left:
                    return
                self._left -= 1
                run = _Run(prefix, self._reached)
                trace = self._case.simulate(run.choose, run.watch)
                parents.append(_Parent(trace, len(prefix)))
                self.pruned += run.over
                yield None if run.over else trace
            layer = (child for parent in parents for child in parent.children())
        self.exhausted = True
        self.complete = next(iter(layer), None) is None


def _may_prune(case: Given) -> bool:
    script = case.script
    if case.settings.faults.any:
        return False
    if script is None:
        return True
    lines = (*script.steps.values(), *script.compensators.values(), script.default)
    return not any(_is_real(one) for line in lines for one in line)


def _is_real(behaviour: Behaviour) -> bool:
    if isinstance(behaviour, Either):
        return any(map(_is_real, behaviour.behaviours))
    return isinstance(behaviour, Real)


class _Parent:
    """A schedule that was run, and that others deviate from after its last deviation."""

    __slots__ = ("_options", "_start", "_values")

    def __init__(self, trace: Trace, start: int) -> None:
        self._values = array("I", [value for _, value, _ in trace.choices])
        self._options = array("I", [options for _, _, options in trace.choices])
        self._start = start

    def children(self) -> Iterator[Sequence[int]]:
        """Yield the beginnings of the schedules with one more deviation, which they end with."""
        for place in range(self._start, len(self._values)):
            before = self._values[:place]
            for value in range(1, self._options[place]):
                yield (*before, value)


class _Run:
    """The source of one schedule, which ends early in a state that was reached before.

    Args:
        prefix: The first choices; all others are the default.
        reached: The states that have been reached, or None.
    """

    def __init__(self, prefix: Sequence[int], reached: set[int] | None) -> None:
        self._prefix = iter(prefix)
        self._left = len(prefix)
        self._reached = reached
        self._state = _State()
        self._simulation: Callable[[], Simulation | None] = _no_simulation
        self.over: bool = False
        """Whether it ended early."""

    def watch(self, simulation: Simulation) -> None:
        """Learn the simulation whose options are chosen from."""
        if self._reached is not None:
            # The simulation refers to this object, which must not keep it alive in turn.
            self._simulation = weakref.ref(simulation)
            simulation.system.before_choice = self._compare

    def choose(self, options: int, label: str) -> int:
        """Return the index of an option."""
        value = 0
        if self._left:
            self._left -= 1
            # The number of options is that of the schedule which this one deviates from.
            value = next(self._prefix)
        if label != _ORDER:
            self._state.note(label, value % options)
        return value

    def _compare(self) -> None:
        """End the schedule if its state was reached before."""
        simulation, reached = self._simulation(), self._reached
        if self._left or simulation is None or reached is None or not simulation.offered:
            return
        state = self._state.of(simulation)
        if state in reached:
            self.over = True
            simulation.system.clear()
        else:
            reached.add(state)


def _no_simulation() -> None:
    return None


class _State:
    """The state of a simulation, as a hash: its causal history, and what the future depends on."""

    def __init__(self) -> None:
        self._names = Names(())
        self._seen = 0
        self._histories: dict[Cell, int] = {}
        self._received = 0
        """The sum over all actors of what each has received."""
        self._choices: dict[str, int] = {}
        self._chosen = 0
        """The sum over all kinds of choice, but for order, of what was chosen."""

    def note(self, label: str, value: int) -> None:
        """Note a choice that is not one of order."""
        before = self._choices.get(label, 0)
        self._choices[label] = after = hash((label, before, value))
        self._chosen += after - before

    def of(self, simulation: Simulation) -> int:
        """Return the state between two deliveries."""
        system = simulation.system
        waiting = system.queue
        for envelope in waiting:
            self._names.meet(envelope)
        for time, envelope in system.deliveries[self._seen :]:
            self._receive(time, envelope)
        self._seen = len(system.deliveries)
        return hash(
            (
                system.time,
                self._received,
                self._chosen,
                simulation.writes,
                tuple(system.without_mail),
                tuple([self._names.of(envelope) for envelope in waiting]),
                tuple([self._timer(*timer) for timer in system.agenda]),
                tuple([_attempt(body) for body in simulation.bodies]),
            )
        )

    def _receive(self, time: float, envelope: Envelope) -> None:
        target = envelope[0]
        before = self._histories.get(target, 0)
        said_by = self._names.of(envelope)
        self._histories[target] = after = hash((before, time, *said_by))
        self._received += after - before

    def _timer(self, moment: float, cell: Cell | None, subject: object) -> tuple[object, ...]:
        if cell is None:
            return moment, str(subject)
        return moment, self._names.cell(cell), said(subject)


def _attempt(body: Body) -> tuple[object, ...]:
    wait = body.wait
    waits = None if wait is None else (wait.began_at, wait.woken_at, wait.stopped is None)
    return str(body), body.outcome, body.started_at, body.finished_at, waits
