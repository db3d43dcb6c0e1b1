"""Estimates: how long the steps of workflows take, as far as the state manager knows."""

from __future__ import annotations

import contextlib
import math
import threading
from typing import TYPE_CHECKING, Final

from actorflow.support.read_only import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.model.powers import MeasuresSteps

__all__ = ["Estimates"]

_FRESH_FOR: Final = 60.0
"""Seconds for which durations that were read are used without reading them again."""
_MOST: Final = 1_000
"""Number of workflows whose durations are kept; those that were read first are dropped first."""


class Estimates:
    """The usual durations of steps, for workflows that are ordered by critical path.

    Args:
        measures: Knows the durations of recorded steps; None if the state manager does not.
        now: Returns monotonic seconds.
        elsewhere: Calls a function that may wait for a database, now or a little later on another
            thread.
    """

    def __init__(
        self,
        measures: MeasuresSteps | None,
        now: Callable[[], float],
        elsewhere: Callable[[Callable[[], None]], None],
    ) -> None:
        self._measures = measures
        self._now = now
        self._elsewhere = elsewhere
        self._known: dict[str, Mapping[str, float]] = {}
        self._read_at: dict[str, float] = {}
        """When each workflow was last read, the earliest first."""
        self._lock = threading.Lock()

    def ways(self, plan: WorkflowPlan) -> Mapping[str, float] | None:
        """Return the longest way from each step to the end; None if the plan is not ordered so.

        Durations that are missing or older than a minute are read again. If that has to happen on
        another thread, the next runs get them.
        """
        if plan.order != "critical_path":
            return None
        if self._measures is not None and any(one.step.expected is None for one in plan.steps):
            self._refresh(plan.workflow_id, self._measures)
        return plan.ways(self._known.get(plan.workflow_id, NOTHING))

    def _refresh(self, workflow_id: str, measures: MeasuresSteps) -> None:
        with self._lock:
            if not self._is_due(workflow_id):
                return

        def read() -> None:
            known = {
                step_id: float(seconds)
                for step_id, seconds in measures.durations(workflow_id).items()
                if 0.0 <= seconds < math.inf
            }
            with self._lock:
                if workflow_id in self._read_at:
                    self._known[workflow_id] = known

        # An estimate is never worth an error: the run is ranked without it.
        with contextlib.suppress(Exception):
            self._elsewhere(read)

    def _is_due(self, workflow_id: str) -> bool:
        """Return whether durations must be read, and note that they are read now."""
        now, read_at = self._now(), self._read_at
        if now - read_at.get(workflow_id, -math.inf) < _FRESH_FOR:
            return False
        read_at.pop(workflow_id, None)
        read_at[workflow_id] = now
        if len(read_at) > _MOST:
            first = next(iter(read_at))
            del read_at[first]
            self._known.pop(first, None)
        return True
