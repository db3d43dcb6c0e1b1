"""Several orchestrators over one store keep the laws, whatever happens, in whatever order.

Workflows, runs, keys, schedules, faults and the schedule of messages and timers are drawn: crashes,
deploys, pauses beyond the lease, partitions, wrong clocks, and signals that are lost or late.
"""

from __future__ import annotations

import random

import pytest

from actorflow import testing
from actorflow.testing import draw_cluster, explore_scenarios, laws

QUICK_SEEDS = range(4)
QUICK = 400
SEEDS = range(10, 20)
SCHEDULES_OF_A_SEED = 500


@pytest.mark.parametrize("seed", QUICK_SEEDS)
def test_drawn_clusters_keep_the_laws(seed):
    """Two or three orchestrators; this is the quick form of the next test."""
    explore_scenarios(orchestrators=3, seed=seed, schedules=QUICK).check()


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_five_thousand_schedules_of_clusters_keep_the_laws(seed, record_property):
    """These are the schedules of one seed; of all seeds they are as many as the name says."""
    assert 5_000 <= len(SEEDS) * SCHEDULES_OF_A_SEED

    exploration = explore_scenarios(orchestrators=3, seed=seed, schedules=SCHEDULES_OF_A_SEED)

    record_property("schedules", exploration.schedules)
    exploration.check()


@pytest.mark.parametrize("seed", range(40))
def test_the_same_tape_gives_the_same_trace(seed):
    """Process by process, with all faults."""
    scenario = draw_cluster(random.Random(seed))
    tape = scenario.simulate(random.Random(seed)).tape

    laws.same(scenario.simulate, tape)


def test_a_drawn_cluster_is_a_literal():
    """It can be pasted into a test."""
    names = {name: getattr(testing, name) for name in testing.__all__}
    for seed in range(40):
        scenario = draw_cluster(random.Random(seed))

        assert scenario == eval(repr(scenario), names)  # noqa: S307 - of our own making
