"""Bugs are planted into the runtime, and the laws find each of them."""

from __future__ import annotations

import re

import pytest

from actorflow.testing import explore_scenarios
from tests.support.mutants import MUTANTS

SEEDS = range(20)
MOST_SCHEDULES = 2_000

# The search for a smaller failure is greedy, and ends for some seeds where one choice at a time
# leads no further: the smallest of a few failures is the one that tells what a bug takes. The
# bug is found from these seeds only once, and made small there.
SHRUNK_SEEDS = SEEDS[:3]
MOST_SHRUNK = 5
SMALL = 3, 5
MOST_STEPS = 4

# What Python says of a twin that does not fit the runtime any more.
SLIP = re.compile("AttributeError|NameError|TypeError")

every_mutant = pytest.mark.parametrize("mutant", MUTANTS, ids=str)


@every_mutant
def test_a_planted_bug_is_found(mutant, monkeypatch):
    """From one of a few seeds; this is the quick form of the next test."""
    mutant.plant(monkeypatch)

    explorations = (
        explore_scenarios(seed=seed, schedules=MOST_SCHEDULES, shrink=False)
        for seed in SHRUNK_SEEDS
    )

    check_found([next(one for one in explorations if one.broken is not None)])


@pytest.mark.slow
@every_mutant
def test_a_planted_bug_is_found_from_every_seed(mutant, monkeypatch, record_property, seeds):
    """Within a bounded number of schedules."""
    mutant.plant(monkeypatch)

    explorations = [
        explore_scenarios(seed=seed, schedules=MOST_SCHEDULES, shrink=False)
        for seed in SEEDS[:seeds]
    ]

    record_property("schedules", sum(one.schedules for one in explorations))
    check_found(explorations)


@pytest.mark.slow
@every_mutant
def test_the_failure_of_a_planted_bug_becomes_small(mutant, monkeypatch, record_property):
    """In steps, and in what is not plain about the scenario and the tape."""
    mutant.plant(monkeypatch)
    most_steps, most_deviations = SMALL

    explorations, sizes = [], []
    for seed in SEEDS[:MOST_SHRUNK]:
        explorations.append(explore_scenarios(seed=seed, schedules=MOST_SCHEDULES))
        steps, more = size_of(explorations[-1])
        sizes.append((steps, more))
        if steps <= most_steps and more <= most_deviations:
            break

    record_property("schedules", sum(one.schedules for one in explorations))
    check_found(explorations)
    assert steps <= most_steps
    assert more <= most_deviations
    assert all(steps <= MOST_STEPS for steps, _ in sizes)


def check_found(explorations):
    """Assert that every search found the bug, and that the bug is no slip of the twin."""
    assert [] == [one.seed for one in explorations if one.broken is None]
    seen = {one.broken.observed for one in explorations}
    assert set() == {observed for observed in seen if SLIP.search(observed)}


def size_of(exploration):
    """How many steps the workflow of a failure has, and how many deviations it takes."""
    case, tape = exploration.case, exploration.failure.tape
    return len(case.steps), case.deviations + tape.deviations


def test_there_are_enough_mutants():
    """Each has a name of its own."""
    names = {str(mutant) for mutant in MUTANTS}

    assert 20 <= len(names) == len(MUTANTS)
