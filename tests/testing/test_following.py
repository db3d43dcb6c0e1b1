"""Schedules that follow others of a somewhat different case, message by message."""

from __future__ import annotations

import random

import attrs
import pytest

from actorflow.testing import Faults, Scenario, ScenarioStep, Settings, Tape, draw_scenario
from actorflow.testing.search.following import Follower, Order
from actorflow.testing.search.swarm import Swarm

EIGHT = Scenario(
    steps=tuple(ScenarioStep(id=name, async_=True) for name in "abcdefgh"),
    settings=Settings(async_workers=8),
)


def without(scenario, *dropped):
    """Return a scenario that lacks some steps."""
    steps = tuple(
        attrs.evolve(one, after=tuple(name for name in one.after if name not in dropped))
        for one in scenario.steps
        if one.id not in dropped
    )
    return attrs.evolve(scenario, steps=steps)


def followed(scenario, trace, case, tape=None):
    """Return the trace of a case that follows a scenario's trace."""
    follower = Follower(Order(scenario, trace), trace.tape if tape is None else tape)
    return case.simulate(follower.choose, follower.watch)


def begun(trace):
    """Return the steps in the order in which their grants arrive."""
    return [one.receiver for one in trace.deliveries if one.message.startswith("Execute")]


@pytest.mark.slow
def test_a_schedule_can_be_followed_in_its_own_case():
    """To the identical trace: nearly always if no fault has struck a message, mostly if some have.

    Whether the first or the second of two like messages was struck is more than an order tells.
    """
    chance = random.Random(4)
    swarm, same = Swarm(chance), {True: [], False: []}
    for _ in range(300):
        one = draw_scenario(chance)
        trace = one.simulate(*swarm.next())
        same[bool(trace.struck)].append(trace.hash == followed(one, trace, one).hash)

    assert 0.95 <= sum(same[False]) / len(same[False])
    assert 0.8 <= sum(same[True]) / len(same[True])


@pytest.mark.parametrize("seed", range(20))
def test_the_steps_that_are_left_keep_their_order(seed):
    """Where the same tape would lead elsewhere, because the line is another one."""
    trace = EIGHT.simulate(random.Random(seed))

    left = followed(EIGHT, trace, without(EIGHT, "a", "d", "g"))

    assert [name for name in begun(trace) if name in "bcefh"] == begun(left)


def test_time_goes_on_where_it_did():
    """Although messages wait: step a ends before the supervisor hears of b."""
    two = without(EIGHT, *"cdefgh")
    late = Tape({"deliver": [0, 0, 1, 0, 2, 2, 2, 2]})
    trace = two.simulate(late)
    wide = attrs.evolve(EIGHT, steps=EIGHT.steps[:4])

    slow = followed(two, trace, wide)

    assert 0 < trace.events_of("run-1")[-1].time
    assert [one.started_at for one in trace.attempts] == [
        one.started_at for one in slow.attempts if one.step_id in "ab"
    ]


def test_what_is_no_matter_of_order_is_the_tapes():
    """Durations, outcomes and faults."""
    trace = EIGHT.simulate(random.Random(1))

    other = followed(EIGHT, trace, EIGHT, Tape({"take a#1": [3]}))

    assert begun(trace) == begun(other)
    assert (3,) == other.tape.streams["take a#1"]


@pytest.mark.parametrize("fault", ["crashes", "poisons"])
def test_what_a_fault_has_struck_comes_where_it_was_struck(fault):
    """So that the same fault can strike it again."""
    faulty = attrs.evolve(EIGHT, settings=Settings(async_workers=8, faults=Faults(**{fault: 1})))
    struck = [
        trace for trace in map(faulty.simulate, map(random.Random, range(40))) if trace.faults
    ]

    for trace in struck:
        assert trace.faults == followed(faulty, trace, faulty).faults
    assert 20 < len(struck)
