"""Families: the children of runs, and the effect on them of a parent's end."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from actorflow.model.lifecycle import RunStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.model.records import RunRecord
    from actorflow.model.results import RunResult

__all__ = ["Family"]


class Family:
    """The children of the runs of one orchestrator.

    Args:
        cancel: Cancels a run in progress here, with a reason.
    """

    def __init__(self, cancel: Callable[[str, str], None]) -> None:
        self._cancel = cancel
        # Reentrant, because a signal handler may end a run at this moment.
        self._lock = threading.RLock()
        self._children: dict[str, list[str]] = {}
        """The ids of the children to cancel with each run, by its id."""

    def add(self, child: RunRecord) -> None:
        """Take note of a child that is about to start."""
        parent = child.parent
        if parent is not None and parent.on_end == "cancel":
            with self._lock:
                self._children.setdefault(parent.run_id, []).append(child.run_id)

    def ended(self, result: RunResult) -> None:
        """Cancel the children of a run that has failed or was cancelled; on the loop."""
        if not self._children:
            return
        with self._lock:
            children = self._children.pop(result.run_id, [])
        if result.status is not RunStatus.COMPLETED:
            for run_id in children:
                reason = f"its parent, run {result.run_id!r}, has {_ENDS[result.status]}"
                self._cancel(run_id, reason)


_ENDS = {RunStatus.FAILED: "failed", RunStatus.CANCELLED: "been cancelled"}
