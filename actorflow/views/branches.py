"""A workflow as a tree, for a place where every step has one line.

A graph has more arrows than a tree. Each step hangs below the one of its dependencies that
stands deepest, and its other dependencies have to be told in words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from actorflow.plan import StepPlan, WorkflowPlan

__all__ = ["Branch", "branches", "layers"]


@attrs.frozen(kw_only=True)
class Branch:
    """One step's line."""

    step: StepPlan
    prefix: str
    """The lines that lead to it, ready to be put before its name."""
    others: tuple[str, ...]
    """The dependencies that the picture does not show."""


def layers(plan: WorkflowPlan) -> dict[str, int]:
    """Return how many steps the longest way to each step has, by step id; roots have 0."""
    depth: dict[str, int] = {}
    for step in plan.steps:
        depth[step.id] = max((depth[needed] + 1 for needed in step.dependencies), default=0)
    return depth


def branches(plan: WorkflowPlan) -> tuple[Branch, ...]:
    """Return every step once, each below the dependency that it hangs from."""
    depth = layers(plan)
    parents = {
        step.id: max(step.dependencies, key=depth.__getitem__, default=None) for step in plan.steps
    }
    children: dict[str | None, list[str]] = {step_id: [] for step_id in (None, *parents)}
    for step_id, parent in parents.items():
        children[parent].append(step_id)
    drawn: list[Branch] = []
    # Not recursive: a chain may be longer than Python's stack.
    line = [(step_id, "", "") for step_id in reversed(children[None])]
    while line:
        step_id, prefix, below = line.pop()
        step = plan.by_id[step_id]
        others = tuple(needed for needed in step.dependencies if needed != parents[step_id])
        drawn.append(Branch(step=step, prefix=prefix, others=others))
        line.extend(reversed(_hung(children[step_id], below)))
    return tuple(drawn)


def _hung(children: list[str], below: str) -> list[tuple[str, str, str]]:
    elbows = [("├─ ", "│  ")] * (len(children) - 1) + [("└─ ", "   ")]
    return [
        (child, below + elbow, below + beneath)
        for child, (elbow, beneath) in zip(children, elbows, strict=False)
    ]
