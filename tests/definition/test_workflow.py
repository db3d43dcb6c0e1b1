"""Workflows: how steps are collected, and what is refused."""

from __future__ import annotations

import attrs
import pytest

from actorflow.definition.workflow import Step, Workflow
from actorflow.errors.definition import DefinitionError

NO_NUMBER = "must be a positive number of seconds or a timedelta; got"


def nothing():
    """Do nothing, as a step."""


def chain(*ids, **options):
    """A workflow in which each step waits for the one before it."""
    flow = Workflow("chain", **options)
    for place, step_id in enumerate(ids):
        flow.add(Step(step_id, nothing, after=ids[max(place - 1, 0) : place]))
    return flow


def flow_of(*steps):
    """A workflow with these steps."""
    flow = Workflow("w")
    for step in steps:
        flow.add(step)
    return flow


def test_a_workflow_has_plain_defaults():
    """Its id is its name."""
    flow = Workflow("report")

    assert ("report", "report", "1.0.0", "") == (
        flow.id,
        flow.name,
        flow.version,
        flow.description,
    )
    assert ({}, None, True) == (flow.metadata, flow.timeout, flow.fail_fast)


def test_metadata_is_copied_and_cannot_be_written():
    """A workflow is shared by all of its runs."""
    mine = {"owner": "ops"}
    flow = Workflow("report", metadata=mine)
    mine["owner"] = "dev"

    with pytest.raises(TypeError):
        flow.metadata["owner"] = "dev"

    assert {"owner": "ops"} == flow.metadata


@pytest.mark.parametrize("field", ["id", "version", "timeout", "fail_fast"])
def test_what_a_workflow_was_made_with_cannot_be_changed(field):
    """A plan that was taken before would not know of it."""
    with pytest.raises(attrs.exceptions.FrozenAttributeError):
        setattr(Workflow("report"), field, None)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Workflow(""), "a workflow's id is ''. Give a non-empty string."),
        (
            lambda: Workflow("w", name=""),
            "workflow 'w': its name is ''. Give a non-empty string.",
        ),
        (
            lambda: Workflow("w", version=2),
            "workflow 'w': its version is 2. Give a non-empty string.",
        ),
        (
            lambda: Workflow("w", description=None),
            "workflow 'w': description is None. Give a string.",
        ),
        (
            lambda: Workflow("w", metadata=[1]),
            "a workflow's metadata is [1]. Give a mapping.",
        ),
        (lambda: Workflow("w", timeout=0), f"workflow 'w': timeout {NO_NUMBER} 0.0."),
        (
            lambda: Workflow("w", fail_fast="no"),
            "workflow 'w': fail_fast is 'no'. Give True or False.",
        ),
        *(
            (
                lambda order=order: Workflow("w", order=order),
                f"workflow 'w': order is {order!r}. Give 'readiness' or 'critical_path'.",
            )
            for order in ("x", None, ["readiness"])
        ),
        (
            lambda: Workflow("w").add("fetch"),
            (
                "workflow 'w': 'fetch' is not a Step. Give a Step, or decorate the function with "
                "@flow.step; call .build() on a builder."
            ),
        ),
        (
            lambda: Workflow("w").step("fetch"),
            "workflow 'w': a step's function is the string 'fetch'. Write @flow.step(id='fetch').",
        ),
        (
            lambda: Workflow("w").step(id="a", timeout=0)(nothing),
            f"workflow 'w', step 'a': timeout {NO_NUMBER} 0.0.",
        ),
        (
            lambda: Workflow("w").step(id="")(nothing),
            "workflow 'w': a step's id is ''. Give a non-empty string.",
        ),
        (
            lambda: Workflow("w").step(id="a", after=nothing)(nothing),
            (
                "workflow 'w', step 'a': after names the function nothing(), which is not a step "
                "of it. Decorate it with this workflow's step, or name a step by its id."
            ),
        ),
        (
            lambda: Workflow("w").step(attrs.Factory(list)),
            (
                "workflow 'w': Factory() has no name to take the step's id from. "
                "Give it: flow.step(id=...)."
            ),
        ),
    ],
)
def test_an_illegal_workflow_does_not_exist(make, text):
    """The text names the workflow, the field and the value, and says what is legal."""
    with pytest.raises(DefinitionError) as caught:
        make()

    assert text == str(caught.value)


def test_the_decorator_leaves_the_function_as_it_was():
    """It can be called and tested alone, in both spellings."""
    flow = Workflow("report")

    def fetch():
        return 1

    def store():
        return 2

    assert fetch is flow.step(fetch)
    assert store is flow.step(after="fetch", priority=3)(store)
    assert [("fetch", fetch), ("store", store)] == [(it.id, it.run) for it in flow.steps.values()]
    assert (("fetch",), 3) == (flow.steps["store"].after, flow.steps["store"].priority)


@pytest.mark.parametrize("decorate", [lambda it: it(nothing), lambda it: it], ids=["whole", "half"])
def test_an_option_that_there_is_not_is_refused_by_the_decorator(decorate):
    """At once, with what may be meant; nothing becomes a step."""
    flow = Workflow("report")

    with pytest.raises(TypeError) as caught:
        decorate(flow.step(asnyc_=True))

    assert str(caught.value).startswith(
        "flow.step has no option 'asnyc_'. Did you mean 'async_'? Its options are: id, after, name,"
    )
    assert {} == flow.steps


def test_an_option_of_a_workflow_that_there_is_not_is_refused():
    """With what may be meant."""
    with pytest.raises(TypeError, match=r"Workflow has no option 'timout'. Did you mean 'timeout'"):
        Workflow("report", timout=3)


def test_a_function_may_be_several_steps():
    """Each under an id of its own; then its name alone does not say which is meant."""
    flow = Workflow("report")
    flow.step(id="a")(nothing)
    flow.step(id="b")(nothing)

    with pytest.raises(DefinitionError) as caught:
        flow.step(id="c", after=nothing)(nothing)

    assert (
        "workflow 'report', step 'c': after names the function nothing(), which is the steps "
        "a, b. Name the step by its id."
    ) == str(caught.value)


def test_a_bound_method_is_recognised_as_a_dependency():
    """Python makes a new object each time one is taken from its instance."""

    class Source:
        def fetch(self):
            """Be a step."""

    source = Source()
    flow = Workflow("report")
    flow.step(source.fetch)
    flow.step(id="store", after=source.fetch)(nothing)

    assert ("fetch",) == flow.steps["store"].after


def test_adding_gives_the_step_back():
    """So that others can be put after it."""
    flow = Workflow("report")

    fetch = flow.add(Step("fetch", nothing))
    flow.add(Step("store", nothing, after=fetch))

    assert ["fetch", "store"] == list(flow.steps)


def test_the_steps_cannot_be_written_from_outside():
    """They are a view."""
    with pytest.raises(TypeError):
        Workflow("report").steps["fetch"] = Step("fetch", nothing)


def test_a_duplicate_step_id_is_refused():
    """The second one would silently never run."""
    flow = Workflow("report")
    flow.add(Step("fetch", nothing))

    with pytest.raises(DefinitionError) as caught:
        flow.add(Step("fetch", nothing))

    assert (
        "workflow 'report', step 'fetch': its id is taken by another step. "
        "Give one of them another id."
    ) == str(caught.value)


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ([], "workflow 'w': it has no steps. Add one with @flow.step or flow.add."),
        (
            [Step("a", nothing), Step("b", nothing, after="c")],
            (
                "workflow 'w', step 'b': it depends on 'c', which is not a step of this workflow. "
                "Add it, or name one of: 'a'."
            ),
        ),
        (
            [Step("b", nothing, after="c")],
            (
                "workflow 'w', step 'b': it depends on 'c', which is not a step of this workflow. "
                "Add it."
            ),
        ),
        (
            [Step("a", nothing, after="a")],
            (
                "workflow 'w': its steps wait for each other: a -> a. "
                "Remove one of these dependencies."
            ),
        ),
        (
            [Step("a", nothing, after="b"), Step("b", nothing, after="a")],
            (
                "workflow 'w': its steps wait for each other: a -> b -> a. "
                "Remove one of these dependencies."
            ),
        ),
        (
            [Step("a", nothing), Step("b", lambda a: a)],
            (
                "workflow 'w', step 'b': parameter 'a' of <lambda>() names a step that is not "
                "among its dependencies. Add after='a', or rename the parameter."
            ),
        ),
        (
            [Step("a", nothing, required=False), Step("b", lambda a: a, after="a")],
            (
                "workflow 'w', step 'b': parameter 'a' of <lambda>() has no default, and step 'a' "
                "is optional and may be skipped. Give it one, such as a=None."
            ),
        ),
        (
            [Step("a", nothing), Step("b", nothing, compensate=lambda a: a)],
            (
                "workflow 'w', step 'b': parameter 'a' of <lambda>() names a step that is not "
                "among its dependencies. Add after='a', or rename the parameter."
            ),
        ),
    ],
    ids=["no steps", "unknown", "alone", "itself", "cycle", "stranger", "optional", "compensator"],
)
def test_steps_that_do_not_fit_together_are_refused(steps, text):
    """By `validate`, and by all that works on a plan, with the same text."""
    flow = flow_of(*steps)

    for ask in (flow.validate, flow.plan, lambda: flow.required_inputs):
        with pytest.raises(DefinitionError) as caught:
            ask()
        assert text == str(caught.value)


def test_a_workflow_that_was_refused_can_be_mended():
    """A step that was named before it was defined is a forward reference."""
    flow = flow_of(Step("b", nothing, after="a"))
    with pytest.raises(DefinitionError, match="not a step of this workflow"):
        flow.validate()

    flow.add(Step("a", nothing))

    flow.validate()
    assert ["a", "b"] == [step.id for step in flow.plan().steps]


def test_a_long_cycle_is_told_by_its_ends():
    """A text of fifty thousand ids helps nobody."""
    ids = [f"s{number}" for number in range(50_000)]
    flow = flow_of(
        *(Step(step_id, nothing, after=ids[place - 1]) for place, step_id in enumerate(ids))
    )

    with pytest.raises(DefinitionError) as caught:
        flow.validate()

    assert "s0 -> s1 -> s2" in caught.value.problem
    assert "s9 -> (49981 more) -> s49991" in caught.value.problem
    assert caught.value.problem.endswith("s49999 -> s0")


@pytest.mark.slow
def test_a_chain_of_fifty_thousand_steps_has_a_plan():
    """Nothing in the way from definitions to a plan recurses."""
    ids = [f"s{number}" for number in range(50_000)]

    plan = chain(*ids).plan()

    assert ids == [step.id for step in plan.steps]
    assert ("s49999",) == plan.last_steps
