"""Compiles the steps of a definition: checks them against each other, and orders them."""

from __future__ import annotations

import heapq
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, Final

import attrs

from actorflow.definition.parameters import bind, name_of
from actorflow.definition.plan import StepPlan
from actorflow.errors.definition import DefinitionError
from actorflow.support.suggestions import did_you_mean, surely
from actorflow.support.warnings import warn

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from actorflow.definition.parameters import Binding
    from actorflow.definition.step import Step

__all__ = ["COROUTINE", "dependents", "find_cycle", "plan_steps", "topological_order"]

COROUTINE: Final = "coroutine"
"""The name of the executor that runs coroutine functions, on the event loop."""


def plan_steps(steps: Mapping[str, Step]) -> tuple[StepPlan, ...]:
    """Check the steps of a workflow against each other, and order them.

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
    position = {step_id: place for place, step_id in enumerate(steps)}
    plans = tuple(
        _plan_step(steps[step_id], index, position[step_id], tuple(following[step_id]), steps)
        for index, step_id in enumerate(topological_order(dependencies))
    )
    _warn_of_misspelt(plans)
    return plans


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
    step: Step,
    index: int,
    position: int,
    following: tuple[str, ...],
    steps: Mapping[str, Step],
) -> StepPlan:
    needed = {dependency: steps[dependency].required for dependency in step.after}
    plan = StepPlan(
        id=step.id,
        index=index,
        rank=(-step.priority, position),
        step=step,
        dependents=following,
        **_fields(bind(step.id, step.run, step.parameters, dependencies=needed, steps=steps)),
    )
    _check_executor(step.id, step)
    undo = step.compensation
    if undo is None:
        return plan
    _check_executor(step.id, undo)
    seen = {**needed, step.id: True}
    binding = bind(step.id, undo.run, undo.parameters, dependencies=seen, steps=steps)
    compensation = attrs.evolve(
        plan,
        step=undo,
        rank=(-undo.priority, position),
        **_fields(binding),
    )
    return attrs.evolve(plan, compensation=compensation)


def _fields(binding: Binding) -> dict[str, Any]:
    return attrs.asdict(binding, recurse=False)


def _check_executor(step_id: str, step: Step) -> None:
    """Refuse an executor that cannot run the step's kind of function."""
    if step.executor is not None and step.is_coroutine != (step.executor == COROUTINE):
        kind = "a coroutine function" if step.is_coroutine else "a plain function"
        problem = f"{kind} cannot run in executor {step.executor!r}"
        cure = "Coroutine functions run on the event loop, plain ones everywhere else"
        raise DefinitionError(None, problem, cure, step_id)


# ── What is surely misspelt ──────────────────────────────────────────────────────────────────


def _warn_of_misspelt(plans: Sequence[StepPlan]) -> None:
    """Warn of inputs whose names resemble a dependency whose output no parameter takes.

    An input that several steps take by the same name is no misspelling.
    """
    takers = Counter(name for plan in plans for name in _inputs_of(plan))
    for plan in plans:
        suspects = [name for name in _inputs_of(plan) if takers[name] == 1]
        unused = _unused_by(plan) if suspects else ()
        for name in suspects if unused else ():
            _warn_of(plan, name, surely(name, unused))


def _inputs_of(plan: StepPlan) -> tuple[str, ...]:
    return (*plan.inputs, *plan.optional_inputs)


def _unused_by(plan: StepPlan) -> Sequence[str]:
    if plan.wants_inputs:
        return ()
    taken = {parameter.name for parameter in plan.step.parameters}
    return [name for name in plan.dependencies if name not in taken]


def _warn_of(plan: StepPlan, name: str, meant: str | None) -> None:
    if meant is not None:
        # An id need not be a name that a parameter can have.
        meaning = repr(meant) if meant.isidentifier() else f"inputs[{meant!r}]"
        warn(
            f"step {plan.id!r}: parameter {name!r} of {name_of(plan.step.run)} is a run input, and "
            f"nothing takes the output of {meant!r}. Did you mean {meaning}? If not, give the "
            "parameter a less similar name."
        )


# ── The graph ────────────────────────────────────────────────────────────────────────────────
# It maps each id to the ids that it depends on, in the order of definition. Nothing here recurses,
# so a chain may be as long as memory allows.


def dependents(dependencies: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
    """Return the reversed graph; dependents are in order of definition."""
    waiting: dict[str, list[str]] = {node: [] for node in dependencies}
    for node, needed in dependencies.items():
        for dependency in needed:
            waiting[dependency].append(node)
    return waiting


def find_cycle(dependencies: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """Return the nodes of one cycle, each before the node that depends on it; `()` without one.

    The first node is the one that was defined first, and is repeated at the end.
    """
    try:
        TopologicalSorter(dependencies).prepare()
    except CycleError as found:
        return _rotated(found.args[1], dependencies)
    return ()


def _rotated(cycle: list[str], dependencies: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    members = set(cycle)
    first = next(node for node in dependencies if node in members)
    start = cycle.index(first)
    return (*cycle[start:-1], *cycle[:start], first)


def topological_order(dependencies: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """Return every node after its dependencies, and otherwise in the order of definition.

    Of the nodes that may come next, the one that was defined first does. A definition that is in
    order already therefore stays as it is. The graph must have no cycle.
    """
    nodes = tuple(dependencies)
    position = {node: place for place, node in enumerate(nodes)}
    missing = {node: len(needed) for node, needed in dependencies.items()}
    following = dependents(dependencies)
    ready = [position[node] for node in nodes if not missing[node]]
    order = []
    while ready:
        node = nodes[heapq.heappop(ready)]
        order.append(node)
        for dependent in following[node]:
            missing[dependent] -= 1
            if not missing[dependent]:
                heapq.heappush(ready, position[dependent])
    return tuple(order)
