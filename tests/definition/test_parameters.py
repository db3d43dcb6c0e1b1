"""A step's function gets its arguments by the names of its parameters."""

from __future__ import annotations

import functools
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorflow.definition.parameters import (
    Parameter,
    StepInputs,
    bind,
    is_coroutine,
    name_of,
    path_of,
    read_parameters,
)
from actorflow.errors.definition import DefinitionError


def plain(fetch, *, limit=10):
    """A function with two parameters by name."""


async def awaited():
    """A coroutine function."""


def generator():
    """A generator function."""
    yield 1


async def async_generator():
    """An asynchronous generator function."""
    yield 1


@functools.wraps(plain)
def wrapper(**given):
    """Stand in front of another function, as decorators do."""
    return plain(**given)


class Callables:
    """Callables of every other kind."""

    def __call__(self, fetch):
        """Make the object itself a step."""

    def method(self, fetch):
        """Be bound."""

    async def coroutine(self, fetch):
        """Be bound and awaited."""


class AwaitedCall:
    """An object whose call is awaited."""

    async def __call__(self):
        """Be awaited."""


class GeneratorCall:
    """An object whose call yields."""

    def __call__(self):
        """Yield."""
        yield 1


def positional(fetch, /):
    """Take an argument that has no name for the caller."""


def variadic(*args):
    """Take anything."""


def options(**extra):
    """Take anything by name."""


@pytest.mark.parametrize(
    ("run", "awaitable"),
    [
        (plain, False),
        (awaited, True),
        (functools.partial(plain, limit=1), False),
        (functools.partial(functools.partial(awaited)), True),
        (Callables().method, False),
        (Callables().coroutine, True),
        (Callables(), False),
        (AwaitedCall(), True),
        (functools.partial(AwaitedCall()), True),
        (AwaitedCall, False),
        (print, False),
    ],
)
def test_a_coroutine_function_is_recognised_in_every_form(run, awaitable):
    """What decides is what a call gives."""
    assert awaitable is is_coroutine(run)


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (plain, [Parameter("fetch", has_default=False), Parameter("limit", has_default=True)]),
        (Callables(), [Parameter("fetch", has_default=False)]),
        (Callables().method, [Parameter("fetch", has_default=False)]),
        (functools.partial(plain, "bound"), [Parameter("limit", has_default=True)]),
        (functools.partial(plain, limit=3), [Parameter("fetch", has_default=False)]),
        (functools.partial(functools.partial(plain, limit=3), "bound"), []),
        (wrapper, [Parameter("fetch", has_default=False), Parameter("limit", has_default=True)]),
    ],
    ids=["function", "object", "method", "positional", "keyword", "both", "wrapper"],
)
def test_the_parameters_are_those_that_are_still_open(run, expected):
    """What a partial has bound is the author's word, and no run input overrides it."""
    assert tuple(expected) == read_parameters("s", run)


@pytest.mark.parametrize(
    ("run", "text"),
    [
        (
            Callables.method,
            (
                "step 's': parameter 'self' of method() is an object that is missing. "
                "Use the method of an object, as in flow.step(thing.method), or a function."
            ),
        ),
        (
            positional,
            (
                "step 's': parameter 'fetch' of positional() is positional-only. "
                "Remove the / from its signature, or wrap it in a function."
            ),
        ),
        (
            len,
            (
                "step 's': parameter 'obj' of len() is positional-only. "
                "Remove the / from its signature, or wrap it in a function."
            ),
        ),
        (
            variadic,
            (
                "step 's': variadic() takes *args. "
                "Name each parameter, or take `inputs`, which holds all of them."
            ),
        ),
        (
            options,
            (
                "step 's': options() takes **extra. "
                "Name each parameter, or take `inputs`, which holds all of them."
            ),
        ),
        (
            dict,
            ("step 's': dict() has no readable signature. Wrap it in a function that names them."),
        ),
        (
            generator,
            (
                "step 's': generator() is a generator, and a step has one output. "
                "Return a list, or wrap it in a function."
            ),
        ),
        (
            async_generator,
            (
                "step 's': async_generator() is a generator, and a step has one output. "
                "Return a list, or wrap it in a function."
            ),
        ),
        (
            functools.partial(GeneratorCall()),
            (
                "step 's': GeneratorCall() is a generator, and a step has one output. "
                "Return a list, or wrap it in a function."
            ),
        ),
        (42, "step 's': run must be a function; got 42."),
        (
            None,
            "step 's': run must be a function; got None. Did you write f() instead of f?",
        ),
    ],
    ids=[
        "method",
        "positional-only",
        "builtin",
        "args",
        "kwargs",
        "no signature",
        "generator",
        "async generator",
        "generator object",
        "no function",
        "the result of one",
    ],
)
def test_a_function_that_cannot_be_called_by_names_is_refused(run, text):
    """The text names the step, the parameter and the cure."""
    with pytest.raises(DefinitionError) as caught:
        read_parameters("s", run)

    assert text == str(caught.value)


def bound(run, dependencies=None, steps=()):
    """The binding of a step `s` with these dependencies, by id and whether required."""
    dependencies = dependencies or {}
    return bind(
        "s",
        run,
        read_parameters("s", run),
        dependencies=dependencies,
        steps={"s", *dependencies, *steps},
    )


@pytest.mark.parametrize(
    ("run", "dependencies", "text"),
    [
        (
            lambda enrich: enrich,
            {},
            (
                "step 's': parameter 'enrich' of <lambda>() names a step that is not among its "
                "dependencies. Add after='enrich', or rename the parameter."
            ),
        ),
        (
            lambda enrich: enrich,
            {"fetch": True},
            (
                "step 's': parameter 'enrich' of <lambda>() names a step that is not among its "
                "dependencies. Make it after=['fetch', 'enrich'], or rename the parameter."
            ),
        ),
        (
            lambda s: s,
            {},
            "step 's': parameter 's' of <lambda>() names the step itself. Rename the parameter.",
        ),
        (
            lambda enrich: enrich,
            {"enrich": False},
            (
                "step 's': parameter 'enrich' of <lambda>() has no default, and step 'enrich' is "
                "optional and may be skipped. Give it one, such as enrich=None."
            ),
        ),
    ],
    ids=["not a dependency", "not one of them", "itself", "optional"],
)
def test_a_parameter_that_names_a_step_it_cannot_count_on_is_refused(run, dependencies, text):
    """The text names the step, the parameter and the cure."""
    with pytest.raises(DefinitionError) as caught:
        bound(run, dependencies, steps=["enrich"])

    assert text == str(caught.value)


def test_a_default_does_not_excuse_a_parameter_named_after_another_step():
    """Its value would always be the default, which nobody means."""
    with pytest.raises(DefinitionError, match="not among its dependencies"):
        bound(lambda enrich=None: enrich, steps=["enrich"])


def test_each_parameter_gets_what_its_name_says():
    """The context, all inputs, a dependency's output, and a run input."""

    def step(fetch, url, ctx, inputs):
        """Take one of each."""

    context = object()

    arguments = bound(step, {"fetch": True}).arguments(
        {"url": "u", "day": 1}, {"fetch": 2}, context
    )

    assert {"fetch", "url", "ctx", "inputs"} == set(arguments)
    assert (2, "u", context) == (arguments["fetch"], arguments["url"], arguments["ctx"])
    assert {"url": "u", "day": 1, "fetch": 2} == dict(arguments["inputs"])


def test_a_skipped_dependency_is_absent():
    """Its parameter takes the default, and `inputs` has no such key."""

    def step(enrich=None, *, inputs):
        """Do without."""

    binding = bound(step, {"enrich": False})

    arguments = binding.arguments({"enrich": "a run input"}, {}, None)

    assert {"inputs"} == set(arguments)
    assert {} == dict(arguments["inputs"])


def test_inputs_hold_outputs_in_the_order_in_which_the_step_names_them():
    """Not in that of their completion: who joins them gets the same in every schedule."""

    def step(inputs):
        """Take all."""

    binding = bound(step, {"a": True, "b": False, "c": True})

    both = binding.arguments({"url": "u"}, {"c": 3, "b": 2, "a": 1}, None)["inputs"]
    some = binding.arguments({"url": "u"}, {"c": 3, "a": 1}, None)["inputs"]

    assert ["url", "a", "b", "c"] == list(both)
    assert ["url", "a", "c"] == list(some)


def test_an_optional_dependency_that_completed_is_given():
    """Being optional changes nothing for a step that went well."""
    binding = bound(lambda enrich=None: enrich, {"enrich": False})

    assert {"enrich": 5} == binding.arguments({}, {"enrich": 5}, None)


def test_a_default_makes_a_run_input_optional():
    """It is given when the run has it."""
    binding = bound(lambda day=1: day)

    assert {} == binding.arguments({}, {}, None)
    assert {"day": 2} == binding.arguments({"day": 2}, {}, None)


def test_a_dependency_wins_over_a_run_input_of_the_same_name():
    """In `inputs` the id of a step always means its output."""
    binding = bound(lambda inputs: inputs, {"fetch": True})

    arguments = binding.arguments({"fetch": "input"}, {"fetch": "output"}, None)

    assert "output" == arguments["inputs"]["fetch"]


names = st.lists(st.sampled_from([*"abcdefgh", "ctx", "inputs"]), unique=True, min_size=1)


@given(names, st.data())
def test_the_arguments_are_complete(parameters, data):
    """Every legal function can be called with what it gets, whatever was skipped or left out."""
    defaulted = {name for name in parameters if data.draw(st.booleans(), label=f"{name}=")}
    dependencies = {
        name: name not in defaulted or data.draw(st.booleans(), label=f"{name} required")
        for name in parameters
        if name not in {"ctx", "inputs"} and data.draw(st.booleans(), label=f"{name} is a step")
    }
    signature = ", ".join(f"{name}=0" if name in defaulted else name for name in parameters)
    function = eval(f"lambda *, {signature}: dict(locals())")  # noqa: S307 - our own text
    outputs = {
        name: 1
        for name, required in dependencies.items()
        if required or data.draw(st.booleans(), label=f"{name} completed")
    }
    inputs = {
        name: 2
        for name in parameters
        if name not in dependencies
        and (name not in defaulted or data.draw(st.booleans(), label=f"{name} given"))
    }

    seen = function(**bound(function, dependencies).arguments(inputs, outputs, "context"))

    visible = {**inputs, **outputs}
    expected = {name: visible.get(name, 0) for name in parameters}
    special = {"ctx": "context", "inputs": visible}
    assert {name: special.get(name, value) for name, value in expected.items()} == seen


def test_inputs_cannot_be_written():
    """They are shared by every step of the run."""
    inputs = StepInputs({"url": "u"})

    with pytest.raises(TypeError):
        inputs["url"] = "v"


def test_inputs_are_a_mapping_like_any_other():
    """Equal to a dictionary, and of its length."""
    inputs = StepInputs({"url": "u"})

    assert inputs == {"url": "u"}
    assert 1 == len(inputs)
    assert "url" in inputs
    assert "u" == inputs.get("url")
    assert (None, 3) == (inputs.get("day"), inputs.get("day", 3))


def test_asking_inputs_for_what_may_not_be_there_makes_no_text(monkeypatch):
    """Finding what was meant takes a while, where a step waits for thousands."""
    monkeypatch.setattr("actorflow.definition.parameters.did_you_mean", pytest.fail)

    assert 3 == StepInputs({"url": "u"}).get("ulr", 3)


@pytest.mark.parametrize(
    ("values", "there"),
    [
        ({}, "nothing"),
        ({"url": 1, "fetch": 2}, "'url', 'fetch'"),
        ({"url": 1, "enrcih": 2}, "'url', 'enrcih'. Did you mean 'enrcih'?"),
        (
            dict.fromkeys(map(str, range(21))),
            f"{', '.join(map(repr, map(str, range(20))))} and 1 more",
        ),
    ],
    ids=["nothing", "others", "near", "many"],
)
def test_a_key_that_inputs_do_not_have_is_explained(values, there):
    """The usual cause is a step that is no dependency, or one that was skipped."""
    with pytest.raises(KeyError) as caught:
        StepInputs(values)["enrich"]

    assert (
        f"'enrich' is neither a run input nor a dependency that completed; there is {there}"
    ) == caught.value.args[0]


def test_inputs_can_be_pickled():
    """They travel to steps in other processes."""
    inputs = StepInputs({"url": "u"})

    assert inputs == pickle.loads(pickle.dumps(inputs))  # noqa: S301 - our own bytes


@pytest.mark.parametrize(
    ("run", "name", "path"),
    [
        (plain, "plain()", f"{__name__}:plain"),
        (functools.partial(plain, limit=1), "plain()", f"{__name__}:plain"),
        (Callables().method, "method()", f"{__name__}:Callables.method"),
        (Callables(), "Callables()", f"{__name__}:Callables"),
        (len, "len()", "builtins:len"),
    ],
    ids=["function", "partial", "method", "object", "builtin"],
)
def test_a_function_is_named_without_its_address(run, name, path):
    """A text with an address in it is another one in every process."""
    assert (name, path) == (name_of(run), path_of(run))
