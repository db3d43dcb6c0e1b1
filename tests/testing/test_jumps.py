"""Time that jumps while messages wait: the further, the rarer, whatever chooses."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import given as drawn

from actorflow.definition.retry import RetryPolicy
from actorflow.errors.running import DeadlineExceeded
from actorflow.systems.simulated.system import SimulatedSystem
from actorflow.systems.simulated.timers import rarity
from actorflow.testing import Choices, Tape, explore, simulate
from actorflow.testing.search.cases import given
from actorflow.testing.search.shrinking import _Clamped
from actorflow.testing.search.swarm import Priorities, Swarm, biased
from actorflow.testing.strategies import tapes
from tests.support.brain import flow, task

SOURCES = ("a", "b", "c")
ETL = flow(
    *(task(f"extract_{it}", retry=RetryPolicy(max_attempts=3), timeout=10.0) for it in SOURCES),
    *(task(f"transform_{it}", f"extract_{it}", timeout=10.0) for it in SOURCES),
    task("join", *(f"transform_{it}" for it in SOURCES)),
    task("load", "join", timeout=20.0),
)
SCHEDULES = 200
MOST = 60


def late(trace):
    """Whether the run's deadline has passed."""
    return isinstance(trace.result.error, DeadlineExceeded)


def by_swarm(chance):
    """As a search chooses."""
    return Swarm(chance).next()


def by_priorities(chance):
    """By priorities alone."""
    others = biased(chance, 0.0)
    priorities = Priorities(chance, 2, 60, others)
    return priorities.choose, priorities.watch


def evenly(chance):
    """Every option as likely as the others."""
    return chance, None


@pytest.mark.parametrize("choose", [by_swarm, by_priorities, evenly])
def test_few_schedules_end_by_a_deadline_that_is_far_away(choose):
    """It was seven of ten, for any timeout."""
    chance, case = random.Random(1), given(ETL, timeout=120.0)

    wasted = sum(late(case.simulate(*choose(chance))) for _ in range(SCHEDULES))

    assert 0 < wasted < MOST


def test_few_drawn_tapes_end_by_a_deadline_that_is_far_away():
    """A byte is a choice like any other; about one tape of a hundred ends so."""
    seen = Counter()

    @settings(
        max_examples=3 * SCHEDULES,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @drawn(tapes())
    def look(tape):
        seen[late(simulate(ETL, tape=tape, timeout=120.0))] += 1

    look()

    assert 0 < seen[True] < MOST


def test_the_furthest_deadline_stays_within_reach():
    """In a search of the usual length."""
    found = explore(ETL, schedules=2000, timeout=86_400.0, laws=[])

    assert 0 < found.endings["failed"]
    assert 86_400.0 <= found.durations.p99


def test_a_jump_is_the_rarer_the_longer_it_is():
    """A near one is as likely as anything else."""
    lengths = [0.0, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0]

    assert [0, 0, 0] == [rarity(length) for length in lengths[:3]]
    assert sorted({rarity(length) for length in lengths[2:]}) == list(map(rarity, lengths[2:]))
    assert rarity(1e9) == rarity(1e12) == rarity(float("inf"))


@pytest.mark.parametrize(("seconds", "asked"), [(5.0, "choose"), (50.0, "rarely")])
def test_the_system_says_how_rare_a_jump_is(seconds, asked):
    """Only where it is an option, and far."""
    seen = []

    def choose(options, label):
        seen.append(("choose", options, label))
        return 0

    def choose_rarely(options, label, blanks):
        seen.append(("rarely", options, label, blanks))
        return 0

    system = SimulatedSystem(choose, race=True, choose_rarely=choose_rarely)
    system.call_at(seconds, print)
    system.post(system.system_cell, "mail", system.system_cell)
    system.run(1)

    blanks = [rarity(seconds)] if asked == "rarely" else []
    assert [(asked, 2, "deliver", *blanks)] == seen


@pytest.mark.parametrize(
    ("read", "chosen"), [(0, 0), (2, 2), (3, 0), (4, 1), (5, 0), (12, 1), (13, 0), (15, 2)]
)
def test_a_blank_stands_for_one_of_the_other_options(read, chosen):
    """What is kept is the option, so that the tape means the same wherever it is read."""
    choices = Choices(lambda _options, _label: read)

    assert chosen == choices.choose_rarely(3, "deliver", 10)
    assert [("deliver", chosen, 3)] == choices.used
    assert Tape({"deliver": (chosen,)}) == choices.tape


def test_a_source_that_fails_on_a_rare_option_is_asked_no_further():
    """As on any other."""

    def fail(_options, _label):
        raise LookupError

    choices = Choices(fail)
    with pytest.raises(LookupError):
        choices.choose_rarely(3, "deliver", 10)

    assert isinstance(choices.error, LookupError)
    assert 0 == choices.choose_rarely(3, "deliver", 10) == choices.choose(3, "deliver")


def test_a_clamped_tape_lets_time_jump_where_it_is_far():
    """The last option is meant, not a blank behind it."""
    clamped = _Clamped(Tape({"deliver": (9,)}))

    trace = given(flow(task("a")), timeout=60.0).simulate(clamped.choose, clamped.watch)

    assert late(trace)
