"""Simulated runs that wait for messages without an orchestrator, as in a database."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.model.mail import Eviction
    from actorflow.systems.simulated.system import SimulatedSystem

__all__ = ["Sleeping"]


class Sleeping:
    """The evicted runs of a simulation, until an orchestrator takes them up.

    Args:
        system: The system whose virtual time is used.
        latest: Returns the number of the latest message of a run; 0 if it has none.
        take_up: Has a run go on.
    """

    def __init__(
        self,
        system: SimulatedSystem,
        latest: Callable[[str], int],
        take_up: Callable[[str], None],
    ) -> None:
        self._system = system
        self._latest = latest
        self._take_up = take_up
        self._runs: dict[str, Eviction] = {}
        self._deadlines: dict[str, float | None] = {}

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._runs

    def put(self, run_id: str, eviction: Eviction) -> None:
        """Keep a run until there is news for it, or its time has come."""
        self._runs[run_id], self._deadlines[run_id] = eviction, eviction.deadline_at
        if self._latest(run_id) > eviction.seen:
            self._system.call_at(self._system.time, self.wake, run_id)
        elif eviction.wake_at is not None:
            self._system.call_at(
                max(eviction.wake_at, self._system.time), self._due, run_id, eviction
            )

    def _due(self, run_id: str, eviction: Eviction) -> None:
        if self._runs.get(run_id) is eviction:
            self.wake(run_id)

    def wake(self, run_id: str) -> None:
        """Have a run go on, if it is here."""
        if run_id in self._runs:
            self._take_up(run_id)

    def take(self, run_id: str) -> float | None:
        """Forget that a run is here; return when its timeout passes, if that is known."""
        self._runs.pop(run_id, None)
        return self._deadlines.get(run_id)
