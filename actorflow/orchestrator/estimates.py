"""Estimates: how long the steps of workflows take, as far as the state manager knows."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from actorflow.support.read_only import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.model.protocols import MeasuresSteps

__all__ = ["Estimates"]

_FRESH_FOR: Final = 60.0
"""Seconds for which durations that were read are used without reading them again."""


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
        now = self._now()
        if now - self._read_at.get(workflow_id, -_FRESH_FOR) < _FRESH_FOR:
            return
        self._read_at[workflow_id] = now

        def read() -> None:
            # An estimate is never worth an error: the run is ranked without it.
            with contextlib.suppress(Exception):
                self._known[workflow_id] = dict(measures.durations(workflow_id))

        self._elsewhere(read)
