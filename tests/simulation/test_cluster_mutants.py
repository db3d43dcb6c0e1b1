"""Bugs are planted between orchestrators, and the laws find each of them."""

from __future__ import annotations

import re

import pytest

from actorflow.testing import draw_cluster, explore_scenarios
from tests.support.cluster_mail_mutants import SHARED

MOST_SCHEDULES = 1_500

# What Python says of a twin that does not fit the runtime any more.
SLIP = re.compile("AttributeError|NameError|TypeError")

every_mutant = pytest.mark.parametrize("planted", SHARED, ids=str)


def search(planted, seed):
    """Search among the scenarios in which a mutant can show."""

    def draw(random):
        scenario = draw_cluster(random)
        while not planted.shows(scenario):
            scenario = draw_cluster(random)
        return scenario

    return explore_scenarios(draw, seed=seed, schedules=MOST_SCHEDULES, shrink=False)


def check_found(planted, exploration):
    """Assert that a law for it found the bug, and that the bug is no slip of the twin."""
    broken = exploration.broken
    assert broken is not None
    assert not SLIP.search(broken.observed)
    assert broken.number in planted.laws, broken


@every_mutant
def test_a_bug_between_orchestrators_is_found(planted, monkeypatch):
    """From one seed; this is the quick form of the next test."""
    planted.mutant.plant(monkeypatch)

    check_found(planted, search(planted, 0))


@pytest.mark.slow
@every_mutant
def test_a_bug_between_orchestrators_is_found_from_every_seed(
    planted, monkeypatch, record_property, seeds
):
    """Within a bounded number of schedules; from fewer seeds, because the searches take longer."""
    planted.mutant.plant(monkeypatch)

    explorations = [search(planted, seed) for seed in range(1, 1 + max(1, seeds // 4))]

    record_property("schedules", sum(one.schedules for one in explorations))
    for one in explorations:
        check_found(planted, one)


def test_there_are_enough_bugs_between_orchestrators():
    """Each has a name of its own."""
    names = {str(planted) for planted in SHARED}

    assert 45 <= len(names) == len(SHARED)
