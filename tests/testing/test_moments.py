"""Moments, durations and bounds of simulations, and when nothing more can be asked of one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from actorflow.definition.step import Step
from actorflow.errors.definition import DefinitionError
from actorflow.testing import (
    NotNow,
    Script,
    Simulation,
    explore,
    hangs,
    laws,
    real,
    returns,
    simulate,
)
from tests.support.brain import flow, task

ONE = flow(task("a"))
YEAR = timedelta(days=365)
UNENDING = Script(default=hangs(stubborn=True))


@pytest.mark.parametrize("moment", ["1", -1, float("nan"), float("inf"), 10**400])
@pytest.mark.parametrize(
    "ask",
    [
        lambda moment: simulate(ONE, stop_grace=moment),
        lambda moment: simulate(ONE, cancel_at=moment),
        lambda moment: Simulation().advance(moment),
        lambda moment: explore(ONE, seconds=moment),
    ],
    ids=["stop_grace", "cancel_at", "advance", "seconds"],
)
def test_what_is_no_time_is_refused(ask, moment):
    """At once: later, actorflow would be accused of what comes of it."""
    with pytest.raises(DefinitionError):
        ask(moment)


@pytest.mark.parametrize(
    "bounds", [{"max_time": "1"}, {"max_time": float("nan")}, {"max_happenings": 1.5}]
)
def test_what_is_no_bound_is_refused(bounds):
    """Before anything happens."""
    with pytest.raises(DefinitionError, match="max_"):
        Simulation(**bounds)


def test_a_grace_that_is_no_duration_is_refused():
    """Instead of a message that cannot be handled."""
    simulation = Simulation()
    run_id = simulation.start(ONE)

    with pytest.raises(DefinitionError, match=r"grace must be .*got 'long'"):
        simulation.cancel(run_id, grace="long")


def test_moments_may_be_told_as_timedeltas():
    """As durations are everywhere else."""
    simulation = Simulation(script=UNENDING, stop_grace=timedelta(seconds=2))
    run_id = simulation.start(ONE)
    simulation.cancel_at(timedelta(minutes=1), run_id)
    simulation.advance(timedelta(minutes=2))

    assert 62.0 == simulation.results[run_id].finished_at


@pytest.mark.parametrize("timeout", [YEAR, 9_223_372_036])
def test_a_run_may_have_all_the_time_in_the_world(timeout):
    """Its timeout is a timer that outlives it, and no sign that it goes on."""
    laws.check(simulate(ONE, timeout=timeout))


def test_a_step_may_take_years():
    """They pass at once."""
    trace = simulate(ONE, script=Script(default=returns(after=YEAR)))

    laws.check(trace)
    assert YEAR.total_seconds() == trace.duration


def test_a_step_cannot_let_things_happen_in_its_own_simulation():
    """It is in the middle of what happens."""
    simulation = Simulation(script=Script(default=real()))
    simulation.start(flow(Step("a", simulation.deliver)))

    trace = simulation.conclude()
    assert isinstance(trace.result.error, NotNow)
    laws.check(trace)


@pytest.mark.parametrize(
    "ask",
    [
        lambda simulation: simulation.start(ONE),
        lambda simulation: simulation.deliver(),
        lambda simulation: simulation.trace(),
        lambda simulation: simulation.conclude(),
        lambda simulation: simulation.runs,
    ],
    ids=["start", "deliver", "trace", "conclude", "runs"],
)
def test_nothing_can_be_asked_of_a_simulation_that_was_concluded(ask):
    """It says so; closing it is no question."""
    simulation = Simulation()
    simulation.start(ONE)
    simulation.conclude()
    simulation.close()

    with pytest.raises(NotNow, match="has been concluded"):
        ask(simulation)
