"""Simulated runs that are paused: by a test, by the schedule, and over crashes."""

from __future__ import annotations

import random

import attrs
import pytest

from actorflow.definition.retry import RetryPolicy
from actorflow.errors.definition import DefinitionError
from actorflow.errors.running import RunEnded
from actorflow.errors.storage import RunNotFound
from actorflow.model.lifecycle import RunStatus
from actorflow.state import MemoryStateManager
from actorflow.state.sql import SQLStateManager
from actorflow.testing import (
    Faults,
    Script,
    Simulation,
    draw_scenario,
    explore,
    laws,
    raises,
    returns,
)
from tests.support.brain import flow, nothing, task

TWICE = RetryPolicy(max_attempts=2, initial_interval=4.0, jitter=0.0)
CHAIN = flow(task("a"), task("b", "a"))


def told(simulation):
    """What has happened to runs and steps, without the outputs."""
    return [
        event.kind.value + ("" if event.step_id is None else f" {event.step_id}")
        for event in simulation.trace().events
    ]


def test_a_run_can_be_paused_at_a_virtual_moment():
    """What is in flight ends, and what follows waits for the end of the pause."""
    with Simulation() as simulation:
        run_id = simulation.start(CHAIN)
        simulation.advance(0.5)
        simulation.pause(run_id)
        simulation.advance(100.0)
        assert ["run.paused", "step.completed a", "step.ready b"] == told(simulation)[4:]
        simulation.unpause(run_id)
        simulation.run_until_quiet()

        assert RunStatus.COMPLETED is simulation.results[run_id].status
        laws.check(simulation.trace())


def test_a_frozen_backoff_is_moved_by_the_pause():
    """It begins at 1 s, takes 4 s, and stands still for 10 s."""
    script = Script({"a": [raises(ValueError(), after=1.0), returns(after=1.0)]})
    with Simulation(script=script) as simulation:
        run_id = simulation.start(flow(task("a", retry=TWICE)))
        simulation.call_at(3.0, lambda: simulation.pause(run_id, freeze=True))
        simulation.call_at(13.0, simulation.unpause, run_id)
        simulation.run_until_quiet()

        assert [0.0, 15.0] == [e.time for e in simulation.trace().events if e.kind == "step.ready"]
        laws.check(simulation.trace())


@pytest.mark.parametrize("handed_over", [False, True])
def test_a_pause_outlasts_the_orchestrator(handed_over):
    """The next one has the run wait for the end of its pause."""
    with Simulation() as simulation:
        run_id = simulation.start(CHAIN)
        simulation.advance(0.5)
        simulation.pause(run_id)
        simulation.advance(1.0)
        if handed_over:
            simulation.hand_over()
        else:
            simulation.crash()
            simulation.resume(run_id, taken_over=True)
        simulation.advance(50.0)
        assert "step.started b" not in told(simulation)
        simulation.unpause(run_id)
        simulation.run_until_quiet()

        assert 1 == told(simulation).count("run.paused") == told(simulation).count("run.unpaused")
        assert RunStatus.COMPLETED is simulation.results[run_id].status
        laws.check(simulation.trace())


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("recorded", [False, True])
def test_a_pause_in_a_database_outlasts_a_crash_at_any_write(number, recorded, tmp_path):
    """Whether its events were recorded or not."""
    url = f"sqlite:///{tmp_path}/runs.db"
    with Simulation(state=lambda: SQLStateManager(url, create=True)) as simulation:
        run_id = simulation.start(CHAIN)
        simulation.call_at(0.5, lambda: simulation.pause(run_id, freeze=True))
        simulation.call_at(5.0, lambda: simulation.unpause(run_id))
        simulation.crash_at_write(number, recorded=recorded)
        was = simulation.now
        simulation.resume(run_id, taken_over=True)
        simulation.advance(50.0)
        if run_id not in simulation.results:
            assert 0.5 <= was < 5.0, "the end of the pause was lost in the crash"
            assert "step.started b" not in told(simulation)
            simulation.unpause(run_id)
        simulation.run_until_quiet()

        assert RunStatus.COMPLETED is simulation.results[run_id].status
        assert told(simulation).count("run.paused") == told(simulation).count("run.unpaused")
        laws.check(simulation.trace())


def test_a_pause_that_ends_between_two_orchestrators_is_over():
    """The next one says so."""
    with Simulation() as simulation:
        run_id = simulation.start(CHAIN)
        simulation.pause(run_id)
        simulation.advance(1.0)
        simulation.crash()
        simulation.unpause(run_id)
        simulation.resume(run_id, taken_over=True)
        simulation.run_until_quiet()

        assert 1 == told(simulation).count("run.unpaused")
        laws.check(simulation.trace())


def test_only_a_run_in_progress_is_paused():
    """By a state manager that keeps pauses."""
    with Simulation() as simulation:
        run_id = simulation.start(CHAIN)
        simulation.run_until_quiet()

        with pytest.raises(RunEnded, match="cannot be paused"):
            simulation.pause(run_id)
        with pytest.raises(RunEnded, match="cannot be unpaused"):
            simulation.unpause(run_id)
        for change in (simulation.pause, simulation.unpause):
            with pytest.raises(RunNotFound):
                change("another")


class Forgetful(MemoryStateManager):
    """A state manager that keeps no pauses."""

    pause_run = unpause_run = listen_for_pauses = None


def test_a_state_manager_may_keep_no_pauses():
    """The error says what it lacks."""
    with Simulation(state=Forgetful) as simulation:
        run_id = simulation.start(CHAIN)

        with pytest.raises(DefinitionError, match="PausesRuns"):
            simulation.pause(run_id)


def test_a_schedule_may_pause_a_run():
    """For a while, at any moment."""
    undone = flow(task("a", compensate=nothing), task("b", "a"), task("c", "b"))
    script = Script({"c": raises(ValueError())})
    found = explore(
        undone, script=script, schedules=200, faults=Faults(pauses=2, restarts=1), seed=1
    )

    assert None is found.broken
    assert "run running -> running by run.paused" in map(str, found.edges.seen)


# What the search meets only in thousands of schedules: the seeds of some that took a defect to be.
SEEDS = (394, 494, 1199, 6614, *range(30))


@pytest.mark.parametrize("seed", SEEDS)
def test_drawn_scenarios_with_many_pauses_keep_the_laws(seed):
    """Among all other faults."""
    scenario, chance = draw_scenario(random.Random(seed)), random.Random(seed)
    faults = attrs.evolve(scenario.settings.faults, pauses=1 + seed % 4)
    scenario = attrs.evolve(scenario, settings=attrs.evolve(scenario.settings, faults=faults))
    bias = chance.choice([0.0, 0.5, 0.8, 0.95])

    def choose(options, label):
        if label == "pause":  # early, so that there is something to pause
            return min(options - 1, int(chance.random() * 14))
        return 0 if chance.random() < bias else int(chance.random() * options)

    laws.check(scenario.simulate(choose))
