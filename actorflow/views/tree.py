"""A workflow as text: its steps by layer or as a tree, with dependencies and options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from actorflow.definition.compiling import find_cycle
from actorflow.definition.options import phrases
from actorflow.views.text import cells, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from actorflow.definition.plan import StepPlan, WorkflowPlan
    from actorflow.definition.step import Step

__all__ = ["Branch", "branches", "draw_cycle", "draw_tree", "layers", "options_of"]


def draw_tree(plan: WorkflowPlan) -> str:
    """Return a listing of a workflow, layer by layer.

    A step's layer is the number of steps on the longest path to it. Layers only make the graph
    easier to read: a step starts when its own dependencies have settled, and no layer waits for
    another.
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
    """Return a phrase for each option of a step that is not at its default."""
    return map(printable, phrases(step))


@attrs.frozen(kw_only=True)
class Branch:
    """One step's line in a tree."""

    step: StepPlan
    prefix: str
    """The branches that lead to the step, to be put before its name."""
    others: tuple[str, ...]
    """The dependencies that the tree does not show."""


def layers(plan: WorkflowPlan) -> dict[str, int]:
    """Return the number of steps on the longest path to each step, by step id; roots have 0."""
    depth: dict[str, int] = {}
    for step in plan.steps:
        depth[step.id] = max((depth[needed] + 1 for needed in step.dependencies), default=0)
    return depth


def branches(plan: WorkflowPlan) -> tuple[Branch, ...]:
    """Return every step once, each below one of its dependencies."""
    depth = layers(plan)
    parents = {
        step.id: max(step.dependencies, key=depth.__getitem__, default=None) for step in plan.steps
    }
    children: dict[str | None, list[str]] = {step_id: [] for step_id in (None, *parents)}
    for step_id, parent in parents.items():
        children[parent].append(step_id)
    drawn: list[Branch] = []
    # Not recursive, because a chain may be longer than Python's stack.
    pending = [(step_id, "", "") for step_id in reversed(children[None])]
    while pending:
        step_id, prefix, below = pending.pop()
        step = plan.by_id[step_id]
        others = tuple(needed for needed in step.dependencies if needed != parents[step_id])
        drawn.append(Branch(step=step, prefix=prefix, others=others))
        pending.extend(reversed(_child_lines(children[step_id], below)))
    return tuple(drawn)


def _child_lines(children: list[str], below: str) -> list[tuple[str, str, str]]:
    elbows = [("├─ ", "│  ")] * (len(children) - 1) + [("└─ ", "   ")]
    return [
        (child, below + elbow, below + beneath)
        for child, (elbow, beneath) in zip(children, elbows, strict=False)
    ]


_ENDS: Final = 10
"""How many steps of a long cycle are shown at either end."""


def draw_cycle(steps: Mapping[str, Step]) -> str:
    """Return a picture of one cycle, in the direction of the data; empty if there is none."""
    ring = find_cycle({step.id: step.after for step in steps.values()})[:-1]
    if not ring:
        return ""
    rows = list(_rows(ring, steps))
    widest = max(cells(name) for name, _ in rows)
    if len(rows) > 2 * _ENDS:
        rows[_ENDS:-_ENDS] = [(f"… {len(rows) - 2 * _ENDS} more", "")]
    lines = [f"{name}{' ' * (widest - cells(name))}  {after}".rstrip() for name, after in rows]
    return "\n".join(_as_ring(lines))


def _rows(ring: Sequence[str], steps: Mapping[str, Step]) -> Iterator[tuple[str, str]]:
    for step_id in ring:
        yield printable(step_id), f"after {', '.join(map(printable, steps[step_id].after))}"


def _as_ring(lines: Sequence[str]) -> Iterator[str]:
    if len(lines) == 1:
        yield f"───> {lines[0]}"
        return
    yield f"┌──> {lines[0]}"
    yield from (f"│    {line}" for line in lines[1:-1])
    yield f"└─── {lines[-1]}"
