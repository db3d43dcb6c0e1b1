"""A workflow that has been checked and compiled: what the runtime works from.

A plan is made once and shared by all runs of its workflow, so nothing in it ever changes.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import attrs

from actorflow.errors import DefinitionError, MissingInput
from actorflow.graph import dependents, find_cycle, topological_order
from actorflow.parameters import Binding, bind, path_of
from actorflow.retry import RetryPolicy
from actorflow.step import Step

__all__ = ["StepPlan", "WorkflowPlan", "plan_steps", "run_inputs"]

Arguments = Callable[[Mapping[str, Any], Mapping[str, Any], object], dict[str, Any]]


@attrs.frozen(kw_only=True, eq=False)
class StepPlan:
    """One step in its place among the others."""

    id: str
    index: int
    """Its place in the plan's order."""
    step: Step = attrs.field(repr=False)
    dependencies: tuple[str, ...]
    dependents: tuple[str, ...]
    binding: Binding = attrs.field(repr=False)
    compensation: StepPlan | None = attrs.field(default=None, repr=False)
    """What undoes the step. It sees what the step saw, and the step's own output."""
    is_coroutine: bool = attrs.field(init=False)
    """Whether its function is awaited."""
    wants_context: bool = attrs.field(init=False)
    """Whether its function has a parameter `ctx`."""
    arguments: Arguments = attrs.field(init=False, repr=False)
    """Called with the run's inputs, the outputs of those of the step's own dependencies that
    completed, and the context: gives the keyword arguments of one call of its function."""

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
    """A whole workflow, checked."""

    workflow_id: str
    name: str
    version: str
    description: str
    metadata: Mapping[str, Any]
    timeout: float | None
    fail_fast: bool
    steps: tuple[StepPlan, ...] = attrs.field(repr=False)
    """In topological order; steps that do not depend on each other in order of definition."""
    by_id: Mapping[str, StepPlan] = attrs.field(repr=False)
    last_steps: tuple[str, ...]
    """The steps that no other step waits for, in order of definition."""
    required_inputs: tuple[str, ...]
    """The run inputs that some step cannot do without, in the order of their first use."""
    optional_inputs: tuple[str, ...]
    """The run inputs for which every step that takes them has a default, likewise."""

    def require(self, inputs: Mapping[str, Any]) -> None:
        """Refuse to run without the inputs that the steps want.

        Raises:
            MissingInput: When one is missing; it names all that are.
        """
        missing = tuple(name for name in self.required_inputs if name not in inputs)
        if missing:
            wanted_by = tuple(tuple(self._wanting(name)) for name in missing)
            raise MissingInput(self.workflow_id, missing, wanted_by)

    def _wanting(self, name: str) -> Iterator[str]:
        for step in self.steps:
            if any(name in binding.inputs for binding in _bindings(step)):
                yield step.id

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of what the workflow does, which is equal for equal definitions.

        It covers the ids, the dependencies, the options, and the functions by their module
        and name; not the code within them, nor what is written for people only.
        """
        workflow = (self.workflow_id, self.version, self.timeout, self.fail_fast)
        steps = sorted(repr(_described(step.step)) for step in self.steps)
        return hashlib.sha256(repr((workflow, steps)).encode()).hexdigest()


_FOR_PEOPLE: Final = ("name", "description")


def _described(value: object) -> object:
    if isinstance(value, (Step, RetryPolicy)):
        fields = [field.name for field in attrs.fields(type(value)) if field.eq]
        return {
            name: _described(getattr(value, name)) for name in fields if name not in _FOR_PEOPLE
        }
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


def plan_steps(steps: Mapping[str, Step]) -> tuple[StepPlan, ...]:
    """Check the steps of a workflow against each other, and put them in order.

    Raises:
        DefinitionError: When they do not fit together; the caller adds the workflow's id.
    """
    if not steps:
        raise DefinitionError(None, "it has no steps", "Add one with @flow.step or flow.add")
    for step in steps.values():
        _check_dependencies(step, steps)
    dependencies = {step.id: step.after for step in steps.values()}
    cycle = find_cycle(dependencies)
    if cycle:
        cure = "Remove one of these dependencies"
        raise DefinitionError(None, f"its steps wait for each other: {_path(cycle)}", cure)
    following = dependents(dependencies)
    return tuple(
        _plan_step(steps[step_id], index, tuple(following[step_id]), steps)
        for index, step_id in enumerate(topological_order(dependencies))
    )


def _check_dependencies(step: Step, steps: Mapping[str, Step]) -> None:
    for dependency in step.after:
        if dependency not in steps:
            others = [repr(step_id) for step_id in steps if step_id != step.id][:_SHOWN]
            problem = f"it depends on {dependency!r}, which is not a step of this workflow"
            cure = f"Add it, or name one of: {', '.join(others)}" if others else "Add it"
            raise DefinitionError(None, problem, cure, step.id)


_SHOWN: Final = 20


def _path(cycle: tuple[str, ...]) -> str:
    if len(cycle) > _SHOWN:
        half = _SHOWN // 2
        cycle = (*cycle[:half], f"({len(cycle) - 2 * half} more)", *cycle[-half:])
    return " -> ".join(cycle)


def _plan_step(
    step: Step, index: int, following: tuple[str, ...], steps: Mapping[str, Step]
) -> StepPlan:
    needed = {dependency: steps[dependency].required for dependency in step.after}
    plan = StepPlan(
        id=step.id,
        index=index,
        step=step,
        dependencies=step.after,
        dependents=following,
        binding=bind(step.id, step.run, step.parameters, dependencies=needed, steps=steps),
    )
    undo = step.compensation
    if undo is None:
        return plan
    seen = {**needed, step.id: True}
    binding = bind(step.id, undo.run, undo.parameters, dependencies=seen, steps=steps)
    compensation = attrs.evolve(plan, step=undo, dependencies=tuple(seen), binding=binding)
    return attrs.evolve(plan, compensation=compensation)
