"""Diagram sources: workflows for Mermaid and Graphviz, state machines for Mermaid."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeVar

from actorflow.model.lifecycle import RUN_MOVES, STEP_MOVES, RunStatus, StepStatus
from actorflow.views.text import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from actorflow.definition.plan import StepPlan, WorkflowPlan
    from actorflow.model.lifecycle import EventKind

__all__ = ["draw_dot", "draw_mermaid", "draw_run_states", "draw_step_states"]

# Mermaid parses labels as Markdown, quoted or not, and decodes its entity codes afterwards. Every
# character that may mean something to either is therefore written as a code: all but letters,
# digits, and single spaces, hyphens and underscores within words.
_PLAIN: Final = r"[^\W_]"
_SPECIAL: Final = re.compile(rf"(?<={_PLAIN})[-_ ](?={_PLAIN})|{_PLAIN}|(.)", re.DOTALL)


def draw_mermaid(plan: WorkflowPlan) -> str:
    """Return the source of a Mermaid flowchart.

    Async steps have rounded ends; optional steps have a dashed border and dotted arrows. Nodes are
    numbered rather than named, because many step ids would be Mermaid syntax.
    """
    lines = ["flowchart TD", *(f"    {_mermaid_node(step)}" for step in plan.steps)]
    lines += [f"    {arrow}" for step in plan.steps for arrow in _mermaid_arrows(step, plan)]
    optional = ",".join(_name(step) for step in plan.steps if not step.step.required)
    if optional:
        lines += ["    classDef optional stroke-dasharray: 5 5", f"    class {optional} optional"]
    return "\n".join(lines)


def _name(step: StepPlan) -> str:
    return f"s{step.index}"


def _mermaid_node(step: StepPlan) -> str:
    opening, closing = ("([", "])") if step.step.async_ else ("[", "]")
    return f'{_name(step)}{opening}"{_label(step.step.name)}"{closing}'


def _label(text: str) -> str:
    return _SPECIAL.sub(lambda found: f"#{ord(found[1])};" if found[1] else found[0], text)


def _mermaid_arrows(step: StepPlan, plan: WorkflowPlan) -> Iterator[str]:
    for needed in step.dependencies:
        dependency = plan.by_id[needed]
        arrow = "-->" if dependency.step.required else "-.->"
        yield f"{_name(dependency)} {arrow} {_name(step)}"


# In a quoted string, only the quote is special in DOT's grammar. In labels, a backslash starts an
# escape, and Graphviz decodes HTML entities, which start with an ampersand.
_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "&": "&amp;"})


def draw_dot(plan: WorkflowPlan) -> str:
    """Return the source of a directed graph in DOT.

    Async steps are ellipses, the others boxes; optional steps are dashed, and so are the arrows
    that leave them.
    """
    lines = [
        f"digraph {_quoted(plan.workflow_id)} {{",
        *(f"    {_dot_node(step)};" for step in plan.steps),
        *(f"    {arrow};" for step in plan.steps for arrow in _dot_arrows(step, plan)),
        "}",
    ]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return f'"{printable(text).translate(_ESCAPES)}"'


def _dot_node(step: StepPlan) -> str:
    shape = "ellipse" if step.step.async_ else "box"
    style = "" if step.step.required else ", style=dashed"
    return f"{_name(step)} [label={_quoted(step.step.name)}, shape={shape}{style}]"


def _dot_arrows(step: StepPlan, plan: WorkflowPlan) -> Iterator[str]:
    for needed in step.dependencies:
        dependency = plan.by_id[needed]
        style = "" if dependency.step.required else " [style=dashed]"
        yield f"{_name(dependency)} -> {_name(step)}{style}"


_Status = TypeVar("_Status", StepStatus, RunStatus)


def draw_step_states() -> str:
    """Return the Mermaid state diagram of a step."""
    settled = {status for status in StepStatus if status.settled}
    return _diagram(STEP_MOVES, StepStatus.PENDING, settled)


def draw_run_states() -> str:
    """Return the Mermaid state diagram of a run."""
    terminal = {status for status in RunStatus if status.terminal}
    return _diagram(RUN_MOVES, RunStatus.PENDING, terminal)


def _diagram(
    moves: Mapping[_Status, Mapping[EventKind, _Status]], first: _Status, final: Collection[_Status]
) -> str:
    lines = ["stateDiagram-v2", f"[*] --> {first}"]
    for status, following in moves.items():
        lines += _state_arrows(status, following)
        if status in final:
            lines.append(f"{status} --> [*]")
    return "\n    ".join(lines)


def _state_arrows(status: _Status, following: Mapping[EventKind, _Status]) -> Iterator[str]:
    for target in dict.fromkeys(following.values()):
        kinds = ", ".join(kind.value for kind, to in following.items() if to == target)
        yield f"{status} --> {target}: {kinds}"
