"""Scenarios: workflows that are made up, and what would be smaller."""

from __future__ import annotations

import random

import attrs
import pytest
from hypothesis import given
from hypothesis.vendor.pretty import pretty

from actorflow.errors.definition import DefinitionError
from actorflow.model.lifecycle import RunStatus
from actorflow.testing import (
    ClusterRun,
    Faults,
    Scenario,
    ScenarioRun,
    ScenarioStep,
    Settings,
    Tape,
    draw_cluster,
    laws,
)
from actorflow.testing.search.drawing import (
    HEAD,
    LARGE,
    ROW,
    bounds,
    draw_scenario,
    scenario_of,
)
from actorflow.testing.search.edits import blocks
from actorflow.testing.search.scenarios import DEEDS, POLICIES
from actorflow.testing.strategies import scenarios

NAMES = {
    "Faults": Faults,
    "Scenario": Scenario,
    "ScenarioRun": ScenarioRun,
    "ScenarioStep": ScenarioStep,
    "Settings": Settings,
}
KINDS = {field.name for field in attrs.fields(Faults)}
NOT_SHARED = {"grace", "resumes", "messages", "sent_again"}
"""What runs of one orchestrator have, and those of several have not yet."""
OF_SEVERAL = {
    "halts",
    "partitions",
    "clock_steps",
    "lost_signals",
    "late_signals",
    "meanwhile",
}
"""The faults that take several orchestrators."""


def scenario(*steps, **parts):
    """Return a scenario of these steps."""
    return Scenario(steps=steps, **parts)


A = ScenarioStep(id="a", async_=True)
B = ScenarioStep(id="b", after=("a",), async_=True, retry="once", does=("raises", "returns"))
C = ScenarioStep(id="c", after=("a", "b"))


def drawn(count, seed=1):
    """Return scenarios that chance has made up."""
    chance = random.Random(seed)
    return [draw_scenario(chance, max_steps=8) for _ in range(count)]


# ── As values ────────────────────────────────────────────────────────────────────────────────


def test_a_scenario_shows_what_is_not_plain():
    """And nothing else, so that a small one fits into a line."""
    small = scenario(B, runs=(ScenarioRun(), ScenarioRun(at=1.0)))

    assert (
        "Scenario(steps=(ScenarioStep(id='b', after=('a',), async_=True, retry='once', "
        "does=('raises', 'returns')),), runs=(ScenarioRun(), ScenarioRun(at=1.0)))"
    ) == repr(small)


def test_a_scenario_can_be_pasted():
    """Its repr makes it anew, in Hypothesis' words too."""
    for one in drawn(50):
        assert one == eval(repr(one), NAMES)  # noqa: S307 - our own
        assert repr(one) == pretty(one)


def test_a_drawn_workflow_can_be_pasted():
    """So that a failing test of one can be repeated without the strategy."""
    one = scenario(
        attrs.evolve(A, expected=2.0),
        C,
        fail_fast=False,
        order="critical_path",
        settings=Settings(async_workers=1),
    )

    said = repr(one.flow)

    again = eval(said, NAMES)  # noqa: S307 - our own
    assert said.endswith("fail_fast=False, order='critical_path').flow")
    assert list(one.flow.steps) == list(again.steps)
    assert ("critical_path", 2.0) == (again.order, again.steps["a"].expected)


def test_a_scenario_counts_what_is_not_plain():
    """Names do not count; each dependency, option, deed, cancel and fault does."""
    busy = scenario(
        A,
        B,
        runs=(ScenarioRun(cancels=(1.0, 2.0)),),
        settings=Settings(faults=Faults(crashes=2), async_workers=1),
    )

    assert 0 == scenario(ScenarioStep(id="x")).deviations
    assert 1 == scenario(A).deviations
    assert (5, 2) == (scenario(B).deviations, busy.size)
    assert 1 + 5 + 2 + 3 == busy.deviations


def test_every_run_of_a_step_counts():
    """Two runs of a step make as long a chart as two steps."""
    assert 6 == scenario(A, B, C, runs=(ScenarioRun(), ScenarioRun())).size


@pytest.mark.parametrize(
    "parts",
    [{"does": ("sings",)}, {"does": ()}, {"retry": "always"}],
    ids=["does", "none", "retry"],
)
def test_what_a_step_does_has_to_be_known(parts):
    """The error says what is."""
    with pytest.raises(DefinitionError, match=r"returns|never"):
        ScenarioStep(id="a", **parts)


def test_whatever_a_step_may_do_can_be_simulated():
    """Under every policy there is."""
    for deed in DEEDS:
        for policy in POLICIES:
            step = ScenarioStep(id="a", does=(deed,), retry=policy, timeout=2.0)
            trace = scenario(step).simulate()

            assert trace.result.status in {RunStatus.COMPLETED, RunStatus.FAILED}


def test_runs_are_asked_for_and_cancelled_at_their_moments():
    """Cancels are counted from the start of their run."""
    one = scenario(
        ScenarioStep(id="a", does=("hangs",)),
        runs=(ScenarioRun(priority=3), ScenarioRun(at=2.0, cancels=(1.0, 4.0), timeout=9.0)),
    )

    trace = one.simulate()

    assert [0.0, 2.0] == [attempt.started_at for attempt in trace.attempts]
    assert RunStatus.CANCELLED == trace.results["run-2"].status
    assert 3.0 == trace.duration
    assert (3, 9.0) == (trace.runs["run-1"].priority, trace.runs["run-2"].timeout)


# ── Made up from bytes ───────────────────────────────────────────────────────────────────────


def test_noughts_are_the_plainest_scenario():
    """So that whatever shrinks bytes shrinks scenarios."""
    made = scenario_of(bytes(HEAD), [bytes(ROW)] * 2, [bytes(ROW)])

    assert scenario(A, attrs.evolve(A, id="b")) == made
    assert scenario(A) == scenario_of(b"", [], [])


def test_a_row_means_the_same_when_the_one_behind_it_is_dropped():
    """Dependencies are said by how far back they stand."""
    chance = random.Random(2)
    head, rows = chance.randbytes(HEAD), [chance.randbytes(ROW) for _ in range(6)]

    assert scenario_of(head, rows, []).steps[:-1] == scenario_of(head, rows[:-1], []).steps


def test_equal_chances_make_equal_scenarios():
    """And unequal ones hardly ever do."""
    assert drawn(20) == drawn(20)
    assert 100 == len({*drawn(50), *drawn(50, seed=2)})


def test_scenarios_have_a_bit_of_everything():
    """Each option of each part, somewhere among a few hundred."""
    some = drawn(400)
    steps = [step for one in some for step in one.steps]

    for field in attrs.fields(ScenarioStep):
        assert 1 < len({getattr(step, field.name) for step in steps}), field.name
    for field in attrs.fields(ScenarioRun):
        assert 1 < len({getattr(run, field.name) for one in some for run in one.runs}), field.name
    for kind in KINDS - OF_SEVERAL:
        assert any(getattr(one.settings.faults, kind) for one in some), kind
    assert set(DEEDS) == {deed for step in steps for deed in step.does}
    assert set(POLICIES) == {step.retry for step in steps}


def test_scenarios_with_several_orchestrators_have_a_bit_of_everything():
    """Each option, and each fault that takes several."""
    some = [draw_cluster(random.Random(seed)) for seed in range(400)]

    for name in {field.name for field in attrs.fields(ClusterRun)} - NOT_SHARED:
        assert 1 < len({getattr(run, name) for one in some for run in one.runs}), name
    for name in ("orchestrators", "server_clock", "one_host", "schedule"):
        assert 1 < len({getattr(one, name) for one in some}), name
    for kind in (OF_SEVERAL, {"restarts", "handovers", "cancels", "store_stalls"}):
        assert all(any(getattr(one.settings.faults, it) for one in some) for it in kind)


def test_some_scenarios_have_next_to_nothing():
    """Some defects show only where there are no timeouts, or no faults."""
    large = [one for one in drawn(400) if len(one.steps) > 4]
    limits = [{(step.timeout, step.total_timeout) for step in one.steps} for one in large]

    assert any(said == {(None, None)} for said in limits)
    assert any(
        said == {(None, None)} and not one.settings.faults.any
        for one, said in zip(large, limits, strict=True)
    )


def test_steps_beyond_the_alphabet_have_names_too():
    """Each its own."""
    many = scenario_of(b"", [b""] * 60, [])

    assert ["z", "a1"] == [step.id for step in many.steps[25:27]]
    assert 60 == len(many.flow.steps)


# ── What would be smaller ────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_every_edit_makes_a_scenario_smaller_or_leaves_it():
    """In steps, or else in what is not plain, or else in how much of it."""
    for one in drawn(60):
        for edit in one.edits():
            smaller = edit(one)

            assert smaller == one or (smaller.size, smaller.deviations) <= (
                one.size,
                one.deviations,
            )
            smaller.flow.validate()


def test_edits_outlive_those_before_them():
    """Each names what it drops: one after the other they lead to a single plain step."""
    for one in drawn(60):
        left = one
        for edit in one.edits():
            left = edit(left)

        assert (1, 0) == (left.size, left.deviations)


def test_a_step_is_dropped_with_what_waits_for_it():
    """That is, with the dependency; the step itself stays."""
    without = [edit(scenario(A, B, C)) for edit in scenario(A, B, C).edits()]

    assert scenario(A, attrs.evolve(C, after=("a",))) in without
    assert scenario(attrs.evolve(B, after=()), attrs.evolve(C, after=("b",))) in without


def test_blocks_go_from_halves_to_single_items():
    """From the end, where what is dropped moves nothing else; what is alone is the whole."""
    assert [["c", "d"], ["a", "b"], ["d"], ["c"], ["b"], ["a"]] == list(blocks("abcd"))
    assert [] == list(blocks("a"))


def test_a_scenario_happens_alike_on_the_same_tape():
    """However often, and whoever made it."""
    for one in drawn(20):
        trace = one.simulate(random.Random(3))

        assert trace.hash == one.simulate(trace.tape).hash
        assert trace.hash == eval(repr(one), NAMES).simulate(trace.tape).hash  # noqa: S307
    assert Tape() == scenario(A).simulate().tape


# ── Large ones, and those that are resumed ───────────────────────────────────────────────────


def test_now_and_then_a_scenario_is_large():
    """Rarely enough not to slow the others."""
    chance = random.Random(1)
    sizes = [(len(one.steps), len(one.runs)) for one in map(draw_scenario, [chance] * 3000)]

    large = [size for size in sizes if size[0] > 6 or size[1] > 3]
    assert 3 <= len(large) <= 30
    assert all(10 < steps <= 20 and 4 < runs <= 8 for steps, runs in large)


def test_a_small_bound_is_kept():
    """A small bound means that large ones are not wanted."""
    chance = random.Random(1)

    assert 3 >= max(len(draw_scenario(chance, max_steps=3).steps) for _ in range(3000))


@given(scenarios())
def test_drawn_scenarios_are_within_the_bounds_of_large_ones(one):
    """In steps and in runs."""
    assert len(one.steps) <= LARGE[0]
    assert len(one.runs) <= LARGE[1]


def test_a_large_scenario_is_drawn_by_its_own_row():
    """By the last byte, which is not read for anything else."""
    usual, large = bytes(HEAD), bytes(HEAD - 1) + b"\xff"

    assert (6, 3) == bounds(usual, 6)
    assert LARGE == bounds(large, 6)
    assert (5, 3) == bounds(large, 5)
    assert scenario_of(usual, [bytes(ROW)], ()) == scenario_of(large, [bytes(ROW)], ())


def test_a_run_is_resumed_after_a_cancel():
    """And ends again; a run that is in progress or has completed is left alone."""
    twice = scenario(A, runs=(ScenarioRun(cancels=(0.0,), resumes=(0.0, 4.0, 9.0)),))

    trace = twice.simulate()

    kinds = [str(event.kind.value) for event in trace.events if event.step_id is None]
    assert ["run.accepted", "run.cancelled", "run.resumed", "run.completed"] == [
        kind for kind in kinds if kind != "run.started"
    ]
    laws.check(trace)
    assert 4 == twice.deviations - A.deviations


def test_resumed_runs_are_drawn():
    """With those that are cancelled."""
    chance = random.Random(1)
    runs = [run for _ in range(2000) for run in draw_scenario(chance).runs]

    assert {(), (4.0,), (8.0, 20.0)} == {run.resumes for run in runs}
    assert sum(bool(run.resumes) for run in runs) < len(runs) / 20
