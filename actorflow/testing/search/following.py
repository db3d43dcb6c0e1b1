"""A schedule that follows another schedule of a slightly different case, message by message.

A tape identifies the next message by its position among the waiting messages. When a step is
dropped, the positions change, and the same tape leads elsewhere. A schedule can also be described
by which message came from whom to whom, in which order, and when time passed although messages were
waiting. In a case that lacks a step, the remaining messages can still come in that order.
"""

from __future__ import annotations

import weakref
from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from actorflow.systems.simulated.mischief import Fault
from actorflow.systems.simulated.system import TIME
from actorflow.testing.trace.labels import Names

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.systems.delivery import Envelope
    from actorflow.systems.simulated.system import SimulatedSystem
    from actorflow.testing.search.cases import Case
    from actorflow.testing.simulation.simulate import Simulation
    from actorflow.testing.simulation.tape import Tape
    from actorflow.testing.trace.trace import Trace

    _Key = tuple[str, str, str, int]
    """Sender, receiver, message, and the number of equal ones before it."""

__all__ = ["Follower", "Order"]

_ORDER: Final = "deliver"
_LOSES: Final = frozenset({Fault.CRASH, Fault.POISON})
_LATER: Final = float("inf")


class Order:
    """The order in which things happened in a schedule.

    Args:
        case: The case of the schedule.
        trace: The schedule.
    """

    def __init__(self, case: Case, trace: Trace) -> None:
        counted = _Counted(trace.names)
        self.places: dict[_Key, tuple[float, float]] = {}
        """The position of each message among the deliveries, and its moment. A message struck by a
        fault stands where that happened."""
        struck = deque(trace.struck)
        for place, (moment, envelope) in enumerate(trace.envelopes):
            while struck and struck[0][0] <= place:
                self._strike(counted, struck.popleft())
            self.places.setdefault(counted.next(envelope), (place, moment))
        for one in struck:
            self._strike(counted, one)
        self.pauses: list[tuple[int, str]] = _pauses(case, trace.tape)
        """The deliveries before which something happened although messages waited, and what it
        was."""

    def _strike(self, counted: _Counted, struck: tuple[int, float, Fault, Envelope]) -> None:
        place, moment, fault, envelope = struck
        key = counted.next(envelope) if fault in _LOSES else counted.look(envelope)
        self.places.setdefault(key, (place - 0.5, moment))


def _pauses(case: Case, tape: Tape) -> list[tuple[int, str]]:
    read, pauses = tape.reader(), []
    watched: list[weakref.ref[Simulation]] = []

    def choose(options: int, label: str) -> int:
        value = read(options, label) % options
        simulation = watched[0]()
        if label == _ORDER and simulation is not None:
            system = simulation.system
            waiting = len(system.channels)
            if value >= waiting:
                pauses.append((len(system.deliveries), system.without_mail[value - waiting]))
        return value

    case.simulate(choose, lambda simulation: watched.append(weakref.ref(simulation)))
    return pauses


class _Counted:
    """Distinguishes messages of the same name by counting them."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self._counts: Counter[tuple[str, str, str]] = Counter()

    def next(self, envelope: Envelope) -> _Key:
        """Return the key of a message, and count it."""
        key = self.look(envelope)
        self._counts[key[:3]] += 1
        return key

    def look(self, envelope: Envelope) -> _Key:
        """Return the key that a message would have if it were counted next."""
        name = self.names.of(envelope)
        return (*name, self._counts[name])


class Follower:
    """Chooses as another schedule did, as far as possible.

    Args:
        order: The order to follow.
        tape: The tape for choices other than order.
    """

    def __init__(self, order: Order, tape: Tape) -> None:
        self._order = order
        self._read = tape.reader()
        self._counted = _Counted(Names(()))
        self._known = self._lost = 0
        self._pauses = deque(order.pauses)
        self._simulation: Callable[[], Simulation | None] = _no_simulation

    def watch(self, simulation: Simulation) -> None:
        """Learn the simulation whose options are chosen from."""
        self._simulation = weakref.ref(simulation)

    def choose(self, options: int, label: str) -> int:
        """Return the index of an option."""
        simulation = self._simulation()
        if label != _ORDER or simulation is None:
            return min(self._read(options, label), options - 1)
        system = simulation.system
        self._catch_up(system)
        places = self._places(system)
        first = min(places)
        pause = self._pause(system, *first)
        return places.index(first) if pause is None else len(places) + pause

    def _catch_up(self, system: SimulatedSystem) -> None:
        """Count the messages that were delivered without a choice."""
        struck = [one[3] for one in system.faults[self._lost :] if one[2] in _LOSES]
        new = [envelope for _, envelope in system.deliveries[self._known :]]
        for envelope in (*struck, *new):
            self._counted.names.meet(envelope)
            self._counted.next(envelope)
        self._known, self._lost = len(system.deliveries), len(system.faults)

    def _places(self, system: SimulatedSystem) -> list[tuple[float, float]]:
        """Return the positions and moments of the offered messages in the other schedule."""
        for envelope in system.offered:
            self._counted.names.meet(envelope)
        look, places, never = self._counted.look, self._order.places, (_LATER, system.time)
        return [places.get(look(envelope), never) for envelope in system.offered]

    def _pause(self, system: SimulatedSystem, place: float, moment: float) -> int | None:
        """Return the chosen option without a message, if any.

        One is chosen if it came before that message in the other schedule, or if the message came
        at a later moment.
        """
        can = system.without_mail
        due = system.next_timer()
        in_time = due is not None and due <= moment
        while self._pauses and self._pauses[0][0] <= place:
            _, what = self._pauses.popleft()
            if what in can and (what != TIME or in_time):
                return can.index(what)
        late = TIME in can and in_time and system.time < moment
        return can.index(TIME) if late else None


def _no_simulation() -> None:
    return None
