"""The arguments of a step's function: each is found by the name of its parameter.

The names are read once, when the step is defined, and resolved once, when its workflow is compiled.
Each call then uses a `Binding`, which copies values into a dictionary.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

from actorflow.errors.definition import DefinitionError
from actorflow.support.read_only import merged
from actorflow.support.safe_text import text_of
from actorflow.support.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = [
    "RESERVED",
    "Binding",
    "Parameter",
    "StepInputs",
    "bind",
    "is_anonymous",
    "is_coroutine",
    "name_of",
    "path_of",
    "read_parameters",
]

CONTEXT: Final = "ctx"
INPUTS: Final = "inputs"
RESERVED: Final = (CONTEXT, INPUTS)
"""Parameter names with a special meaning, which cannot be ids of steps."""


# ── What a function is ───────────────────────────────────────────────────────────────────────


def is_coroutine(run: Callable[..., Any]) -> bool:
    """Return whether calling `run` returns a coroutine; partials and callable objects count too."""
    return _any_form(run, inspect.iscoroutinefunction)


def _is_generator(run: Callable[..., Any]) -> bool:
    return _any_form(run, inspect.isgeneratorfunction) or _any_form(run, inspect.isasyncgenfunction)


def _any_form(run: Callable[..., Any], holds: Callable[[object], bool]) -> bool:
    function = _unwrapped(run)
    return holds(function) or (not isinstance(function, type) and holds(type(function).__call__))


def _unwrapped(run: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(run, functools.partial):
        run = run.func
    return run


def name_of(run: Callable[..., Any]) -> str:
    """Return the name of a function for an error."""
    function = _unwrapped(run)
    return f"{getattr(function, '__name__', type(function).__name__)}()"


def path_of(run: Callable[..., Any]) -> str:
    """Return the module and the qualified name of a function, or of a callable's class."""
    function = _unwrapped(run)
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}:{named.__qualname__}"


def is_anonymous(run: Callable[..., Any]) -> bool:
    """Return whether other functions may have the same path: a lambda's, or a closure's."""
    function = _unwrapped(run)
    name = getattr(function, "__qualname__", "")
    # A decorated function is a closure as well, but has the name of the function within.
    is_closure = "<locals>" in name and getattr(function, "__closure__", None) is not None
    return name.endswith("<lambda>") or is_closure


class Parameter(NamedTuple):
    """A parameter that is filled by name."""

    name: str
    has_default: bool


def read_parameters(
    step_id: str, run: Callable[..., Any], field: str = "run"
) -> tuple[Parameter, ...]:
    """Return the parameters of a step's function, without those that a partial has bound.

    Args:
        step_id: The step, for errors.
        run: The function.
        field: The option of the step that holds it, for errors.

    Raises:
        DefinitionError: When the function cannot be called with keyword arguments alone.
    """
    _refuse_what_is_no_function(step_id, run, field)
    bound = run.keywords if isinstance(run, functools.partial) else ()
    parameters = tuple(
        Parameter(parameter.name, parameter.default is not inspect.Parameter.empty)
        for parameter in _signature(step_id, run).parameters.values()
        if _is_by_name(step_id, run, parameter) and parameter.name not in bound
    )
    _refuse_an_unbound_method(step_id, run, parameters[:1])
    return parameters


def _refuse_what_is_no_function(step_id: str, run: Any, field: str) -> None:
    if not callable(run):
        cure = "Did you write f() instead of f?" if run is None else ""
        problem = f"{field} must be a function; got {text_of(run)}"
        raise DefinitionError(None, problem, cure, step_id)
    if _is_generator(run):
        problem = f"{name_of(run)} is a generator, and a step has one output"
        raise DefinitionError(None, problem, "Return a list, or wrap it in a function", step_id)


def _refuse_an_unbound_method(
    step_id: str, run: Callable[..., Any], first: tuple[Parameter, ...]
) -> None:
    for parameter in first:
        if parameter.name in {"self", "cls"}:
            problem = f"parameter {parameter.name!r} of {name_of(run)} is an object that is missing"
            cure = "Use the method of an object, as in flow.step(thing.method), or a function"
            raise DefinitionError(None, problem, cure, step_id)


def _signature(step_id: str, run: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(run)
    except (TypeError, ValueError):
        problem = f"{name_of(run)} has no readable signature"
        cure = "Wrap it in a function that names them"
        raise DefinitionError(None, problem, cure, step_id) from None


_BY_NAME: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _is_by_name(step_id: str, run: Callable[..., Any], parameter: inspect.Parameter) -> bool:
    if parameter.kind in _BY_NAME:
        return True
    if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
        problem = f"parameter {parameter.name!r} of {name_of(run)} is positional-only"
        cure = "Remove the / from its signature, or wrap it in a function"
    else:
        problem = f"{name_of(run)} takes {parameter}"
        cure = "Name each parameter, or take `inputs`, which holds all of them"
    raise DefinitionError(None, problem, cure, step_id)


# ── What a step gets ─────────────────────────────────────────────────────────────────────────


_SHOWN: Final = 20


@attrs.frozen(eq=False)
class StepInputs(Mapping[str, Any]):
    """The `inputs` of a step: the run's inputs, and the outputs of the step's own dependencies.

    It is read-only, and it can be pickled, so that it can travel to other processes.
    """

    _values: Mapping[str, Any]

    def __getitem__(self, key: str) -> Any:
        try:
            return self._values[key]
        except KeyError:
            problem = f"{key!r} is neither a run input nor a dependency that completed"
            raise KeyError(f"{problem}; {self._what_there_is(key)}") from None

    def _what_there_is(self, key: object) -> str:
        names = [repr(name) for name in self._values]
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        question = did_you_mean(key, self._values)
        return (
            f"there is {', '.join(names[:_SHOWN]) or 'nothing'}{more}{question and f'.{question}'}"
        )

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, or the default, without building an error's text."""
        return self._values.get(key, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: object) -> bool:
        return key in self._values


@attrs.frozen(kw_only=True, eq=False)
class Binding:
    """The source of each argument of one step."""

    wants_context: bool
    wants_inputs: bool
    outputs: tuple[str, ...]
    """Parameters that are required dependencies, which have completed whenever the step runs."""
    optional_outputs: tuple[str, ...]
    """Parameters that are optional dependencies, which may have been skipped."""
    inputs: tuple[str, ...]
    """Parameters that are run inputs without a default."""
    optional_inputs: tuple[str, ...]
    dependencies: tuple[str, ...]
    """All dependencies in the order in which the step names them, parameters or not."""
    skippable: tuple[str, ...]
    """The optional ones among them."""
    takes_outputs_alone: bool
    """Whether the parameters are exactly the dependencies, and all of those are required."""

    def arguments(
        self, inputs: Mapping[str, Any], outputs: Mapping[str, Any], ctx: object
    ) -> dict[str, Any]:
        """Return the keyword arguments of one call.

        Args:
            inputs: The run's inputs.
            outputs: The outputs of the step's own dependencies, without those that were skipped.
            ctx: The value of a parameter `ctx`.
        """
        if self.takes_outputs_alone:  # the usual case
            return dict(outputs)
        arguments: dict[str, Any] = {}
        for name in self.outputs:
            arguments[name] = outputs[name]
        for name in self.inputs:
            arguments[name] = inputs[name]
        for name in self.optional_outputs:
            if name in outputs:
                arguments[name] = outputs[name]
        for name in self.optional_inputs:
            if name in inputs:
                arguments[name] = inputs[name]
        if self.wants_context:
            arguments[CONTEXT] = ctx
        if self.wants_inputs:
            arguments[INPUTS] = self._visible(inputs, outputs)
        return arguments

    def _visible(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> StepInputs:
        if len(outputs) > 1:
            # They come in the order in which they completed, and no step is to depend on that.
            outputs = {name: outputs[name] for name in self.dependencies if name in outputs}
        visible = merged(inputs, outputs)
        for dependency in self.skippable:
            # A run input must not show through in the place of a step that was skipped.
            if dependency not in outputs:
                visible.pop(dependency, None)
        return StepInputs(visible)


def bind(
    step_id: str,
    run: Callable[..., Any],
    parameters: Collection[Parameter],
    *,
    dependencies: Mapping[str, bool],
    steps: Collection[str],
) -> Binding:
    """Resolve the parameters of a step's function.

    Args:
        step_id: The step, for errors.
        run: Its function, for errors.
        parameters: The result of `read_parameters` for the function.
        dependencies: Whether each dependency is required, by step id.
        steps: The ids of all steps of the workflow.

    Raises:
        DefinitionError: When a parameter names a step whose output may be missing.
    """
    by_name = [parameter for parameter in parameters if parameter.name not in RESERVED]
    for parameter in by_name:
        _check(step_id, run, parameter, dependencies, steps)
    names = {parameter.name for parameter in parameters}
    outputs = [parameter.name for parameter in by_name if parameter.name in dependencies]
    inputs = [parameter for parameter in by_name if parameter.name not in dependencies]
    return Binding(
        wants_context=CONTEXT in names,
        wants_inputs=INPUTS in names,
        outputs=tuple(name for name in outputs if dependencies[name]),
        optional_outputs=tuple(name for name in outputs if not dependencies[name]),
        inputs=tuple(parameter.name for parameter in inputs if not parameter.has_default),
        optional_inputs=tuple(parameter.name for parameter in inputs if parameter.has_default),
        dependencies=tuple(dependencies),
        skippable=tuple(name for name, required in dependencies.items() if not required),
        takes_outputs_alone=names == dependencies.keys() and all(dependencies.values()),
    )


def _check(
    step_id: str,
    run: Callable[..., Any],
    parameter: Parameter,
    dependencies: Mapping[str, bool],
    steps: Collection[str],
) -> None:
    name = parameter.name
    said = f"parameter {name!r} of {name_of(run)}"
    if name in dependencies:
        if not dependencies[name] and not parameter.has_default:
            problem = f"{said} has no default, and step {name!r} is optional and may be skipped"
            raise DefinitionError(None, problem, f"Give it one, such as {name}=None", step_id)
    elif name == step_id:
        problem = f"{said} names the step itself"
        raise DefinitionError(None, problem, "Rename the parameter", step_id)
    elif name in steps:
        problem = f"{said} names a step that is not among its dependencies"
        others = [it for it in dependencies if it != step_id]  # a compensator knows its own step
        add = f"Make it after={[*others, name]}" if others else f"Add after={name!r}"
        cure = f"{add}, or rename the parameter"
        raise DefinitionError(None, problem, cure, step_id)
