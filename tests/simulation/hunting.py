"""Searches that run in a process of their own, and what they come to."""

from __future__ import annotations

import pytest

from actorflow.testing import explore_scenarios
from tests.simulation.mutants import MUTANTS

__all__ = ["hunt", "soak"]


def soak(seed, schedules):
    """Hold the runtime to the laws; return how many schedules were tried, and what was found."""
    exploration = explore_scenarios(seed=seed, schedules=schedules)
    return exploration.schedules, str(exploration.broken or "")


def hunt(name, seed, most, shrink):
    """Search for a planted bug.

    Returns how many schedules it took, and how many steps and deviations the failure has; None
    for these when the bug was not found.
    """
    mutant = next(one for one in MUTANTS if str(one) == name)
    with pytest.MonkeyPatch.context() as patch:
        mutant.plant(patch)
        exploration = explore_scenarios(seed=seed, schedules=most, shrink=shrink)
    if exploration.broken is None:
        return exploration.schedules, None
    case, tape = exploration.case, exploration.failure.tape
    return exploration.schedules, (len(case.steps), case.deviations + tape.deviations)
