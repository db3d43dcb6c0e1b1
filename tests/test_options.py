"""The options of a step: everything that reads them knows each of them.

A new option needs a line in `SAID`; each test below then asks one reader for it.
"""

from __future__ import annotations

import inspect
import random

import attrs
import pytest

from actorflow.definition.builders import StepBuilder
from actorflow.definition.options import Option, declared_options, option
from actorflow.definition.retry import RetryPolicy
from actorflow.definition.workflow import Step, StepOptions, Workflow
from actorflow.testing import Replay, ScenarioStep, Tape, draw_scenario
from actorflow.testing.search.cases import given
from actorflow.testing.search.scenarios import DRAWN
from actorflow.views.tree import options_of


def work():
    """Be a step."""


def undo():
    """Undo it."""


# For each option a value that is not its default.
SAID = {
    "name": "Another",
    "description": "words",
    "after": ("before",),
    "async_": True,
    "executor": "gpu",
    "timeout": 5.0,
    "total_timeout": 60.0,
    "retry": RetryPolicy(max_attempts=2),
    "required": False,
    "priority": 10,
    "expected": 2.5,
    "compensate": undo,
}
OPTIONS = declared_options(Step)
FIELDS = attrs.fields_dict(Step)

each_option = pytest.mark.parametrize("name", OPTIONS)


def flow_of(*steps):
    """A workflow with these steps after a first one."""
    flow = Workflow("w")
    for step in (Step("before", work), *steps):
        flow.add(step)
    return flow


def with_option(name):
    """A step that differs from a plain one by this option."""
    return Step("a", work, **{name: SAID[name]})


PLAIN = Step("a", work)


# ── The declaration ──────────────────────────────────────────────────────────────────────────


def test_every_parameter_of_a_step_is_a_declared_option():
    """Except for its id and its function."""
    parameters = list(inspect.signature(Step).parameters)

    assert ["id", "run", *OPTIONS] == parameters
    assert list(OPTIONS) == list(SAID)


@each_option
def test_the_example_of_each_option_is_not_its_default(name):
    """The tests below would pass without any effect if it were."""
    assert getattr(PLAIN, name) != getattr(with_option(name), name)


@pytest.mark.parametrize("fact", ["inherited", "phrase", "scenario"])
def test_a_fact_that_has_no_default_must_be_stated(fact):
    """A module that defines such an option cannot be imported."""
    facts = {"inherited": True, "phrase": None, "scenario": None}
    del facts[fact]

    with pytest.raises(TypeError, match=fact):
        option("with_pool", **facts)


def test_only_simulated_options_are_replayed_unless_it_is_stated():
    """A schedule depends on no others."""
    facts = {"builder": None, "inherited": True, "phrase": None}

    assert [False, True, True] == [
        Option(**facts, scenario=one).replayed for one in (None, "undo", (1, 2))
    ]


# ── Definitions ──────────────────────────────────────────────────────────────────────────────


def test_type_checkers_know_the_options_of_the_decorator():
    """`after` has a type of its own there."""
    assert [name for name in OPTIONS if name != "after"] == list(StepOptions.__annotations__)


@each_option
def test_the_decorator_passes_each_option_on(name):
    """Both spellings define the same step."""
    flow = flow_of()

    flow.step(id="a", **{name: SAID[name]})(work)

    assert with_option(name) == flow.steps["a"]


@each_option
def test_the_builder_sets_each_option(name):
    """By the declared method, or by the constructor's argument."""
    method = OPTIONS[name].builder
    builder = StepBuilder("a", SAID["name"] if method is None else "a", work)
    value = SAID[name]

    if method is not None:
        getattr(builder, method)(*value if name == "after" else (value,))

    assert with_option(name) == builder.build()


def test_the_builder_has_no_other_methods():
    """Each method belongs to one option."""
    methods = [name for name in vars(StepBuilder) if name.startswith("with_")]

    assert [one.builder for one in OPTIONS.values() if one.builder is not None] == methods


@each_option
def test_the_fingerprint_covers_all_that_can_change_an_outcome(name):
    """A definition that does something else is another definition."""
    before, after = (flow_of(one).plan().fingerprint for one in (PLAIN, with_option(name)))

    assert (before == after) is OPTIONS[name].changes_nothing


@each_option
def test_a_bare_compensator_has_the_inherited_options(name):
    """All others are at their defaults."""
    step = attrs.evolve(with_option(name), compensate=undo)

    had, expected = step.compensation, with_option(name) if OPTIONS[name].inherited else PLAIN
    assert getattr(expected, name) == getattr(had, name)


@each_option
def test_a_listing_shows_each_option_that_has_a_phrase(name):
    """Its own phrase, and no other."""
    phrase = OPTIONS[name].phrase

    assert [] == list(options_of(PLAIN))
    assert ([] if phrase is None else [phrase.format(SAID[name])]) == list(
        options_of(with_option(name))
    )


# ── Simulations ──────────────────────────────────────────────────────────────────────────────


@each_option
def test_a_replay_reports_changes_of_the_options_that_it_holds(name):
    """In both directions, after it was saved."""
    plain, other = flow_of(PLAIN), flow_of(with_option(name))

    for before, now in ((plain, other), (other, plain)):
        saved = Replay.of(given(before), Tape(), flow=None).to_json()
        changes = Replay.from_json(saved).changes(now)
        found = [text.partition(" of step 'a' is ")[0] for text in changes]
        assert ([name] if OPTIONS[name].replayed else []) == found


@each_option
def test_a_replay_that_is_older_than_an_option_had_its_default(name):
    """An unchanged step is not reported, and a changed one is."""
    replay = Replay.of(given(flow_of(PLAIN)), Tape(), flow=None)
    shape = {id_: {**step} for id_, step in replay.shape.items()}
    for step in shape.values():
        step.pop(name, None)
    older = attrs.evolve(replay, shape=shape)

    assert [] == older.changes(flow_of(PLAIN))
    assert OPTIONS[name].replayed == bool(older.changes(flow_of(with_option(name))))


def test_every_field_of_a_made_up_step_is_declared():
    """It stands for an option, or says what the step is and does."""
    stands_for = {
        name if isinstance(one.scenario, tuple) else one.scenario for name, one in OPTIONS.items()
    } - {None}

    assert stands_for | {"id", "on_thread", "does", "waits"} == set(attrs.fields_dict(ScenarioStep))


@pytest.mark.parametrize(
    "name", [name for name, one in OPTIONS.items() if isinstance(one.scenario, tuple)]
)
def test_a_made_up_step_has_the_options_of_a_step(name):
    """With the same default, drawn from the declared values, and passed on as they are."""
    field = attrs.fields_dict(ScenarioStep)[name]

    assert FIELDS[name].default == field.default
    assert OPTIONS[name].scenario == field.metadata[DRAWN]
    for value in OPTIONS[name].scenario:
        assert value == getattr(ScenarioStep(id="a", **{name: value}).step(), name)


def test_made_up_workflows_vary_the_declared_options_and_no_others():
    """Whether a scenario has its own way for them or not."""
    chance = random.Random(1)
    flows = [draw_scenario(chance).flow for _ in range(300)]
    steps = [step for flow in flows for step in flow.steps.values()]
    plain = {name: {getattr(Step(step.id, work), name) for step in steps} for name in OPTIONS}

    varied = [name for name in OPTIONS if {getattr(step, name) for step in steps} != plain[name]]

    assert [name for name, one in OPTIONS.items() if one.scenario is not None] == varied
