"""A run as plain lines, one per event, for what is not a terminal; or as nothing at all."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from actorflow.views import draw_line

if TYPE_CHECKING:
    from actorflow.definition.plan import WorkflowPlan
    from actorflow.model.events import Event

__all__ = ["LineWatcher", "SilentWatcher"]


class SilentWatcher:
    """Shows nothing."""

    def begin(self, plan: WorkflowPlan, recorded: int) -> None:
        """Do nothing."""

    def show(self, event: Event) -> None:
        """Do nothing."""

    def look(self) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


class LineWatcher(SilentWatcher):
    """Writes each event as a line to stdout, at once."""

    def __init__(self) -> None:
        self._started_at: float | None = None
        self._recorded = 0

    def begin(self, _plan: WorkflowPlan, recorded: int) -> None:
        """Take note of what happened in an earlier life."""
        self._recorded = recorded

    def show(self, event: Event) -> None:
        """Write a line."""
        if event.number <= self._recorded:
            return
        if self._started_at is None:
            self._started_at = event.time
        sys.stdout.write(f"{draw_line(event, self._started_at)}\n")
        sys.stdout.flush()
