"""From the steps of a definition to those of a plan: checked against each other, and in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from actorflow.errors import DefinitionError
from actorflow.graph import dependents, find_cycle, topological_order
from actorflow.notices import warn
from actorflow.parameters import Binding, bind, name_of
from actorflow.plan import StepPlan
from actorflow.spelling import did_you_mean, surely

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actorflow.step import Step

__all__ = ["plan_steps"]


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
            problem = f"it depends on {dependency!r}, which is not a step of this workflow"
            others = [step_id for step_id in steps if step_id != step.id]
            raise DefinitionError(None, problem, _cure(dependency, others), step.id)


def _cure(dependency: str, others: Sequence[str]) -> str:
    question = did_you_mean(dependency, others).strip()
    if question:
        return f"{question} If not, add it"
    shown = ", ".join(map(repr, others[:_SHOWN]))
    return f"Add it, or name one of: {shown}" if others else "Add it"


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
        binding=_bound(step.id, step, needed, steps),
    )
    undo = step.compensation
    if undo is None:
        return plan
    seen = {**needed, step.id: True}
    binding = _bound(step.id, undo, seen, steps)
    compensation = attrs.evolve(plan, step=undo, dependencies=tuple(seen), binding=binding)
    return attrs.evolve(plan, compensation=compensation)


def _bound(
    step_id: str, step: Step, seen: Mapping[str, bool], steps: Mapping[str, Step]
) -> Binding:
    binding = bind(step_id, step.run, step.parameters, dependencies=seen, steps=steps)
    if not binding.wants_inputs:
        # An input is named as the output of a dependency is, and nobody else uses that output.
        unused = [name for name in seen if name not in {it.name for it in step.parameters}]
        for name in (*binding.inputs, *binding.optional_inputs) if unused else ():
            _warn_of(step_id, f"parameter {name!r} of {name_of(step.run)}", surely(name, unused))
    return binding


def _warn_of(step_id: str, parameter: str, meant: str | None) -> None:
    if meant is not None:
        # An id need not be a name that a parameter can have.
        meaning = repr(meant) if meant.isidentifier() else f"inputs[{meant!r}]"
        warn(
            f"step {step_id!r}: {parameter} is a run input, and nothing takes the output of "
            f"{meant!r}. Did you mean {meaning}? If not, give the parameter a name that is less "
            "alike."
        )
