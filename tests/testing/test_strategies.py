"""The Hypothesis strategies: what they draw, and what that shrinks to."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from actorflow.definition.retry import RetryPolicy
from actorflow.errors.definition import DefinitionError
from actorflow.testing import (
    Choices,
    Scenario,
    ScenarioStep,
    Script,
    Tape,
    draw_scenario,
    laws,
    simulate,
)
from actorflow.testing.simulation.behaviours import Hangs, Raises, Returns
from actorflow.testing.strategies import scenarios, scripts, tapes, workflows
from tests.support.brain import flow, step, task

pytestmark = pytest.mark.slow

SEARCH = settings(
    max_examples=3000,
    database=None,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
FOUR = flow(*(task(name) for name in "abcd"))


def smallest(strategy, condition):
    """Return what a strategy's examples for a condition shrink to."""
    return find(strategy, condition, settings=SEARCH)


def ready(trace):
    """Return the steps in the order in which the supervisor hears of them."""
    return [event.step_id for event in trace.events if event.kind == "step.ready"]


# ── Tapes ────────────────────────────────────────────────────────────────────────────────────


def test_the_smallest_tape_is_the_plainest_schedule():
    """Which needs no choice at all."""
    assert Tape() == smallest(tapes(), lambda _tape: True)


def test_a_tape_shrinks_to_the_choices_that_matter():
    """Three early ones at most, by which d begins first; all that follows is plain.

    The run's actor must be heard three times before the grant of d can overtake that of a.
    """

    def run(tape):
        return simulate(FOUR, tape=tape, async_workers=4)

    tape = smallest(tapes(), lambda tape: "d" == run(tape).attempts[0].step_id)

    used = run(tape).tape
    assert {"deliver"} == set(used.streams)
    assert used.deviations <= 3
    assert len(used) <= 7


def test_kinds_of_choices_shrink_apart_from_each_other():
    """A plain order does not make durations anything else than they were."""

    def slow(tape):
        return simulate(FOUR, tape=tape).attempts[1].finished_at >= 5

    tape = smallest(tapes(), slow)

    assert {"take *"} == set(tape.streams)
    assert 1 == tape.deviations


@pytest.mark.parametrize(
    "label", ["deliver", "take a#1", "do a#1", "timer", "jitter", "crash", "restart", "late result"]
)
def test_every_kind_of_choice_is_drawn(label):
    """And none of them is always plain."""
    tape = smallest(tapes(), lambda tape: Choices(tape).choose(250, label) > 0)

    assert 0 < Choices(tape).choose(250, label) < 4


@given(tapes())
def test_drawn_tapes_are_tapes_like_any_other(tape):
    """They survive JSON, and what was used of one replays what it did."""
    trace = simulate(FOUR, tape=tape)

    assert tape == Tape.from_json(tape.to_json())
    assert trace.hash == simulate(FOUR, tape=trace.tape).hash
    laws.check(trace)


# ── Workflows and scripts ────────────────────────────────────────────────────────────────────


@given(workflows(max_steps=5))
def test_drawn_workflows_are_legal(drawn):
    """And no larger than was asked for."""
    drawn.validate()

    assert 1 <= len(drawn.steps) <= 5


HAS = {
    "async": lambda one: one.async_,
    "sync": lambda one: not one.async_,
    "optional": lambda one: not one.required,
    "priority": lambda one: one.priority,
    "retries": lambda one: one.retry is not None,
    "timeout": lambda one: one.timeout is not None,
    "total timeout": lambda one: one.total_timeout is not None,
    "plain function": lambda one: not one.is_coroutine,
    "two dependencies": lambda one: len(one.after) == 2,
}


@pytest.mark.parametrize("what", HAS)
def test_a_drawn_workflow_may_have_everything(what):
    """And shrinks to the step that has it, with the fewest others."""
    drawn = smallest(workflows(), lambda flow: any(map(HAS[what], flow.steps.values())))

    least = 3 if what == "two dependencies" else 1
    assert least == len(drawn.steps)


def test_a_workflow_that_does_not_fail_fast_is_drawn_too():
    """It is an option of the whole."""
    assert not smallest(workflows(), lambda flow: not flow.fail_fast).fail_fast


RETRIED = flow(task("a", retry=RetryPolicy(max_attempts=3)), step("b"))


@given(scripts(RETRIED))
def test_a_drawn_script_fits_its_workflow(script):
    """It says what each attempt of each step does."""
    script.check(RETRIED.plan())

    assert {"a", "b"} == set(script.steps)
    assert len(script.steps["a"]) <= 3
    assert 1 == len(script.steps["b"])


@pytest.mark.parametrize("kind", [Raises, Hangs])
def test_a_drawn_script_shrinks_to_the_attempt_that_matters(kind):
    """All others return."""
    script = smallest(scripts(RETRIED), lambda one: isinstance(one.of("a", 2), kind))

    assert isinstance(script.of("a", 1), Returns)
    assert isinstance(script.of("b", 1), Returns)


@given(st.data())
def test_a_workflow_and_its_script_can_be_drawn_together(data):
    """And simulated, on a tape that is drawn as well."""
    drawn = data.draw(workflows(max_steps=4))
    script = data.draw(scripts(drawn))

    laws.check(simulate(drawn, script=script, tape=data.draw(tapes())))


# ── Scenarios ────────────────────────────────────────────────────────────────────────────────


def test_the_smallest_scenario_has_one_plain_step():
    """In one run, without faults."""
    plain = ScenarioStep(id="a", async_=True)

    assert Scenario(steps=(plain,)) == smallest(scenarios(), lambda _one: True)


def test_a_scenario_shrinks_to_the_steps_that_matter():
    """Rows in between are dropped, and dependencies with them."""
    one = smallest(scenarios(), lambda one: len(one.steps) > 1 and one.steps[-1].timeout == 2.0)

    assert 2 == one.size
    assert 2 == one.deviations - sum(step.async_ for step in one.steps) + 1


def test_hypothesis_and_plain_chance_draw_the_same_scenarios():
    """Whatever chance comes upon, Hypothesis can shrink."""
    wanted = draw_scenario(random.Random(5), max_steps=2).steps[0].retry

    found = smallest(scenarios(), lambda one: one.steps[0].retry == wanted)

    assert wanted == found.steps[0].retry


def test_what_does_not_exist_is_not_found():
    """The searches above can fail."""
    with pytest.raises(NoSuchExample):
        find(
            scenarios(max_steps=2),
            lambda one: len(one.steps) > 2,
            settings=settings(SEARCH, max_examples=50),
        )


@pytest.mark.parametrize("drawn", [scenarios, workflows])
@pytest.mark.parametrize("most", [0, True, "two"])
def test_a_number_of_steps_that_is_none_is_refused(drawn, most):
    """By its name, and not in the words of what draws them."""
    with pytest.raises(DefinitionError, match=f"max_steps is {most!r}. Give a whole number, 1"):
        find(drawn(max_steps=most), lambda _: True, settings=SEARCH)


@settings(deadline=None)
@given(scenarios(max_steps=4), tapes())
def test_drawn_scenarios_keep_the_laws(one, tape):
    """All of them; the soak tries more."""
    laws.check(one.simulate(tape))


def test_a_falsified_test_shows_what_can_be_pasted():
    """Scenarios and tapes by their literals, not by the bytes that they were drawn from."""

    @settings(SEARCH, max_examples=200)
    @given(scenarios(), tapes())
    def fails(one, tape):
        assert not one.steps[0].timeout or not tape

    with pytest.raises(AssertionError) as caught:
        fails()

    shown = "\n".join(caught.value.__notes__)
    assert "one=Scenario(steps=(ScenarioStep(id='a', async_=True, timeout=" in shown
    assert "tape=Tape({" in shown


def test_a_drawn_script_can_be_pasted():
    """Its repr makes it anew."""
    script = smallest(scripts(RETRIED), lambda one: isinstance(one.of("a", 2), Hangs))

    assert repr(script).startswith("Script({'a': [returns(after=None), hangs()")
    assert isinstance(script, Script)


def test_scripts_are_drawn_for_a_workflow():
    """And not for its name."""
    with pytest.raises(DefinitionError, match=r"'prices' is not a workflow\. Pass the Workflow"):
        find(scripts("prices"), lambda _: True)
