"""The runtime keeps the laws, whatever happens, in whatever order.

Workflows, scripts, runs, cancels and faults are drawn, and then the schedule. The bulk of it is
left to chance. Hypothesis draws a part of it in its own way, and the rest is about laws of which
one trace shows but a part.
"""

from __future__ import annotations

import random
import threading

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorflow import Orchestrator, OrchestratorClosed, RunStatus, Workflow
from actorflow.definition.retry import RetryPolicy
from actorflow.testing import (
    Faults,
    Script,
    Simulation,
    draw_scenario,
    explore_scenarios,
    laws,
    real,
    simulate,
)
from actorflow.testing.strategies import scenarios, scripts, tapes, workflows
from tests.support.brain import flow, task

SEEDS = range(20)
SCHEDULES_OF_A_SEED = 5_000
GUARD = 60

few = st.integers(0, 2)
drawn_faults = st.builds(
    Faults,
    crashes=few,
    poisons=few,
    duplicates=few,
    delays=few,
    cancels=few,
    restarts=st.integers(0, 1),
    late_results=few,
    store_failures=st.integers(0, 1),
    store_stalls=few,
)
moments = st.one_of(st.none(), st.sampled_from([0.0, 1.0, 2.0, 5.0]), st.floats(0, 10))


# ── All laws, on drawn schedules ─────────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_a_hundred_thousand_schedules_keep_the_laws(seed, record_property):
    """Of workflows, scripts, runs, cancels and faults that chance has made up.

    These are the schedules of one seed; of all seeds they are as many as the name says.
    """
    assert 100_000 <= len(SEEDS) * SCHEDULES_OF_A_SEED

    exploration = explore_scenarios(seed=seed, schedules=SCHEDULES_OF_A_SEED)

    record_property("schedules", exploration.schedules)
    exploration.check()


@settings(max_examples=400)
@given(scenarios(), tapes())
def test_drawn_scenarios_keep_the_laws(scenario, tape):
    """Up to three runs of one workflow, with everything that may happen to them."""
    laws.check(scenario.simulate(tape))


@settings(max_examples=200)
@given(st.data())
def test_drawn_workflows_keep_the_laws(data):
    """Several at once, each cancelled at a drawn instant or not at all."""
    simulation = Simulation(
        tape=data.draw(tapes()),
        async_workers=data.draw(st.integers(1, 3)),
        max_active_runs=data.draw(st.sampled_from([100, 1])),
        faults=data.draw(drawn_faults),
        race=data.draw(st.booleans()),
    )
    for _ in range(data.draw(st.integers(1, 3))):
        workflow = data.draw(workflows(max_steps=4))
        script = data.draw(scripts(workflow))
        run_id = simulation.start(workflow, script=script, priority=data.draw(st.integers(0, 1)))
        moment = data.draw(moments)
        if moment is not None:
            simulation.cancel_at(moment, run_id)

    laws.check(simulation.conclude())


# ── 24 and 30: the same tape, the same trace; and outcomes that do not depend on order ───────


@settings(max_examples=200)
@given(scenarios(), tapes())
def test_the_same_tape_gives_the_same_trace(scenario, tape):
    """Message by message, event by event, with all faults."""
    laws.same(scenario.simulate, tape)


def without_order(seed):
    """A drawn scenario in which no step depends on when anything happens."""
    drawn = draw_scenario(random.Random(seed))
    plain = {"timeout": None, "total_timeout": None, "undo": ()}
    steps = [
        attrs.evolve(one, does=does_in_time(one), waits=waits_in_time(one), **plain)
        for one in drawn.steps
    ]
    runs = [attrs.evolve(one, timeout=None, cancels=()) for one in drawn.runs]
    quiet = attrs.evolve(drawn.settings, faults=Faults())
    # What a parent's end means for its children depends on when it comes.
    return attrs.evolve(drawn, steps=steps, runs=runs, child=(), fail_fast=False, settings=quiet)


def does_in_time(step):
    """What a step does, without what only a timeout or a tape decides."""
    undecided = {"hangs", "holds on", "does anything"}
    return tuple("returns" if deed in undecided else deed for deed in step.does)


def waits_in_time(step):
    """How a step waits, without what only the moment decides at which a message is sent."""
    return "once" if "message" in step.waits else step.waits


@pytest.mark.parametrize("seed", range(150))
def test_messages_that_come_twice_or_late_change_no_outcome(seed):
    """Each step ends as it does on the plainest schedule, after as many attempts."""
    scenario = without_order(seed)
    plain = scenario.simulate()
    results = [plain.result_of(run_id) for run_id in plain.runs]
    faults = Faults(duplicates=9, delays=9)
    faulty = attrs.evolve(scenario, settings=attrs.evolve(scenario.settings, faults=faults))

    for number in range(4):
        trace = faulty.simulate(random.Random(number))
        laws.alike(trace, results)


def drawn_flow(seed):
    """A workflow of true functions that fail as often as was drawn, and are tried again."""
    chance = random.Random(seed)
    made = Workflow(f"drawn-{seed}", fail_fast=False)
    retry = RetryPolicy(max_attempts=3, initial_interval=0.001, jitter=0.0)
    for number in range(chance.randint(1, 6)):
        made.step(
            make_function(chance.choice((0, 0, 1, 2, 3)), coroutine=chance.random() < 0.5),
            id=f"s{number}",
            after=[f"s{other}" for other in range(number) if chance.random() < 0.4],
            async_=chance.random() < 0.7,
            required=chance.random() < 0.7,
            retry=retry if chance.random() < 0.7 else None,
        )
    return made


def make_function(failures, *, coroutine):
    """A step that raises so often, and then returns what it has seen."""

    def plain(ctx, inputs):
        if ctx.attempt <= failures:
            raise ValueError(ctx.attempt)
        return f"{ctx.step_id}#{ctx.attempt}({', '.join(str(inputs[name]) for name in inputs)})"

    async def awaited(ctx, inputs):
        return plain(ctx, inputs)

    return awaited if coroutine else plain


def test_outcomes_are_alike_on_the_embedded_base():
    """With threads, an event loop and a real clock."""
    with Orchestrator(async_workers=2) as orchestrator:
        for seed in range(40):
            one = drawn_flow(seed)
            result = orchestrator.start(one).wait(GUARD)

            for tape in (None, random.Random(seed)):
                trace = simulate(one, script=Script(default=real()), tape=tape)
                laws.check(trace)
                laws.alike(trace, [result])


# ── 31: after N runs all is as it was ────────────────────────────────────────────────────────


def test_nothing_is_left_after_a_hundred_runs():
    """One after the other, each with what goes wrong in it."""
    chance = random.Random(31)
    simulation = Simulation(tape=chance, faults=Faults(crashes=50, late_results=50, delays=50))
    for number in range(100):
        scenario = draw_scenario(chance)
        while any({"hangs", "does anything"} & {*step.undo} for step in scenario.steps):
            scenario = draw_scenario(chance)  # a cancel does not end a compensator
        run_id = simulation.start(scenario.flow, script=scenario.script)
        simulation.cancel_at(simulation.now + 30.0, run_id)
        simulation.run_until_quiet()

        trace = simulation.trace()
        assert number + 1 == sum(trace.runs[it].parent is None for it in trace.results)
        assert trace.leftovers.nothing


# ── 32: shutdown ─────────────────────────────────────────────────────────────────────────────


def test_a_shutdown_is_bounded_and_loses_nothing_that_was_acknowledged():
    """What cannot be stopped is named, what has ended is known, and later calls are refused."""
    release = threading.Event()
    stuck = Workflow("stuck")
    stuck.step(lambda: release.wait(GUARD), id="hangs")
    orchestrator = Orchestrator()
    with orchestrator:
        done = orchestrator.start(flow(task("a")))
        ended = done.wait(GUARD)
        run = orchestrator.start(stuck)
        report = orchestrator.shutdown(drain=0.0, grace=0.0)
    release.set()

    assert (run.id,) == tuple(report.cancelled)
    assert RunStatus.COMPLETED is ended.status
    assert ended == done.wait(0)
    assert RunStatus.CANCELLED is run.wait(0).status
    with pytest.raises(OrchestratorClosed):
        orchestrator.start(stuck)
