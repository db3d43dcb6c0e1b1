"""A workflow as a Mermaid flowchart."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.plan import StepPlan, WorkflowPlan

__all__ = ["draw_mermaid"]

# Mermaid reads labels as Markdown, quoted or not, and decodes its entity codes after that. So
# whatever might mean something to either is written as a code: all but letters, digits, and
# single blanks, hyphens and underscores within words.
_PLAIN: Final = r"[^\W_]"
_SPECIAL: Final = re.compile(rf"(?<={_PLAIN})[-_ ](?={_PLAIN})|{_PLAIN}|(.)", re.DOTALL)


def draw_mermaid(plan: WorkflowPlan) -> str:
    """Return the source of a flowchart.

    Async steps have round ends, optional steps a dashed frame and dotted arrows. The nodes are
    numbered rather than named, because many a step id means something else to Mermaid.
    """
    lines = ["flowchart TD", *(f"    {_node(step)}" for step in plan.steps)]
    lines += [f"    {arrow}" for step in plan.steps for arrow in _arrows(step, plan)]
    optional = ",".join(_name(step) for step in plan.steps if not step.step.required)
    if optional:
        lines += ["    classDef optional stroke-dasharray: 5 5", f"    class {optional} optional"]
    return "\n".join(lines)


def _name(step: StepPlan) -> str:
    return f"s{step.index}"


def _node(step: StepPlan) -> str:
    opening, closing = ("([", "])") if step.step.async_ else ("[", "]")
    return f'{_name(step)}{opening}"{_label(step.step.name)}"{closing}'


def _label(text: str) -> str:
    return _SPECIAL.sub(lambda found: f"#{ord(found[1])};" if found[1] else found[0], text)


def _arrows(step: StepPlan, plan: WorkflowPlan) -> Iterator[str]:
    for needed in step.dependencies:
        dependency = plan.by_id[needed]
        arrow = "-->" if dependency.step.required else "-.->"
        yield f"{_name(dependency)} {arrow} {_name(step)}"
