"""From a schedule that breaks a law to a small one that breaks the same law."""

from __future__ import annotations

import random

import pytest

from actorflow.definition.retry import RetryPolicy
from actorflow.definition.step import Step
from actorflow.testing import (
    LawBroken,
    Scenario,
    ScenarioRun,
    ScenarioStep,
    Settings,
    Tape,
    draw_scenario,
    explore,
)
from actorflow.testing.laws import law
from actorflow.testing.search import shrinking
from actorflow.testing.search.cases import given
from actorflow.testing.search.search import judged
from actorflow.testing.search.shrinking import Finding, Shrinker
from actorflow.testing.search.swarm import Swarm
from tests.support.brain import flow, task

FOUR = flow(*(task(name) for name in "abcd"))


def found(case, rule, seeds=range(500)):
    """Return the first schedule of a case that breaks a law, by plain chance."""
    for seed in seeds:
        trace = case.simulate(random.Random(seed))
        broken = judged([rule], trace)
        if broken is not None:
            return Finding(case, trace, broken)
    raise AssertionError(rule)


def shrunk(finding, rule, **options):
    """Return the shrinker that has made a finding small."""
    shrinker = Shrinker(finding, lambda trace: judged([rule], trace), **options)
    assert shrinker.shrink() is shrinker.best
    return shrinker


def ended(trace):
    """Return the steps in the order in which the supervisor hears of their ends."""
    return [event.step_id for event in trace.events if event.kind == "step.completed"]


@law
def d_is_not_first(trace):
    """The supervisor hears of another step before d."""
    assert "d" != ended(trace)[0]


@law
def order_is_not_turned_round(trace):
    """The supervisor does not hear of d, c, a and b in that order."""
    assert ["d", "c", "a", "b"] != ended(trace)


@law
def runs_are_short(trace):
    """No run takes ten seconds."""
    assert trace.duration < 10


# ── Tapes ────────────────────────────────────────────────────────────────────────────────────


def test_a_tape_keeps_only_the_choices_that_matter():
    """Of about twenty, the one that lets d come first: it takes no time."""
    finding = found(given(FOUR, async_workers=4), d_is_not_first)

    small = shrunk(finding, d_is_not_first).best

    assert len(finding.trace.choices) > 15
    assert Tape({"take d#1": [1]}) == small.trace.tape


def test_a_shorter_way_to_the_same_end_is_found():
    """Three choices turn four steps round, though chance has taken a dozen to do so."""
    finding = found(given(FOUR, async_workers=4), order_is_not_turned_round)

    small = shrunk(finding, order_is_not_turned_round).best

    assert 12 < finding.trace.tape.deviations
    assert 3 == small.trace.tape.deviations


def test_values_become_as_low_as_they_can():
    """Any duration but the plain one will do; the first of them is nought seconds."""

    @law
    def b_takes_a_second(trace):
        """Step b takes a second."""
        assert all(
            1 == one.finished_at - one.started_at for one in trace.attempts if one.step_id == "b"
        )

    small = shrunk(found(given(FOUR, async_workers=4), b_takes_a_second), b_takes_a_second).best

    assert Tape({"take b#1": [1]}) == small.trace.tape


def test_durations_become_plain_unless_they_matter():
    """One step that takes five seconds is plainer than two."""
    finding = found(given(flow(task("a"), task("b", "a"), task("c", "b"))), runs_are_short)

    small = shrunk(finding, runs_are_short).best

    assert small.trace.tape.deviations <= 2
    assert 10 <= small.trace.duration


def test_what_fails_anyway_needs_no_tape():
    """The empty one is the smallest there is."""

    @law
    def never(_trace):
        """Nothing keeps this law."""
        return False

    small = shrunk(found(given(FOUR, async_workers=4), never), never).best

    assert Tape() == small.trace.tape
    assert (4, 0, 0, 0) == small.key


def test_a_workflow_of_somebodys_own_is_left_as_it_is():
    """Its steps are not ours to drop."""
    case = given(FOUR, async_workers=4)

    assert case is shrunk(found(case, d_is_not_first), d_is_not_first).best.case


# ── Scenarios ────────────────────────────────────────────────────────────────────────────────

LARGE = Scenario(
    steps=(
        ScenarioStep(id="a", async_=True),
        ScenarioStep(id="b", after=("a",), async_=True, timeout=5.0),
        ScenarioStep(id="c", after=("a",), async_=True, retry="twice", does=("raises", "returns")),
        ScenarioStep(id="d", after=("b", "c"), required=False, priority=1),
        ScenarioStep(id="e", after=("d",), on_thread=True, does=("raises",)),
    ),
    runs=(ScenarioRun(), ScenarioRun(at=1.0, priority=1, timeout=60.0)),
    settings=Settings(async_workers=1),
)


@law
def nothing_is_tried_three_times(trace):
    """No step gets a third attempt, unless a crash has cut one."""
    assert trace.crashes or all(event.attempt != 3 for event in trace.events)


@law
def c_is_not_late(trace):
    """Step c has an end in the first three seconds."""
    late = [one for one in trace.attempts if one.step_id == "c" and one.started_at >= 3]
    assert not late


def test_a_scenario_loses_what_has_nothing_to_do_with_it():
    """Steps, dependencies, options, runs and settings."""
    case = Scenario(
        steps=(*LARGE.steps[:2], ScenarioStep(id="c", retry="twice", does=("raises",))),
        runs=LARGE.runs,
        settings=LARGE.settings,
    )

    small = shrunk(found(case, nothing_is_tried_three_times), nothing_is_tried_three_times).best

    one_step = ScenarioStep(id="c", retry="twice", does=("raises",))
    assert Scenario(steps=(one_step,)) == small.case
    assert Tape() == small.trace.tape


def test_the_fewest_steps_count_more_than_the_plainest_schedule():
    """A step less is worth some choices more."""
    small = shrunk(found(LARGE, c_is_not_late), c_is_not_late).best

    assert {"c"} <= {step.id for step in small.case.steps}
    assert small.case.size <= 2


def test_the_order_of_those_that_are_left_outlives_the_others():
    """Three steps of nine, in an order that chance seldom comes upon."""
    wide = Scenario(
        steps=tuple(ScenarioStep(id=name, async_=True) for name in "abcdefghi"),
        settings=Settings(async_workers=9),
    )

    @law
    def not_backwards(trace):
        """The supervisor does not hear of h, e and b in that order."""
        assert ["h", "e", "b"] != [name for name in ended(trace) if name in "beh"]

    small = shrunk(found(wide, not_backwards), not_backwards).best

    assert ["b", "e", "h"] == [step.id for step in small.case.steps]
    assert small.trace.tape.deviations <= 4


def test_a_finding_only_ever_becomes_smaller():
    """In the four numbers, the first of which counts most."""
    keys = []

    class Watched(Shrinker):
        def _try_case(self, case):
            keys.append(self.best.key)
            return super()._try_case(case)

    finding = found(LARGE, c_is_not_late)
    small = Watched(finding, lambda trace: judged([c_is_not_late], trace)).shrink()

    assert sorted(keys, reverse=True) == keys
    assert small.key < keys[0] <= finding.key


@pytest.mark.parametrize("seed", range(8))
def test_what_was_made_small_cannot_be_made_smaller(seed):
    """And it still breaks the law, on its tape."""
    chance = random.Random(seed)
    swarm = Swarm(chance)
    while True:
        case = draw_scenario(chance)
        trace = case.simulate(*swarm.next())
        broken = judged([nothing_is_tried_three_times], trace)
        if broken is not None:
            break

    small = shrunk(Finding(case, trace, broken), nothing_is_tried_three_times).best

    with pytest.raises(LawBroken):
        nothing_is_tried_three_times.check(small.case.simulate(small.trace.tape))
    again = shrunk(small, nothing_is_tried_three_times).best
    assert small.key == again.key
    assert (1, 2) == small.key[:2]


@pytest.mark.parametrize(("bound", "value"), [("_MOST_DELIVERIES", 1), ("_MOST_SECONDS", 0.0)])
def test_a_shrinker_takes_no_more_time_than_it_may(bound, value, monkeypatch):
    """Large workflows get fewer schedules, and so do laws that take their time."""
    monkeypatch.setattr(shrinking, bound, value)

    finding = found(given(FOUR, async_workers=4), order_is_not_turned_round)

    assert 1 == shrunk(finding, runs_are_short).tried


def test_a_shrinker_tries_no_more_schedules_than_it_may():
    """What it has by then is smaller all the same."""
    finding = found(LARGE, c_is_not_late)

    shrinker = shrunk(finding, c_is_not_late, most=40)

    assert 40 == shrinker.tried
    assert shrinker.best.key < finding.key


def test_equal_findings_become_equally_small():
    """By as many schedules."""
    first, second = (shrunk(found(LARGE, c_is_not_late), c_is_not_late) for _ in range(2))

    assert first.tried == second.tried
    assert first.best.case == second.best.case
    assert first.best.trace.hash == second.best.trace.hash


def test_time_that_went_on_still_does_when_there_are_fewer_messages():
    """It is the last of the options, however many there are."""

    @law
    def mail_is_fast(trace):
        """No time passes between a step's start and the arrival of its grant."""
        started = {one.step_id: one.time for one in trace.events if one.kind == "step.started"}
        grants = [one for one in trace.deliveries if one.message.startswith("Execute")]
        assert all(one.time == started[one.receiver] for one in grants)

    wide = Scenario(steps=tuple(ScenarioStep(id=name, async_=True) for name in "abcdef"))

    small = shrunk(found(wide, mail_is_fast), mail_is_fast).best

    assert 2 == small.case.size
    assert 1 == len(small.trace.tape.streams)


# ── Other starts ─────────────────────────────────────────────────────────────────────────────


def completed(trace):
    """Return the steps in the order of their completion."""
    return [event.step_id for event in trace.events if event.kind == "step.completed"]


async def work():
    """Stand in for a step; never called."""


def loading(sources=8):
    """A workflow that extracts, transforms, joins and loads."""
    numbers, again = range(sources), RetryPolicy(max_attempts=3)
    transformed = [f"transform{it}" for it in numbers]
    return flow(
        *(Step(f"extract{it}", work, async_=True, retry=again, timeout=10.0) for it in numbers),
        *(
            Step(name, work, async_=True, after=f"extract{it}", timeout=10.0)
            for it, name in enumerate(transformed)
        ),
        Step("join", work, after=transformed),
        Step("load", work, after="join", async_=True, retry=again, timeout=20.0),
        timeout=60.0,
    )


@law
def the_first_is_not_late(trace):
    """Of a run that completes nearly, three transformations do not end before the first step."""
    ends = completed(trace)
    late = [f"transform{it}" for it in (3, 5, 7)]
    assert len(ends) < 17 or not all(ends.index(it) < ends.index("extract0") for it in late)


@law
def what_returned_counts(trace):
    """No step fails of which an attempt has returned."""
    failed = {
        step_id
        for result in trace.results.values()
        for step_id, one in result.steps.items()
        if one.status == "failed"
    }
    assert not any(it.outcome == "returned" and it.step_id in failed for it in trace.attempts)


@law
def few_steps_are_retried(trace):
    """Fewer than three."""
    assert len({event.step_id for event in trace.events if event.kind == "step.retrying"}) < 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "workers", "seed"),
    [
        (the_first_is_not_late, 2, 2),
        (what_returned_counts, 8, 1),
        (few_steps_are_retried, 2, 2),
    ],
    ids=str,
)
def test_a_failure_of_a_wide_workflow_becomes_small(rule, workers, seed):
    """Although it takes a rare order, or several retries."""
    exploration = explore(loading(), laws=[rule], seed=seed, async_workers=workers)

    assert exploration.failure.tape.deviations <= 5


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 4])
def test_a_descent_that_sticks_is_started_again_elsewhere(seed):
    """One descent leaves more than five deviations."""
    exploration = explore(loading(), laws=[few_steps_are_retried], seed=seed, async_workers=2)

    assert exploration.failure.tape.deviations <= 5
    assert 2000 < exploration.shrunk_by <= 4000


def test_a_small_failure_is_not_looked_for_elsewhere():
    """One descent is enough."""
    shrinker = shrunk(found(given(FOUR, async_workers=4), d_is_not_first), d_is_not_first)

    assert shrinker.tried < 500


def test_what_was_lowered_already_is_not_lowered_below_zero():
    """The best tape changes while its places are gone through."""
    assert [] == list(shrinking._lower_at(Tape({"deliver": (0, 1)}), ("deliver", 0)))
