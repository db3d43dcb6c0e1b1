"""A step is complete and legal once it exists."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest

from actorflow.definition.builders import RetryPolicyBuilder, StepBuilder
from actorflow.definition.retry import RetryPolicy
from actorflow.definition.workflow import Step
from actorflow.errors.definition import DefinitionError

NO_NUMBER = "must be a positive number of seconds or a timedelta; got"


def nothing():
    """Do nothing, as a step."""


def test_a_step_has_plain_defaults():
    """Tried once, in the sync lane, required, without limits."""
    step = Step("fetch", nothing)

    assert ("fetch", "fetch", nothing, "") == (step.id, step.name, step.run, step.description)
    assert ((), False, True, 0) == (step.after, step.async_, step.required, step.priority)
    assert {None} == {
        step.executor,
        step.timeout,
        step.total_timeout,
        step.retry,
        step.compensate,
    }


def test_a_step_is_frozen():
    """It may belong to several workflows."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Step("fetch", nothing).priority = 1


def test_durations_of_a_step_are_kept_as_float_seconds():
    """They may be written as numbers or as timedeltas."""
    step = Step("fetch", nothing, timeout=2, total_timeout=timedelta(minutes=1))

    assert (2.0, 60.0) == (step.timeout, step.total_timeout)
    assert {float} == {type(step.timeout), type(step.total_timeout)}


@pytest.mark.parametrize(
    ("after", "ids"),
    [
        ("fetch", ("fetch",)),
        (Step("fetch", nothing), ("fetch",)),
        (["a", Step("b", nothing)], ("a", "b")),
        (("a",), ("a",)),
    ],
    ids=["id", "step", "list", "tuple"],
)
def test_dependencies_are_ids_or_steps(after, ids):
    """One of them needs no list."""
    assert ids == Step("x", nothing, after=after).after


def test_an_async_function_makes_a_coroutine_step():
    """Whether it is awaited is known from the function alone."""

    async def fetch():
        """Be awaited."""

    assert Step("fetch", fetch).is_coroutine
    assert not Step("fetch", nothing, async_=True).is_coroutine


def test_equal_steps_are_equal_however_they_are_written():
    """Lists, steps and timedeltas are brought to one form."""
    one = Step("b", nothing, after=[Step("a", nothing)], timeout=timedelta(seconds=2))
    other = Step("b", nothing, after="a", timeout=2)

    assert one == other
    assert hash(one) == hash(other)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: Step("", nothing),
            "a step's id is ''. Give a non-empty string.",
        ),
        (
            lambda: Step(5, nothing),
            "a step's id is 5. Give a non-empty string.",
        ),
        (
            lambda: Step("ctx", nothing),
            (
                "step 'ctx': its id is reserved. "
                "Choose another one: a parameter of this name has a special meaning."
            ),
        ),
        (
            lambda: Step("inputs", nothing),
            (
                "step 'inputs': its id is reserved. "
                "Choose another one: a parameter of this name has a special meaning."
            ),
        ),
        (
            lambda: Step("a", nothing, name=" "),
            "step 'a': its name is ' '. Give a non-empty string.",
        ),
        (lambda: Step("a", 42), "step 'a': run must be a function; got 42."),
        (
            lambda: Step("a", nothing, description=None),
            "step 'a': description is None. Give a string.",
        ),
        (
            lambda: Step("a", nothing, after={"b"}),
            (
                "step 'a': after holds {'b'}. "
                "Give several step ids as a list or a tuple, not as a set."
            ),
        ),
        (
            lambda: Step("a", nothing, after=(["b", "c"],)),
            ("step 'a': after holds ['b', 'c']. Give the ids one by one, not in a nested list."),
        ),
        (
            lambda: Step("a", nothing, after=None),
            (
                "step 'a': after holds None. "
                "Leave after out for a step without dependencies, or give step ids."
            ),
        ),
        (
            lambda: Step("a", nothing, after=len),
            (
                "step 'a': after holds <built-in function len>. Give step ids; "
                "a decorated function is known to its own workflow's @flow.step only."
            ),
        ),
        (
            lambda: Step("a", nothing, after=[1]),
            "step 'a': after holds 1. Give step ids, or steps.",
        ),
        (
            lambda: Step("a", nothing, after=["b", "c", "b"]),
            "step 'a': after names 'b' twice. Name it once.",
        ),
        (
            lambda: Step("a", nothing, async_="yes"),
            "step 'a': async_ is 'yes'. Give True or False.",
        ),
        (
            lambda: Step("a", nothing, required=1),
            "step 'a': required is 1. Give True or False.",
        ),
        (
            lambda: Step("a", nothing, executor=""),
            "step 'a': executor is ''. Give the name of one of the orchestrator's executors.",
        ),
        (lambda: Step("a", nothing, timeout=0), f"step 'a': timeout {NO_NUMBER} 0.0."),
        (lambda: Step("a", nothing, timeout="5"), f"step 'a': timeout {NO_NUMBER} '5'."),
        (lambda: Step("a", nothing, expected=-1), f"step 'a': expected {NO_NUMBER} -1.0."),
        (lambda: Step("a", nothing, expected=0), f"step 'a': expected {NO_NUMBER} 0.0."),
        (lambda: Step("a", nothing, expected=True), f"step 'a': expected {NO_NUMBER} True."),
        (
            lambda: Step("a", nothing, expected=float("nan")),
            f"step 'a': expected {NO_NUMBER} nan.",
        ),
        (
            lambda: Step("a", nothing, total_timeout=-1),
            f"step 'a': total_timeout {NO_NUMBER} -1.0.",
        ),
        (
            lambda: Step("a", nothing, retry=3),
            "step 'a': retry is 3. Give a RetryPolicy, such as RetryPolicy(max_attempts=3).",
        ),
        (
            lambda: Step("a", nothing, priority=1.5),
            "step 'a': priority is 1.5. Give a whole number.",
        ),
        (
            lambda: Step("a", nothing, priority=2**63),
            "step 'a': priority is 9223372036854775808. Give a whole number of at most 64 bits.",
        ),
        (
            lambda: Step("a", nothing, compensate=lambda *args: args),
            (
                "step 'a': <lambda>() takes *args. "
                "Name each parameter, or take `inputs`, which holds all of them."
            ),
        ),
        (
            lambda: Step("a", nothing, compensate=Step("b", nothing, after="c")),
            (
                "step 'a': its compensator has after=. "
                "A compensator can have neither after= nor compensate=; leave them out."
            ),
        ),
        (
            lambda: Step("a", nothing, compensate="undo"),
            "step 'a': compensate must be a function; got 'undo'.",
        ),
    ],
)
def test_an_illegal_step_does_not_exist(make, text):
    """The text names the step, the field and the value, and says what is legal."""
    with pytest.raises(DefinitionError) as caught:
        make()

    assert text == str(caught.value)


@pytest.mark.parametrize("field", ["after", "retry"])
def test_a_builder_that_was_not_told_to_build_is_refused(field):
    """It collects keywords, and is nothing yet."""
    builder = RetryPolicyBuilder() if field == "retry" else StepBuilder("b", "B", nothing)

    with pytest.raises(DefinitionError, match=r"step 'a': .* Call \.build\(\) on a builder\."):
        Step("a", nothing, **{field: builder})


def test_a_generator_of_ids_is_refused_like_a_set():
    """It would be empty for whoever asks second."""
    with pytest.raises(DefinitionError, match="as a list or a tuple, not as a generator"):
        Step("a", nothing, after=(it for it in "bc"))


@pytest.mark.parametrize("make", [lambda **options: Step("a", nothing, **options), RetryPolicy])
def test_an_option_that_there_is_not_is_refused(make):
    """As Python refuses it, and with those that there are."""
    with pytest.raises(TypeError, match=r"has no option 'nmae'.* Its options are: "):
        make(nmae=1)
