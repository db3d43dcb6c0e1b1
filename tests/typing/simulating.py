"""How the simulation is used, as type checkers see it; checked by mypy, never run."""

from __future__ import annotations

import random
from typing import assert_type

from actorflow import RunResult, Workflow
from actorflow.testing import (
    AttemptTrace,
    Choices,
    Exploration,
    Faults,
    Law,
    LawBroken,
    Replay,
    Script,
    Simulation,
    Tape,
    Trace,
    either,
    explore,
    hangs,
    law,
    laws,
    raises,
    real,
    returns,
    simulate,
)


def one_run(flow: Workflow) -> None:
    """A run in virtual time, and what there is to see of it."""
    script = Script(
        {"a": [raises(ValueError("no")), returns(3, after=2)], "b": either(real(), hangs())},
        default=returns(after=None),
    )
    trace = simulate(flow, {"url": "u"}, script=script, tape=random.Random(7), priority=3)
    assert_type(trace, Trace)
    assert_type(trace.result, RunResult)
    assert_type(trace.tape, Tape)
    assert_type(trace.attempts[0], AttemptTrace)
    assert_type(trace.chart(), str)
    again = simulate(flow, tape=trace.tape, faults=Faults(crashes=1), async_workers=4)
    assert_type(again.hash, str)


def several_runs(flow: Workflow, tape: Tape) -> None:
    """Several runs, step by step."""
    with Simulation(tape=Choices(tape), faults=Faults(delays=2)) as simulation:
        run_id = simulation.start(flow, timeout=30.0)
        assert_type(run_id, str)
        assert_type(simulation.deliver(), bool)
        simulation.advance(1.5)
        simulation.cancel_at(4.0, run_id)
        simulation.crash()
        simulation.resume(run_id)
        simulation.run_until_quiet()
        assert_type(simulation.trace(), Trace)


@laws.law
def ends_in_time(trace: Trace) -> None:
    """A report takes a minute at most."""
    assert trace.duration < 60.0


@laws.law(name="cheap", text="At most three attempts are made.")
def costs_little(trace: Trace) -> bool:
    """Count them."""
    return len(trace.attempts) <= 3


def held_to_laws(flow: Workflow, trace: Trace) -> None:
    """Laws of one's own beside those of the runtime."""
    assert_type(ends_in_time, laws.Law)
    assert_type(costs_little, laws.Law)
    laws.check(trace)
    laws.check(trace, [*laws.ALL, ends_in_time, costs_little])
    assert_type(laws.budget_is_kept.number, int | None)
    try:
        ends_in_time.check(trace)
    except LawBroken as error:
        assert_type(error.tape, Tape)
        assert_type(error.chart, str)
    assert_type(laws.same(lambda source: simulate(flow, tape=source), random.Random(1)), Trace)
    laws.alike(trace, [trace.result])


def a_search(flow: Workflow) -> None:
    """Many schedules, laws of one's own, and what is kept of a failure."""

    @law
    def nothing_is_left(trace: Trace) -> object:
        return trace.leftovers.nothing

    assert_type(nothing_is_left, Law)
    found = explore(flow, schedules=100, seed=7, laws=[*laws.ALL, nothing_is_left], timeout=3.0)
    assert_type(found, Exploration)
    assert_type(found.endings["completed"], int)
    assert_type(found.failure, Trace | None)
    replay = Replay.load("kept.json")
    assert_type(replay.simulate(flow), Trace)


def misuse(flow: Workflow) -> None:
    """What a type checker refuses."""
    simulate(flow, tape=[1, 2])  # type: ignore[arg-type]
    simulate(flow, colour="red")  # type: ignore[call-arg]
    Script({"a": "returns"})  # type: ignore[dict-item]
    Faults(1)  # type: ignore[call-arg]
    raises("no")  # type: ignore[arg-type]
