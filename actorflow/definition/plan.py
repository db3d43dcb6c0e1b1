"""A compiled workflow, which the runtime works from.

A plan is made once and shared by all runs of its workflow. It never changes.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from actorflow.definition.options import fingerprinted
from actorflow.definition.parameters import RESERVED, Binding, path_of
from actorflow.definition.retry import RetryPolicy
from actorflow.definition.step import Step
from actorflow.errors.definition import MissingInput, UnknownInput
from actorflow.support.suggestions import nearest, surely
from actorflow.support.warnings import warn

if TYPE_CHECKING:
    from actorflow.model.context import Attempt

__all__ = ["StepPlan", "WorkflowPlan", "run_inputs"]

Arguments = Callable[[Mapping[str, Any], Mapping[str, Any], object], dict[str, Any]]


@attrs.frozen(kw_only=True, eq=False)
class StepPlan:
    """A step and its relations to the others."""

    id: str
    index: int
    """Its index in the plan's order."""
    rank: tuple[int, int]
    """What orders the steps of a run that are ready together: the negated priority, then the
    position in the definition.
    """
    step: Step = attrs.field(repr=False)
    dependencies: tuple[str, ...]
    dependents: tuple[str, ...]
    binding: Binding = attrs.field(repr=False)
    compensation: StepPlan | None = attrs.field(default=None, repr=False)
    """The compensator of the step. It receives what the step received, and the step's output."""
    is_coroutine: bool = attrs.field(init=False)
    """Whether its function is awaited."""
    wants_context: bool = attrs.field(init=False)
    """Whether its function has a parameter `ctx`."""
    arguments: Arguments = attrs.field(init=False, repr=False)
    """Called with the run's inputs, the outputs of the completed dependencies, and the context;
    returns the keyword arguments of one call of the function.
    """

    # All three are asked for at every attempt of every step, so they are looked up once.

    @is_coroutine.default
    def _is_coroutine(self) -> bool:
        return self.step.is_coroutine

    @wants_context.default
    def _wants_context(self) -> bool:
        return self.binding.wants_context

    @arguments.default
    def _arguments(self) -> Arguments:
        return self.binding.arguments


@attrs.frozen(kw_only=True, eq=False, slots=False)
class WorkflowPlan:
    """A compiled workflow."""

    workflow_id: str
    name: str
    version: str
    description: str
    metadata: Mapping[str, Any]
    timeout: float | None
    fail_fast: bool
    steps: tuple[StepPlan, ...] = attrs.field(repr=False)
    """In topological order; independent steps in order of definition."""
    by_id: Mapping[str, StepPlan] = attrs.field(repr=False)
    first_steps: tuple[str, ...]
    """The steps without dependencies, in order of definition."""
    last_steps: tuple[str, ...]
    """The steps without dependents, in order of definition."""
    required_inputs: tuple[str, ...]
    """The run inputs that are required by some step, in the order of their first use."""
    optional_inputs: tuple[str, ...]
    """The run inputs that every step takes with a default, in the order of their first use."""

    def of(self, attempt: Attempt) -> StepPlan:
        """Return what an attempt runs: a step or its compensator."""
        step = self.by_id[attempt.step_id]
        undo = step.compensation if attempt.compensates else None
        return step if undo is None else undo

    def require(self, inputs: Mapping[str, Any]) -> None:
        """Refuse to run without the inputs that the steps require.

        Raises:
            MissingInput: When inputs are missing; it names all of them.
        """
        missing = tuple(itertools.filterfalse(inputs.__contains__, self.required_inputs))
        if missing:
            wanted_by = tuple(tuple(self._wanting(name)) for name in missing)
            undone = tuple(tuple(self._wanting_to_undo(name)) for name in missing)
            hints = tuple(self._hint(name, inputs) for name in missing)
            raise MissingInput(
                self.workflow_id,
                missing,
                wanted_by,
                hints if any(hints) else (),
                undone if any(undone) else (),
            )

    def _wanting(self, name: str) -> Iterator[str]:
        for step in self.steps:
            if any(name in binding.inputs for binding in _bindings(step)):
                yield step.id

    def _wanting_to_undo(self, name: str) -> Iterator[str]:
        for step_id in self._wanting(name):
            if name not in self.by_id[step_id].binding.inputs:
                yield step_id

    def _hint(self, name: str, inputs: Mapping[str, Any]) -> str:
        given = nearest(name, [other for other in inputs if other not in self.inputs])
        if given is not None:
            return f"you passed {given!r}"
        close = nearest(name, (*RESERVED, *self.by_id))
        if close is None:
            return ""
        if not close.isidentifier():
            return f"did you mean inputs[{close!r}]?"
        return f"did you mean {'the step ' * (close in self.by_id)}{close!r}?"

    def recognise(self, inputs: Mapping[str, Any]) -> None:
        """Refuse inputs that no step takes, as a function refuses arguments.

        A step that takes the mapping `inputs` may look up any name; then a name that is surely
        misspelt causes a warning.

        Raises:
            UnknownInput: When there are such inputs; it names all of them.
        """
        unknown = tuple(itertools.filterfalse(self.inputs.__contains__, inputs))
        if not unknown:
            return
        if not self.takes_any_input:
            hints = tuple(self._meaning(name) for name in unknown)
            known = (*self.required_inputs, *self.optional_inputs)
            raise UnknownInput(self.workflow_id, unknown, known, hints if any(hints) else ())
        left_out = [name for name in self.optional_inputs if name not in inputs]
        for name in unknown:
            self._warn_of(name, surely(name, left_out))

    def _meaning(self, name: str) -> str:
        if name in self.by_id:
            return "a step, whose output the run makes"
        close = nearest(name, self.inputs)
        return "" if close is None else f"did you mean {close!r}?"

    def _warn_of(self, name: str, meant: str | None) -> None:
        if meant is not None:
            warn(
                f"workflow {self.workflow_id!r}: no step names the input {name!r}, and {meant!r} "
                f"is not given. Did you mean {meant!r}? If not, name {name!r} in a step that "
                "looks it up in `inputs`."
            )

    @functools.cached_property
    def step_ids(self) -> tuple[str, ...]:
        """The ids of the steps, in topological order."""
        return tuple(self.by_id)

    @functools.cached_property
    def inputs(self) -> frozenset[str]:
        """The run inputs that are named by some step."""
        return frozenset((*self.required_inputs, *self.optional_inputs))

    @functools.cached_property
    def compensations(self) -> Mapping[str, StepPlan]:
        """The compensators, by step id."""
        return {step.id: step.compensation for step in self.steps if step.compensation}

    @functools.cached_property
    def takes_any_input(self) -> bool:
        """Whether an input may have any name, because a step takes `inputs`."""
        return any(binding.wants_inputs for step in self.steps for binding in _bindings(step))

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of what the workflow does, which is equal for equal definitions.

        It covers the ids, the dependencies, the options, and the functions by their module
        and name; not the code within them, nor what is written for people only.
        """
        import hashlib  # noqa: PLC0415 - loads OpenSSL, and only registered workflows need it

        workflow = (self.workflow_id, self.version, self.timeout, self.fail_fast)
        steps = sorted(repr(_described(step.step)) for step in self.steps)
        return hashlib.sha256(repr((workflow, steps)).encode()).hexdigest()


def _described(value: object) -> object:
    if isinstance(value, (Step, RetryPolicy)):
        return {name: _described(getattr(value, name)) for name in fingerprinted(type(value))}
    if isinstance(value, tuple):
        return tuple(_described(item) for item in value)
    return path_of(value) if callable(value) else value


def _bindings(plan: StepPlan) -> tuple[Binding, ...]:
    return (plan.binding, *(_bindings(plan.compensation) if plan.compensation else ()))


def run_inputs(steps: Iterable[StepPlan]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the run inputs that are required and those that are optional, by first use."""
    bindings = [binding for step in steps for binding in _bindings(step)]
    required = dict.fromkeys(name for binding in bindings for name in binding.inputs)
    optional = dict.fromkeys(name for binding in bindings for name in binding.optional_inputs)
    return tuple(required), tuple(name for name in optional if name not in required)
