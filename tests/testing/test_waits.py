"""Scripted bodies that wait: what they give back, how they go on, and how they end."""

from __future__ import annotations

import random

import attrs
import pytest

from actorflow.definition.retry import RetryPolicy
from actorflow.errors.definition import DefinitionError
from actorflow.model.lifecycle import EventKind, RunStatus, StepStatus
from actorflow.testing import (
    Faults,
    Move,
    Outcome,
    Replay,
    Scenario,
    ScenarioRun,
    ScenarioStep,
    Script,
    Settings,
    Simulation,
    either,
    explore,
    explore_scenarios,
    hangs,
    laws,
    raises,
    returns,
    simulate,
)
from actorflow.testing.script_files import encoded_script, script_of
from actorflow.testing.search.cases import given
from actorflow.testing.search.coverage import reachable
from actorflow.testing.search.scenarios import DEEDS, WAITS
from tests.support.brain import flow, nothing, step, task

KINDS = pytest.mark.parametrize("make", [step, task])
ASKS = returns(after=1.0).waiting(2.0, then=0.5)


def happened(trace, step_id="a"):
    """Return what happened to a step, without the `step.` before it, and when."""
    return [
        (event.kind.value.removeprefix("step."), event.time)
        for event in trace.events
        if event.step_id == step_id
    ]


def checked(trace):
    """Return a trace that keeps all laws."""
    laws.check(trace)
    return trace


# ── What a body does ─────────────────────────────────────────────────────────────────────────


@KINDS
def test_a_body_runs_waits_and_runs_on(make):
    """For as long as its script says."""
    trace = checked(simulate(flow(make("a")), script=Script({"a": ASKS})))

    assert [
        ("ready", 0.0),
        ("started", 0.0),
        ("suspended", 1.0),
        ("continued", 3.0),
        ("completed", 3.5),
    ] == happened(trace)
    assert [(1.0, 3.0, 3.0, True)] == [
        (one.began_at, one.woken_at, one.until_at, one.continued) for one in trace.waits
    ]


def test_a_body_may_wait_several_times():
    """Each wait follows the part of the body before it."""
    twice = returns(after=0.0).waiting(1.0, then=2.0).waiting(4.0, then=0.0)

    trace = checked(simulate(flow(task("a")), script=Script({"a": twice})))

    assert [0.0, 1.0, 3.0, 7.0, 7.0] == [moment for _, moment in happened(trace)[2:]]
    assert 2 == len(trace.waits)


def test_a_body_may_fail_or_hang_after_its_wait():
    """Whatever its behaviour says; one that hangs waits at once."""
    script = Script({"a": raises(OSError, after=0.0).waiting(1.0), "b": hangs().waiting(1.0)})

    trace = checked(
        simulate(flow(task("a", required=False), task("b", timeout=3.0)), script=script)
    )

    assert ("skipped", 2.0) == happened(trace)[-1]
    assert [("continued", 1.0), ("timed_out", 4.0)] == happened(trace, "b")[-4:-2]


@KINDS
def test_what_waits_makes_room_for_others(make):
    """And continues when there is room."""
    script = Script({"a": ASKS, "b": returns(after=5.0)})

    trace = checked(simulate(flow(make("a"), make("b")), script=script, async_workers=1))

    assert ("started", 1.0) == happened(trace, "b")[1]
    assert [("continued", 6.0), ("completed", 6.5)] == happened(trace)[-2:]
    assert trace.max_in_flight <= 1


def test_nesting_exhausts_nothing():
    """Of many runs, each waits while the next one has the only place and the only worker."""
    with Simulation(
        async_workers=1, max_active_runs=1, script=Script({"a": returns().waiting(9.0, then=0.0)})
    ) as simulation:
        for _ in range(5):
            simulation.start(flow(task("a")))
        trace = checked(simulation.conclude())

    assert 14.0 == trace.duration
    assert {RunStatus.COMPLETED} == {result.status for result in trace.results.values()}


def test_compensators_wait_like_steps():
    """And give back what they hold; the events have kinds of their own."""
    script = Script({"b": raises(OSError)}, compensators={"a": ASKS})

    trace = checked(simulate(flow(task("a", compensate=nothing), task("b", "a")), script=script))

    assert [
        ("compensation.started", 2.0),
        ("compensation.suspended", 3.0),
        ("compensation.continued", 5.0),
        ("compensation.completed", 5.5),
    ] == happened(trace)[-4:]
    assert [True] == [one.compensates for one in trace.waits]


# ── How it ends ──────────────────────────────────────────────────────────────────────────────


@KINDS
def test_a_body_that_waits_is_stopped_like_any_other(make):
    """At once, also on a thread."""
    script = Script({"a": hangs().waiting(60.0)})

    trace = checked(simulate(flow(make("a")), script=script, cancel_at=3.0))

    assert 3.0 == trace.duration
    assert Outcome.STOPPED is trace.attempts[0].outcome
    assert (3.0, False) == (trace.waits[0].until_at, trace.waits[0].continued)


@KINDS
def test_a_stubborn_body_is_abandoned_although_it_waited(make):
    """When its grace has passed."""
    script = Script({"a": hangs(stubborn=True).waiting(60.0)})

    trace = checked(simulate(flow(make("a")), script=script, cancel_at=3.0, stop_grace=2.0))

    assert [("abandoned", 5.0), ("cancelled", 5.0)] == happened(trace)[-2:]


def test_a_body_that_competes_is_stopped_as_well():
    """Its wait is over, but it has not continued."""
    script = Script({"a": ASKS, "b": hangs()})

    trace = checked(
        simulate(flow(task("a"), task("b")), script=script, async_workers=1, cancel_at=9.0)
    )

    assert "continued" not in dict(happened(trace))
    assert StepStatus.CANCELLED is trace.result.steps["a"].status


@pytest.mark.parametrize(("ends", "woken"), [("waiting", None), ("woken", 3.0)])
@KINDS
def test_a_body_may_end_without_waiting_for_its_attempt_to_continue(make, ends, woken):
    """It gives nothing back twice."""
    script = Script({"a": returns(after=1.0).waiting(2.0, ends=ends), "b": returns(after=9.0)})

    trace = checked(simulate(flow(make("a"), make("b")), script=script, async_workers=1))

    assert [("suspended", 1.0), ("completed", 3.0)] == happened(trace)[-2:]
    assert woken == trace.waits[0].woken_at


def test_timeouts_stand_still_while_an_attempt_waits():
    """That of the attempt, and that of all of them together."""
    script = Script({"a": [raises(OSError, after=1.0).waiting(60.0, then=0.5), hangs()]})
    retry = RetryPolicy(max_attempts=2, jitter=0.0)

    trace = checked(
        simulate(flow(task("a", timeout=2.0, total_timeout=4.0, retry=retry)), script=script)
    )

    assert [
        ("retrying", 61.5),
        ("ready", 62.5),
        ("started", 62.5),
        ("timed_out", 64.0),
    ] == happened(trace)[-6:-2]


# ── In all schedules ─────────────────────────────────────────────────────────────────────────


def test_every_schedule_of_steps_that_wait_keeps_the_laws():
    """With faults, and with everything left to the tape."""
    asks = returns(after=None).waiting(None, then=None)
    script = Script(
        {"a": asks, "b": asks.waiting(None, then=None), "c": hangs().waiting(None)},
        default=either(returns(after=None), returns(after=None).waiting(None, ends="woken")),
    )
    steps = task("a", priority=1), step("b"), task("c", timeout=2.0, required=False), step("d", "a")
    faults = Faults(crashes=1, delays=1, cancels=1, restarts=1, store_stalls=1)

    explore(flow(*steps), script=script, schedules=300, faults=faults, async_workers=1).check()


def test_the_same_tape_makes_the_same_waits():
    """Moment by moment."""
    chance = random.Random(4)
    step_ = ScenarioStep(id="a", waits="twice")
    one = Scenario(steps=(step_, attrs.evolve(step_, id="b", async_=True)))
    for _ in range(20):
        trace = one.simulate(chance)

        assert trace.hash == one.simulate(trace.tape).hash
        assert trace.waits == one.simulate(trace.tape).waits


def test_scenarios_suspend_attempts_in_every_way():
    """With few workers and few places; nothing in it is out of the ordinary."""
    kinds = {EventKind.STEP_SUSPENDED, EventKind.STEP_CONTINUED}

    found = explore_scenarios(schedules=300, seed=2)

    found.check()
    moves = {Move("step", StepStatus.RUNNING, kind) for kind in kinds}
    assert moves <= set(found.edges.seen)


def test_every_deed_can_wait_in_every_way():
    """One that hangs never ends while it waits."""
    for deed in DEEDS:
        for waits in WAITS:
            one = Scenario(
                steps=(ScenarioStep(id="a", does=(deed,), waits=waits, timeout=2.0),),
                runs=(ScenarioRun(timeout=40.0),),
                settings=Settings(async_workers=1),
            )

            assert checked(one.simulate()).results


@pytest.mark.parametrize(
    ("behaviour", "suspends", "continues"),
    [
        (returns(), False, False),
        (returns().waiting(), True, True),
        (either(returns(), returns().waiting()), True, True),
        (returns().waiting(ends="waiting"), True, False),
    ],
)
def test_the_moves_of_a_wait_need_one(behaviour, suspends, continues):
    """Of the two, one that ends while it waits makes only the first."""
    found = reachable(
        flow(task("a")).plan(), Script({"a": behaviour}), Settings(), timeout=False, cancels=False
    )

    kinds = {move.kind for move in found}
    assert suspends is (EventKind.STEP_SUSPENDED in kinds)
    assert continues is (EventKind.STEP_CONTINUED in kinds)


# ── As values ────────────────────────────────────────────────────────────────────────────────


def test_a_wait_can_be_pasted_and_saved():
    """With whatever is not as usual."""
    script = Script(
        {
            "a": returns(1).waiting(2.0).waiting(then=None, ends="woken"),
            "b": [raises(OSError).waiting(), hangs(stubborn=True).waiting(None)],
        }
    )

    said = repr(script)

    assert said == repr(eval(said)) == repr(script_of(encoded_script(script)))  # noqa: S307
    assert "returns(1).waiting(seconds=2.0).waiting(then=None, ends='woken')" in said


def test_a_schedule_with_waits_is_replayed_from_a_file(tmp_path):
    """To the same end."""
    case = given(flow(task("a")), script=Script({"a": returns(after=None).waiting(None)}))
    trace = case.simulate(random.Random(1))
    path = tmp_path / "replay.json"

    Replay.of(case, trace.tape, flow=None, trace=trace).save(path)

    assert trace.hash == Replay.load(path).simulate(case.flow).hash


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: returns().waiting(-1.0), "seconds of waiting()"),
        (lambda: returns().waiting(then=-1.0), "then of waiting()"),
        (lambda: returns().waiting(ends="later"), "ends of waiting() is 'later'"),
        (lambda: returns().waiting(ends="woken").waiting(), "has ended before it could wait"),
        (lambda: hangs().waiting(ends="waiting"), "hangs() never ends"),
        (lambda: ScenarioStep(id="a", waits="often"), "waits 'often'"),
    ],
)
def test_a_wait_that_cannot_be_is_refused(make, said):
    """At once."""
    with pytest.raises(DefinitionError) as caught:
        make()

    assert said in str(caught.value)
