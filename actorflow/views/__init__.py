"""Text and diagrams of workflows and runs, made by pure functions."""

from __future__ import annotations

from actorflow.views.diagrams import draw_dot, draw_mermaid, draw_run_states, draw_step_states
from actorflow.views.gantt import draw_gantt
from actorflow.views.gantt_svg import draw_gantt_svg
from actorflow.views.text import draw_line
from actorflow.views.timeline import Bounds, Timeline, bounds_of
from actorflow.views.tree import Branch, branches, draw_cycle, draw_tree

__all__ = [
    "Bounds",
    "Branch",
    "Timeline",
    "bounds_of",
    "branches",
    "draw_cycle",
    "draw_dot",
    "draw_gantt",
    "draw_gantt_svg",
    "draw_line",
    "draw_mermaid",
    "draw_run_states",
    "draw_step_states",
    "draw_tree",
]
