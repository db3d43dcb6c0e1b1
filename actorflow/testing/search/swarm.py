"""Swarm testing: each schedule is chosen in a different way.

No single way finds every defect. Uniform random choices seldom keep anything in its default order,
and choices biased towards the default seldom combine many deviations. Neither delays one actor
behind all others for long, but priorities do: each channel of messages gets a random priority, the
highest always goes next, and at a few random instants the channel whose turn it is drops below all
others. This is probabilistic concurrency testing: a defect that needs d events in a certain order
is found with a known probability if there are d - 1 such instants (Burckhardt, Kothari, Musuvathi
and Nagarakatte, ASPLOS 2010), applied to channels instead of threads.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Final

from actorflow.systems.simulated.system import TIME
from actorflow.testing.simulation.settings import SPANS

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Hashable

    from actorflow.testing.search.cases import Watch
    from actorflow.testing.simulation.simulate import Simulation
    from actorflow.testing.trace.trace import Trace

    Choose = Callable[[int, str], int]

__all__ = ["BIASES", "CHANGES", "Priorities", "Swarm", "biased"]

BIASES: Final = (0.0, 0.5, 0.8, 0.95)
"""Probabilities of the default choice before a random one is drawn."""
CHANGES: Final = (2, 3)
"""How often a channel drops below all others, with priorities."""
_ORDER: Final = "deliver"
_MOST_FAULTLESS: Final = 0.5
_CALLBACK: Final = "callback"
_SELDOM_LATE: Final = 0.8
"""Probability that a ready callback comes before time passes. Real bodies have such choices often,
and few bodies would end before their deadlines otherwise."""
_FIRST_GUESS: Final = 50
_INFINITE: Final = float("inf")


def _no_simulation() -> None:
    return None


def _rarely(priority: float, blanks: int) -> float:
    """Return a lower priority for an option that blanks dilute; a dropped one stays as it is."""
    return priority if priority < 0 else priority ** (1 + blanks)


def biased(random: random.Random, bias: float) -> Choose:
    """Return a random source that prefers the default choice."""
    draw = random.random
    if not bias:
        return lambda options, _label: int(draw() * options)
    return lambda options, _label: 0 if draw() < bias else int(draw() * options)


class Priorities:
    """Lets the channel with the highest priority deliver, until its priority drops.

    Args:
        random: Draws the priorities and the instants.
        changes: How many times a channel drops below all others.
        length: The expected number of choices of order.
        others: Makes all other choices.
    """

    def __init__(self, random: random.Random, changes: int, length: int, others: Choose) -> None:
        self._draw = random.random
        self._others = others
        self._instants = {int(random.random() * length) for _ in range(changes)}
        self._asked = 0
        self._priorities: dict[Hashable, float] = {}
        self._simulation: Callable[[], Simulation | None] = _no_simulation

    def watch(self, simulation: Simulation) -> None:
        """Learn the simulation whose options are chosen from."""
        # The simulation refers to this object, which must not keep it alive in turn.
        self._simulation = weakref.ref(simulation)

    def choose(self, options: int, label: str) -> int:
        """Return the index of an option."""
        simulation = self._simulation()
        if label != _ORDER or simulation is None:
            return self._others(options, label)
        chosen, highest = 0, -_INFINITE
        system = simulation.system
        # What needs no message is treated as a channel. If time may jump, that is the last one.
        channels: list[Hashable] = [*system.channels, *system.without_mail]
        blanks = options - len(channels)
        for index, channel in enumerate(channels):
            priority = self._priority(channel)
            if blanks > 0 and channel == TIME:
                # Weighted sampling: of options with the priorities u ** (1 / weight), each comes
                # first with a probability proportional to its weight (Efraimidis and Spirakis,
                # Information Processing Letters 97, 2006).
                priority = _rarely(priority, blanks)
            if priority > highest:
                chosen, highest = index, priority
        if self._asked in self._instants:
            self._priorities[channels[chosen]] = -1.0 - self._asked
        self._asked += 1
        return chosen

    def _priority(self, channel: Hashable) -> float:
        known = self._priorities.get(channel)
        if known is None:
            known = self._priorities[channel] = self._draw()
        return known


class Swarm:
    """Picks a way of choosing for each schedule.

    Args:
        random: The source of all random choices.
    """

    def __init__(self, random: random.Random) -> None:
        self._random = random
        self._length = _FIRST_GUESS

    def next(self) -> tuple[Choose, Watch | None]:
        """Return the source of choices for the next schedule, and its watcher, if any."""
        random = self._random
        # Choices other than order (durations, outcomes) have a separate bias. That of faults is
        # lower: only few faults may happen, so they seldom combine.
        bias = random.choice(BIASES)
        others, faults = biased(random, bias), biased(random, min(bias, _MOST_FAULTLESS))
        late = biased(random, max(bias, _SELDOM_LATE))
        way = random.randrange(len(BIASES) + len(CHANGES))
        if way < len(BIASES):
            order = biased(random, BIASES[way])
            return _divided(order, faults, others, late), None
        priorities = Priorities(
            random, CHANGES[way - len(BIASES)], self._length, _divided(others, faults, others, late)
        )
        return priorities.choose, priorities.watch

    def learn(self, trace: Trace) -> None:
        """Learn how long schedules are."""
        self._length = max(1, len(trace.choices))


def _divided(order: Choose, faults: Choose, others: Choose, late: Choose) -> Choose:
    def choose(options: int, label: str) -> int:
        if label == _ORDER:
            return order(options, label)
        if label == _CALLBACK:
            return late(options, label)
        return faults(options, label) if label in SPANS else others(options, label)

    return choose
