"""The ways to choose that a search takes turns with."""

from __future__ import annotations

import gc
import random
from collections import Counter

import pytest

from actorflow.testing import Simulation, laws
from actorflow.testing.search.cases import given
from actorflow.testing.search.swarm import BIASES, CHANGES, Priorities, Swarm, biased
from tests.support.brain import flow, task

WIDE = flow(*(task(name) for name in "abcdef"))


@pytest.mark.parametrize("bias", BIASES)
def test_a_bias_is_how_often_the_plainest_is_chosen(bias):
    """And beyond it each option is as likely as the others."""
    choose = biased(random.Random(1), bias)

    chosen = Counter(choose(4, "deliver") for _ in range(4000))

    assert {0, 1, 2, 3} == set(chosen)
    assert bias + (1 - bias) / 4 == pytest.approx(chosen[0] / 4000, abs=0.03)
    assert (1 - bias) / 4 == pytest.approx(chosen[3] / 4000, abs=0.03)


def simulated(source, watch=None):
    """Return the trace of the wide workflow, as chosen."""
    simulation = Simulation(tape=source, async_workers=6)
    if watch is not None:
        watch(simulation)
    simulation.start(WIDE)
    simulation.run_until_quiet()
    return simulation.trace()


def by_priorities(seed, changes, length=60):
    """Return the trace of the wide workflow where priorities rule."""
    chance = random.Random(seed)
    priorities = Priorities(chance, changes, length, lambda _options, _label: 0)
    return simulated(priorities.choose, priorities.watch)


def receivers(trace):
    """Return who got the messages of the steps' own channels, in order."""
    return [one.receiver for one in trace.deliveries if one.message.startswith("Execute")]


def test_the_highest_channel_comes_first_for_as_long_as_it_has_messages():
    """Without instants the order of channels never changes: everybody is served in it."""
    orders = {tuple(receivers(by_priorities(seed, changes=0))) for seed in range(40)}

    assert 20 < len(orders)


def test_a_channel_can_lag_behind_all_others():
    """As biases hardly ever have it: an actor's grant after all of the others'."""
    lags = {receivers(by_priorities(seed, changes=0))[-1] for seed in range(60)}

    assert set("abcdef") == lags


class Offer:
    """A simulation that always offers the same."""

    def __init__(self, *channels):
        self.channels = channels
        self.system = self
        self.without_mail = []


@pytest.mark.parametrize("seed", range(10))
def test_a_channel_drops_below_all_others_at_a_chosen_instant(seed):
    """And stays there. With a length of 1 the first choice is the only instant there can be."""
    offer = Offer("one", "other", "third")
    steady, falling = (
        Priorities(random.Random(seed), changes, 1, lambda _options, _label: 0)
        for changes in (0, 1)
    )
    for priorities in (steady, falling):
        priorities.watch(offer)

    kept = [steady.choose(3, "deliver") for _ in range(5)]
    first, *after = [falling.choose(3, "deliver") for _ in range(5)]

    assert 1 == len(set(kept))
    assert 1 == len(set(after))
    assert first not in after


def test_what_is_no_matter_of_order_is_chosen_by_others():
    """Durations, outcomes and faults know no channels."""
    asked = []
    priorities = Priorities(
        random.Random(1), 2, 50, lambda _options, label: asked.append(label) or 0
    )
    simulated(priorities.choose, priorities.watch)

    assert "take a#1" in asked
    assert "deliver" not in asked


def test_priorities_keep_the_laws():
    """They are an order like any other: one that actorflow has to bear."""
    for seed in range(50):
        laws.check(by_priorities(seed, changes=seed % 4))


def test_a_swarm_chooses_in_every_way():
    """Biased orders and priorities, and each with biased durations."""
    swarm = Swarm(random.Random(1))
    watched, plain = Counter(), Counter()
    for _ in range(600):
        choose, watch = swarm.next()
        trace = simulated(choose, watch)
        swarm.learn(trace)
        watched[watch is not None] += 1
        order = [value for label, value, _ in trace.choices if label == "deliver"]
        plain[round(order.count(0) / len(order), 1)] += 1

    assert len(CHANGES) / (len(BIASES) + len(CHANGES)) == pytest.approx(
        watched[True] / 600, abs=0.06
    )
    assert {0.3, 0.6, 0.8, 1.0} <= set(plain)


def test_equal_chances_make_equal_swarms():
    """Schedule by schedule."""

    def hashes(seed):
        swarm = Swarm(random.Random(seed))
        return [simulated(*swarm.next()).hash for _ in range(30)]

    assert hashes(1) == hashes(1)
    assert hashes(1) != hashes(2)


def test_a_schedule_of_a_swarm_is_replayed_by_its_tape():
    """Whatever chose it."""
    swarm = Swarm(random.Random(3))
    for _ in range(60):
        trace = simulated(*swarm.next())

        assert trace.hash == simulated(trace.tape).hash


def test_priorities_do_not_keep_a_schedule_alive():
    """The garbage collector would have to find it."""
    chance = random.Random(1)
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            priorities = Priorities(chance, 2, 60, lambda _options, _label: 0)
            given(WIDE).simulate(priorities.choose, priorities.watch)
            del priorities
        left = [one for one in gc.get_objects() if isinstance(one, Priorities)]
    finally:
        gc.enable()

    assert [] == left
