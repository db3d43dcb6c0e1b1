"""Look-ups of runs: one by its id, and pages of those that match."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorflow.orchestrator.live import find
from actorflow.orchestrator.settings import count, run_id_of, run_status

if TYPE_CHECKING:
    from actorflow.model.lifecycle import RunStatus
    from actorflow.model.protocols import StateManager
    from actorflow.model.results import RunPage
    from actorflow.orchestrator.lifetime import Lifetime
    from actorflow.run.handle import Run

__all__ = ["Looking"]


class Looking:
    """Looks up runs of one orchestrator.

    Args:
        life: The orchestrator's life.
        state: Where its runs are recorded.
    """

    def __init__(self, life: Lifetime, state: StateManager) -> None:
        self._life = life
        self._state = state

    def get(self, run_id: str) -> Run:
        """Return a run, in progress or finished."""
        runtime = self._life.runtime("get a run")
        return find(self._life.live, runtime, run_id_of(run_id, "Orchestrator.get()"))

    def list(
        self, *, status: RunStatus | str | None, limit: int, offset: int, **ids: str | None
    ) -> RunPage:
        """Return a page of the runs that match all filters, the newest first."""
        self._life.runtime("list runs")
        return self._state.list(
            status=None if status is None else run_status(status),
            limit=count("limit", limit),
            offset=count("offset", offset),
            **ids,
        )
