"""Which moves of the transition tables a search has seen, and which it could have."""

from __future__ import annotations

import random

import pytest

from actorflow.definition.retry import RetryPolicy
from actorflow.model.events import Event
from actorflow.model.lifecycle import RUN_MOVES, STEP_MOVES, EventKind, RunStatus, StepStatus
from actorflow.testing import (
    Faults,
    Move,
    Scenario,
    ScenarioRun,
    ScenarioStep,
    Script,
    Settings,
    either,
    explore_scenarios,
    hangs,
    raises,
    real,
    returns,
)
from actorflow.testing.search.coverage import ALL_MOVES, EVERYTHING, Coverage, Tally, reachable
from tests.support.brain import flow, step, task

PLAIN = Script(default=returns())
TWICE = RetryPolicy(max_attempts=2)


def moves(*steps, script=PLAIN, timeout=False, cancels=False, workers=2, **faults):
    """Return the moves that a workflow of these steps can make, as texts."""
    settings = Settings(async_workers=workers, faults=Faults(**faults))
    plan = flow(*steps).plan()
    found = reachable(plan, script, settings, timeout=timeout, cancels=cancels)
    return {f"{move.machine} {move.before.value} {move.kind.value}" for move in found}


def seen(trace):
    """Return the moves of one trace."""
    tally = Tally()
    tally.note(trace)
    return tally.coverage(frozenset()).seen


# ── What was seen ────────────────────────────────────────────────────────────────────────────


def test_every_edge_of_both_tables_is_a_move():
    """And nothing else is."""
    edges = sum(map(len, RUN_MOVES.values())) + sum(map(len, STEP_MOVES.values()))

    assert edges == len(ALL_MOVES) == len(set(ALL_MOVES))


def test_a_move_says_where_it_leads():
    """As the table has it."""
    move = Move("step", StepStatus.RUNNING, EventKind.STEP_RETRYING)

    assert "step running -> retrying by step.retrying" == str(move)


def test_the_moves_of_a_schedule_are_seen():
    """Of each step and of the run."""
    one = Scenario(steps=(ScenarioStep(id="a", retry="once", does=("raises", "returns")),))

    assert [
        "run pending -> pending by run.accepted",
        "run pending -> running by run.started",
        "run running -> completed by run.completed",
        "step pending -> ready by step.ready",
        "step ready -> running by step.started",
        "step running -> retrying by step.retrying",
        "step running -> completed by step.completed",
        "step retrying -> ready by step.ready",
    ] == [str(move) for move in seen(one.simulate())]


class Resumed:
    """As much of a trace as the tally looks at: a failed run that is resumed."""

    events = tuple(
        Event(number, kind, "run-1", step_id, None, 0.0)
        for number, (kind, step_id) in enumerate(
            (
                (EventKind.RUN_STARTED, None),
                (EventKind.STEP_READY, "a"),
                (EventKind.STEP_CANCELLED, "a"),
                (EventKind.STEP_READY, "b"),
                (EventKind.STEP_STARTED, "b"),
                (EventKind.STEP_COMPLETED, "b"),
                (EventKind.RUN_FAILED, None),
                (EventKind.RUN_RESUMED, None),
                (EventKind.STEP_READY, "a"),
            ),
            start=1,
        )
    )


def test_a_resumed_run_begins_anew_but_for_what_it_keeps():
    """What was cancelled is pending again; it did not become ready out of nowhere."""
    found = seen(Resumed())

    assert Move("run", RunStatus.FAILED, EventKind.RUN_RESUMED) in found
    assert Move("step", StepStatus.CANCELLED, EventKind.STEP_READY) not in found
    assert set(found) <= set(ALL_MOVES)


def test_what_was_missed_is_what_could_have_been_seen():
    """A move that was seen against all expectation is not missed, and counts."""
    first, second, third = ALL_MOVES[:3]
    coverage = Coverage((first, third), (first, second, third))

    assert (second,) == coverage.missed
    assert "2 of 3 moves" == str(coverage)


def test_a_tally_counts_what_it_did_not_expect():
    """Rather than to claim that there is no such move."""
    tally = Tally()
    tally.note(Scenario(steps=(ScenarioStep(id="a"),)).simulate())

    coverage = tally.coverage(frozenset())

    assert coverage.seen == coverage.reachable
    assert () == coverage.missed


# ── What can be seen ─────────────────────────────────────────────────────────────────────────


def test_a_plain_step_is_ready_starts_and_completes():
    """There is nothing else that it could do."""
    assert {
        "run pending run.accepted",
        "run pending run.started",
        "run running run.completed",
        "step pending step.ready",
        "step ready step.started",
        "step running step.completed",
    } == moves(task("a"), task("b"))


@pytest.mark.parametrize(
    ("steps", "options", "move"),
    [
        ([task("a", retry=TWICE)], {"script": raises(OSError)}, "step running step.retrying"),
        ([task("a", required=False)], {"script": raises(OSError)}, "step running step.skipped"),
        ([task("a"), task("b", "a")], {"script": raises(OSError)}, "step pending step.cancelled"),
        ([task("a")], {"script": raises(OSError)}, "run running run.failed"),
        ([task("a")], {"script": real()}, "step running step.failed"),
        ([task("a")], {"script": either(returns(), raises(OSError))}, "step running step.failed"),
        ([task("a", timeout=1.0)], {"script": returns(after=1.0)}, "step running step.timed_out"),
        ([task("a", timeout=1.0)], {"script": returns(after=None)}, "step running step.timed_out"),
        ([task("a", timeout=1.0)], {"script": hangs()}, "step running step.abandoned"),
        ([task("a")], {"cancels": True}, "run running run.cancelled"),
        ([task("a")], {"timeout": True}, "run running run.failed"),
        ([task("a")], {"restarts": 1}, "run running run.resumed"),
        ([task("a")], {"crashes": 4}, "step running step.failed"),
        ([task("a")], {"crashes": 2, "poisons": 2}, "step running step.failed"),
        ([task("a"), task("b", "a")], {"crashes": 4}, "step pending step.failed"),
        ([step("a"), step("b")], {"crashes": 4}, "step ready step.failed"),
        ([step("a"), step("b")], {"cancels": True}, "step ready step.cancelled"),
        ([task("a"), task("b")], {"cancels": True, "workers": 1}, "step ready step.cancelled"),
    ],
)
def test_a_move_needs_what_leads_to_it(steps, options, move):
    """Without it the move is out of reach."""
    script = options.pop("script", returns())

    assert move in moves(*steps, script=Script(default=script), **options)
    assert move not in moves(task("a"), task("b"))


@pytest.mark.parametrize("faults", [{"crashes": 3}, {"poisons": 3}, {"crashes": 1, "poisons": 2}])
def test_three_deaths_fail_no_step(faults):
    """An actor's death loses messages, never decisions."""
    assert moves(task("a"), task("b")) == moves(task("a"), task("b"), **faults)


@pytest.mark.parametrize(
    ("steps", "script", "move"),
    [
        ([task("a", timeout=1.0)], returns(after=0.5), "step running step.timed_out"),
        ([task("a")], raises(OSError), "step running step.completed"),
        ([task("a")], raises(OSError), "run running run.completed"),
        ([task("a")], raises(OSError), "step running step.retrying"),
        ([task("a"), task("b")], raises(OSError), "step pending step.cancelled"),
    ],
)
def test_what_a_script_rules_out_is_out_of_reach(steps, script, move):
    """It would be missed for ever."""
    assert move not in moves(*steps, script=Script(default=script))


def test_whatever_scenarios_do_was_within_reach():
    """By the judgement of the scenario at hand."""
    chance = random.Random(7)
    for does in ("returns", "raises", "gives up", "hangs", "holds on", "does anything"):
        for options in ({}, {"timeout": 2.0}, {"total_timeout": 3.0}, {"on_thread": True}):
            first = ScenarioStep(
                id="a", async_=True, retry="once", required=False, does=(does,), **options
            )
            second = ScenarioStep(id="b", after=("a",), timeout=2.0)
            third = ScenarioStep(id="c", async_=True, does=("returns",))
            one = Scenario(
                steps=(first, second, third),
                runs=(ScenarioRun(cancels=(5.0,)),),
                settings=Settings(async_workers=1),
            )
            expected = reachable(
                one.flow.plan(), one.script, one.settings, timeout=False, cancels=True
            )
            for _ in range(10):
                assert set(seen(one.simulate(chance))) <= expected


@pytest.mark.slow
def test_a_soak_sees_nearly_everything_and_nothing_unheard_of():
    """Of the rest each takes several crashes of the same actor."""
    edges = explore_scenarios(schedules=4000, seed=1, laws=()).edges
    rare = {EventKind.STEP_FAILED, EventKind.STEP_SKIPPED}

    assert set(edges.reachable) == EVERYTHING
    assert {move.kind for move in edges.missed} <= rare
    assert StepStatus.RUNNING not in {move.before for move in edges.missed}
