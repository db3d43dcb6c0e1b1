"""Pauses of simulated runs: recorded first, then told to the supervisor, as in production."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from actorflow.errors.running import RunEnded
from actorflow.model.messages import PauseRun
from actorflow.model.pausing import Pause
from actorflow.model.powers import PausesRuns
from actorflow.orchestrator.powers import lacks

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.systems.simulated.system import SimulatedSystem
    from actorflow.testing.simulation.store import SimulatedStateManager

__all__ = ["SimulatedPauses"]

_LENGTHS: Final = (1.0, 0.0, 7.0)
"""How many seconds a pause lasts that the schedule has chosen."""


class SimulatedPauses:
    """Pauses runs, and lets those go on that the schedule has paused.

    Args:
        state: Keeps the pauses.
        system: The system whose virtual time is used.
        choose: Chooses how the schedule pauses runs.
        tell: Tells the supervisor.
    """

    def __init__(
        self,
        state: SimulatedStateManager,
        system: SimulatedSystem,
        choose: Callable[[int, str], int],
        tell: Callable[[object], None],
    ) -> None:
        self._state = state
        self._system = system
        self._choose = choose
        self._tell = tell
        self._ends: dict[str, float] = {}
        """When the pauses of the schedule are over, by run id."""

    def change(self, run_id: str, pause: Pause | None) -> None:
        """Pause a run, or let it go on.

        Raises:
            DefinitionError: When the state manager keeps no pauses.
            RunEnded: When the run has ended.
        """
        kept = self._state.powers.pauses
        if kept is None:
            raise lacks(self._state.powers.state, "Simulation.pause()", PausesRuns)
        if pause is None:
            kept.unpause_run(run_id)
        else:
            kept.pause_run(run_id, pause, self._system.time)
        self._tell(PauseRun(run_id, pause))

    def disturb(self, run_id: str) -> None:
        """Pause a run for a while that is chosen."""
        freeze = bool(self._choose(2, "freeze"))
        length = _LENGTHS[self._choose(len(_LENGTHS), "pause for")]
        with contextlib.suppress(RunEnded):
            self.change(run_id, Pause(reason="the schedule has it paused", freeze=freeze))
            self._ends[run_id] = self._system.time + length
            self._system.call_at(self._ends[run_id], self._go_on, run_id)

    def _go_on(self, run_id: str) -> None:
        if self._ends.get(run_id, self._system.time) <= self._system.time:
            self._ends.pop(run_id, None)
            with contextlib.suppress(RunEnded):
                self.change(run_id, None)

    def open(self) -> None:
        """Let pauses of the schedule end that had begun before a crash."""
        for run_id, moment in self._ends.items():
            self._system.call_at(max(self._system.time, moment), self._go_on, run_id)
