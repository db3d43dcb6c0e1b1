"""A workflow as a list: its steps layer by layer, what each waits for, and how it is run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorflow.views.branches import layers
from actorflow.views.text import cells, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.plan import StepPlan, WorkflowPlan
    from actorflow.step import Step

__all__ = ["draw_tree", "options_of"]


def draw_tree(plan: WorkflowPlan) -> str:
    """Return a listing of a workflow.

    A layer holds the steps that have equally many others before them on the longest way. It
    helps to read the graph and nothing more: a step starts when its own dependencies have
    settled, and no layer waits for another.
    """
    depth = layers(plan)
    widest = max(cells(printable(step.id)) for step in plan.steps)
    lines = list(_heading(plan))
    for layer in range(max(depth.values()) + 1):
        lines += ["", f"layer {layer + 1}"]
        lines += [_line(step, widest) for step in plan.steps if depth[step.id] == layer]
    return "\n".join(lines)


def _heading(plan: WorkflowPlan) -> Iterator[str]:
    name = "" if plan.name == plan.workflow_id else f" ({printable(plan.name)})"
    yield f"{printable(plan.workflow_id)}{name}, version {printable(plan.version)}"
    if plan.description:
        yield printable(plan.description)
    inputs = [*plan.required_inputs, *(f"{name} (optional)" for name in plan.optional_inputs)]
    if inputs:
        yield f"inputs: {', '.join(inputs)}"
    if plan.timeout is not None:
        yield f"timeout: {plan.timeout:g} s"
    if not plan.fail_fast:
        yield "independent branches finish when a step has failed"


def _line(step: StepPlan, widest: int) -> str:
    name = printable(step.id)
    filled = name + " " * (widest - cells(name))
    after = f"after {', '.join(map(printable, step.dependencies))}" if step.dependencies else ""
    return (
        "  " + "  ".join(filter(None, [filled, after, ", ".join(options_of(step.step))])).rstrip()
    )


def options_of(step: Step) -> Iterator[str]:
    """Yield what was said about how a step is run, one phrase each."""
    if step.async_:
        yield "async"
    if step.executor is not None:
        yield f"executor {printable(step.executor)}"
    if step.timeout is not None:
        yield f"timeout {step.timeout:g} s"
    if step.total_timeout is not None:
        yield f"total timeout {step.total_timeout:g} s"
    if step.retry is not None:
        yield f"up to {step.retry.max_attempts} attempts"
    if not step.required:
        yield "optional"
    if step.priority:
        yield f"priority {step.priority}"
    if step.compensate is not None:
        yield "can be undone"
