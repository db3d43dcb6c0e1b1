"""A swarm of ways to choose: each schedule is chosen in another way than the one before.

No single way finds every defect. Uniform chance seldom leaves anything in its plain order, and
chance that is biased towards the plainest seldom piles deviations up. Neither lets one actor
lag behind all others for long, which priorities do: each channel of messages gets one by
chance, the highest always comes next, and at a few chosen instants the channel whose turn it is
drops below all others. That is probabilistic concurrency testing: a defect that takes d things
in a certain order is found with a probability that can be stated, if there are d - 1 such
instants (Burckhardt, Kothari, Musuvathi and Nagarakatte, ASPLOS 2010), carried over from threads
to channels.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Final

from actorflow.testing.simulation.targets import SPANS

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Hashable

    from actorflow.testing.search.cases import Watch
    from actorflow.testing.simulation.simulate import Simulation
    from actorflow.testing.trace.trace import Trace

    Choose = Callable[[int, str], int]

__all__ = ["BIASES", "CHANGES", "Priorities", "Swarm", "biased"]

BIASES: Final = (0.0, 0.5, 0.8, 0.95)
"""How likely the plainest choice is before chance chooses."""
CHANGES: Final = (2, 3)
"""How often a channel drops below all others, where priorities rule."""
_ORDER: Final = "deliver"
_MOST_FAULTLESS: Final = 0.5
_FIRST_GUESS: Final = 50
_INFINITE: Final = float("inf")
_WITHOUT_MAIL: Final = ("first", "second")
"""Stand for what may happen although messages wait, as if each were a channel."""


def _nobody() -> None:
    return None


def biased(random: random.Random, bias: float) -> Choose:
    """Return what chooses by chance, and the plainest more often than the others."""
    draw = random.random
    if not bias:
        return lambda options, _label: int(draw() * options)
    return lambda options, _label: 0 if draw() < bias else int(draw() * options)


class Priorities:
    """Lets the channel of the highest priority deliver, until that one has to step back.

    Args:
        random: Draws the priorities and the instants.
        changes: How many times a channel drops below all others.
        length: How many choices of order there will be, or so.
        others: Makes all other choices.
    """

    def __init__(self, random: random.Random, changes: int, length: int, others: Choose) -> None:
        self._draw = random.random
        self._others = others
        self._instants = {int(random.random() * length) for _ in range(changes)}
        self._asked = 0
        self._priorities: dict[Hashable, float] = {}
        self._simulation: Callable[[], Simulation | None] = _nobody

    def watch(self, simulation: Simulation) -> None:
        """Get to know what the choices are among."""
        # A simulation asks this one, which must not keep it alive in turn.
        self._simulation = weakref.ref(simulation)

    def choose(self, options: int, label: str) -> int:
        """Return one of so many options."""
        simulation = self._simulation()
        if label != _ORDER or simulation is None:
            return self._others(options, label)
        chosen, highest = 0, -_INFINITE
        channels = (*simulation.system.channels, *_WITHOUT_MAIL)[:options]
        for index, channel in enumerate(channels):
            priority = self._priority(channel)
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
    """Chooses a way of choosing for every schedule.

    Args:
        random: Where all of it comes from.
    """

    def __init__(self, random: random.Random) -> None:
        self._random = random
        self._length = _FIRST_GUESS

    def next(self) -> tuple[Choose, Watch | None]:
        """Return what chooses in the next schedule, and what has to be told of it."""
        random = self._random
        # What is not a matter of order (durations, outcomes) has a bias of its own. Faults have a
        # lesser one: few of them could happen, so that they seldom pile up.
        bias = random.choice(BIASES)
        others, faults = biased(random, bias), biased(random, min(bias, _MOST_FAULTLESS))
        way = random.randrange(len(BIASES) + len(CHANGES))
        if way < len(BIASES):
            order = biased(random, BIASES[way])
            return _divided(order, faults, others), None
        priorities = Priorities(
            random, CHANGES[way - len(BIASES)], self._length, _divided(others, faults, others)
        )
        return priorities.choose, priorities.watch

    def learn(self, trace: Trace) -> None:
        """Take note of how long schedules are."""
        self._length = max(1, len(trace.choices))


def _divided(order: Choose, faults: Choose, others: Choose) -> Choose:
    def choose(options: int, label: str) -> int:
        if label == _ORDER:
            return order(options, label)
        return faults(options, label) if label in SPANS else others(options, label)

    return choose
