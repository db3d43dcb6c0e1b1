"""Pausing the runs of a simulation, and sending messages to them, as a part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorflow.model.mail import checked_message
from actorflow.model.pausing import Pause

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.testing.simulation.runtime import SimulatedRuntime

__all__ = ["Steering"]


class Steering:
    """What can be done to the runs of a simulation from outside."""

    _known: Callable[[str], Any]

    @property
    def _runtime(self) -> SimulatedRuntime:
        raise NotImplementedError

    def pause(
        self, run_id: str, *, freeze: bool = False, reason: str = "paused by its owner"
    ) -> None:
        """Pause a run, as `Run.pause` does.

        Raises:
            DefinitionError: When the state manager keeps no pauses.
            RunEnded: When the run has ended.
            RunNotFound: When no such run was started.
        """
        self._known(run_id)
        self._runtime.pauses.change(run_id, Pause(reason=reason, freeze=freeze))

    def unpause(self, run_id: str) -> None:
        """Let a paused run go on, as `Run.unpause` does; it raises what `pause` does."""
        self._known(run_id)
        self._runtime.pauses.change(run_id, None)

    def send(
        self, run_id: str, name: str = "go", payload: Any = None, id: str | None = None
    ) -> bool:
        """Send a message to a run, as `Run.send` does; return False if the run has ended.

        Raises:
            RunNotFound: When no such run was started.
            DefinitionError: When the name or the id is invalid.
        """
        self._known(run_id)
        checked = checked_message(name, id)
        return self._runtime.messages.send(run_id, checked[0], payload, checked[1])
