"""Who guards the guards: bugs are planted into the runtime, and the laws find each of them."""

from __future__ import annotations

import functools

import pytest

from tests.simulation.hunting import hunt
from tests.simulation.mutants import MUTANTS

SEEDS = range(20)
MOST_SCHEDULES = 2_000

# From some seeds the search for a smaller failure ends early, so the smallest of a few counts;
# the others may be somewhat larger, and no more.
SHRUNK_SEEDS = range(3)
SMALL = 3, 5
SOMEWHAT_LARGER = 4, 8

# Bugs whose failures need more steps or more deviations than that, and why.
LARGER = {
    # Another step has to fail while the stranger is pending, and one that waits for nobody is
    # ready at once: its messages have to be held up, at each choice again until then.
    "a failure cancels strangers": (2, 7),
}

every_mutant = pytest.mark.parametrize("name", [str(mutant) for mutant in MUTANTS])


@every_mutant
def test_a_planted_bug_is_found_from_every_seed(name, cores, record_property):
    """Within a bounded number of schedules."""
    search = functools.partial(hunt, name, most=MOST_SCHEDULES, shrink=False)

    found = list(cores.map(search, SEEDS))

    record_property("schedules", sum(schedules for schedules, _ in found))
    assert [] == [seed for seed, (_, failure) in zip(SEEDS, found, strict=True) if not failure]


@every_mutant
def test_the_failure_of_a_planted_bug_becomes_small(name, cores):
    """In steps, and in what is not plain about the scenario and the tape."""
    search = functools.partial(hunt, name, most=MOST_SCHEDULES, shrink=True)
    most_steps, most_deviations = LARGER.get(name, SMALL)

    sizes = [size for _, size in cores.map(search, SHRUNK_SEEDS)]

    assert any(steps <= most_steps and more <= most_deviations for steps, more in sizes)
    assert all(steps <= SOMEWHAT_LARGER[0] and more <= SOMEWHAT_LARGER[1] for steps, more in sizes)


def test_there_are_enough_mutants():
    """Each with a name of its own, and none is excused that is not there."""
    names = {str(mutant) for mutant in MUTANTS}

    assert 20 <= len(names) == len(MUTANTS)
    assert LARGER.keys() <= names
