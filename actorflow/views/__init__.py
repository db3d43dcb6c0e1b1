"""Pictures of workflows and of runs: pure functions, values in, text out."""

from __future__ import annotations

from actorflow.views.bounds import Bounds, bounds_of
from actorflow.views.branches import Branch, branches
from actorflow.views.cycle import draw_cycle
from actorflow.views.dot import draw_dot
from actorflow.views.gantt import draw_gantt
from actorflow.views.line import draw_line
from actorflow.views.mermaid import draw_mermaid
from actorflow.views.states import draw_run_states, draw_step_states
from actorflow.views.timeline import Timeline
from actorflow.views.tree import draw_tree

__all__ = [
    "Bounds",
    "Branch",
    "Timeline",
    "bounds_of",
    "branches",
    "draw_cycle",
    "draw_dot",
    "draw_gantt",
    "draw_line",
    "draw_mermaid",
    "draw_run_states",
    "draw_step_states",
    "draw_tree",
]
