"""A workflow in DOT, the language of Graphviz."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorflow.views.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.plan import StepPlan, WorkflowPlan

__all__ = ["draw_dot"]

# In a quoted string only the quote is special to DOT's own grammar. The backslash starts the
# escapes of labels, and the ampersand the entities of HTML, which Graphviz decodes in labels.
_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "&": "&amp;"})


def draw_dot(plan: WorkflowPlan) -> str:
    """Return the source of a directed graph.

    Async steps are ellipses and the others boxes; optional steps are dashed, and so are the
    arrows that leave them.
    """
    lines = [
        f"digraph {_quoted(plan.workflow_id)} {{",
        *(f"    {_node(step)};" for step in plan.steps),
        *(f"    {arrow};" for step in plan.steps for arrow in _arrows(step, plan)),
        "}",
    ]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return f'"{printable(text).translate(_ESCAPES)}"'


def _name(step: StepPlan) -> str:
    return f"s{step.index}"


def _node(step: StepPlan) -> str:
    shape = "ellipse" if step.step.async_ else "box"
    style = "" if step.step.required else ", style=dashed"
    return f"{_name(step)} [label={_quoted(step.step.name)}, shape={shape}{style}]"


def _arrows(step: StepPlan, plan: WorkflowPlan) -> Iterator[str]:
    for needed in step.dependencies:
        dependency = plan.by_id[needed]
        style = "" if dependency.step.required else " [style=dashed]"
        yield f"{_name(dependency)} -> {_name(step)}{style}"
