"""What one process hears of the ends of runs that others may run: the power `FollowsRuns`.

The store tells the followers of a run when its end is recorded. A signal may come late, or be lost,
so all followed runs are looked at now and then as well, as the watcher of a database does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorflow.errors.storage import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.model.lifecycle import RunStatus
    from actorflow.systems.simulated.system import SimulatedSystem
    from actorflow.testing.cluster.recorder import Recorder

    Changed = Callable[[RunStatus | None], None]

__all__ = ["NET", "Ears"]

NET: Final = 5.0
"""Seconds between two looks at all followed runs."""


class Ears:
    """Tells followers how their runs stand.

    Args:
        system: The system of the process, whose timers stand for the watcher's thread.
        recorder: Its state manager.
        active: Returns whether it must go on looking.
    """

    def __init__(
        self, system: SimulatedSystem, recorder: Recorder, active: Callable[[], bool]
    ) -> None:
        self._system = system
        self._recorder = recorder
        self._active = active
        self._followed: dict[str, dict[object, Changed]] = {}
        self._spread = False
        """Whether it looks at all of them after a while."""

    def follow(self, run_id: str, changed: Changed) -> Callable[[], None]:
        """Call `changed` soon and when the run has ended; return what ends that."""
        follower = object()
        self._followed.setdefault(run_id, {})[follower] = changed
        self._system.call_at(self._system.time, self.hear, run_id)
        self._spread_net()
        return lambda: self._leave(run_id, follower)

    def _leave(self, run_id: str, follower: object) -> None:
        followers = self._followed.get(run_id, {})
        followers.pop(follower, None)
        if not followers:
            self._followed.pop(run_id, None)

    def follows(self, run_id: str) -> bool:
        """Return whether a run is followed."""
        return run_id in self._followed

    def hear(self, run_id: str) -> None:
        """Look at a run, unless the store cannot be reached; the net catches it then."""
        try:
            if run_id in self._followed and self._recorder.is_reachable:
                status = self._recorder.owner.status_of(run_id)
                for changed in list(self._followed[run_id].values()):
                    changed(status)
        except StoreUnavailable:
            pass

    def _spread_net(self) -> None:
        if self._followed and not self._spread:
            self._spread = True
            self._system.call_at(self._system.time + NET, self._look)

    def _look(self) -> None:
        self._spread = False
        if self._active():
            for run_id in list(self._followed):
                self.hear(run_id)
            self._spread_net()
