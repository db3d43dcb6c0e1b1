"""The family of a recorded run: its parent, and its children as a tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actorflow.views.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.model.records import RunSnapshot
    from actorflow.state.sql import SQLStateManager

__all__ = ["children_as_json", "describe_family"]

_SHOWN: Final = 20
"""The maximum number of children shown of each run."""
_DEEPEST: Final = 6
"""The maximum number of generations shown."""
_PAGE: Final = 500


def describe_family(state: SQLStateManager, run: RunSnapshot) -> Iterator[str]:
    """Yield the parent of a run, and its children as a tree, the oldest first."""
    parent = run.parent
    if parent is not None:
        by = "the compensator of step" if parent.compensates else "step"
        first = ""
        if parent.root_run_id != parent.run_id:
            first = f", in the family of run {printable(parent.root_run_id)}"
        line = f"child of run {printable(parent.run_id)}, {by} {printable(parent.step_id)}{first}"
        yield from ("", line)
    tree = list(_branches(state, run.run_id, "", _DEEPEST))
    if tree:
        yield from ("", "children", *tree)


def _branches(state: SQLStateManager, run_id: str, indent: str, deeper: int) -> Iterator[str]:
    page = state.list(parent_run_id=run_id, limit=_SHOWN)
    for child in reversed(page.runs):
        last = child is page.runs[0] and page.total <= _SHOWN
        yield f"{indent}{'└─' if last else '├─'} {_line(child)}"
        if deeper > 1:
            yield from _branches(
                state, child.run_id, indent + ("   " if last else "│  "), deeper - 1
            )
    if page.total > _SHOWN:
        more = page.total - _SHOWN
        yield f"{indent}└─ and {more} older; list them all with --parent {printable(run_id)}"


def _line(child: RunSnapshot) -> str:
    step = "" if child.parent is None else f" by {printable(child.parent.step_id)}"
    return f"{printable(child.run_id)} {printable(child.workflow_id)}{step}: {child.status.value}"


def children_as_json(state: SQLStateManager, run_id: str) -> list[dict[str, Any]]:
    """Return the children of a run in a form that JSON can hold, the oldest first."""
    found: list[RunSnapshot] = []
    cursor: str | None = None
    while True:
        page = state.list(parent_run_id=run_id, limit=_PAGE, cursor=cursor)
        found += page.runs
        cursor = page.next_cursor
        if cursor is None:
            break
    return [
        {
            "run_id": child.run_id,
            "workflow_id": child.workflow_id,
            "parent_step_id": child.parent_step_id,
            "status": child.status.value,
        }
        for child in reversed(found)
    ]
