"""Pausing the runs of a cluster, and sending messages to them, as a part of it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from actorflow.errors.running import RunEnded
from actorflow.model.pausing import Pause

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.testing.cluster.process import Process

__all__ = ["Steering"]


class Steering:
    """What can be done to runs through one orchestrator, wherever they are in progress."""

    def _able(self, orchestrator: int) -> Process:
        raise NotImplementedError

    @contextlib.contextmanager
    def _through(self, orchestrator: int) -> Iterator[Any]:
        """Give what a handle of a run uses, in an orchestrator that can reach the store."""
        process = self._able(orchestrator)
        process.recorder.check_not_stalled()
        with process.recorder.at_once():
            yield process.parts.premises

    def send(
        self,
        run_id: str,
        name: str = "go",
        payload: Any = None,
        *,
        id: str | None = None,
        orchestrator: int = 0,
    ) -> bool:
        """Send a message to a run through one orchestrator; return False if the run has ended.

        Otherwise it is as `Run.send`, and raises what `cancel` does.
        """
        with self._through(orchestrator) as premises:
            try:
                premises.send(run_id, name, payload, id)
            except RunEnded:
                return False
        return True

    def pause(
        self,
        run_id: str,
        reason: str = "paused by its owner",
        *,
        freeze: bool = False,
        orchestrator: int = 0,
    ) -> None:
        """Pause a run through one orchestrator, wherever it is in progress; see `Run.pause`.

        It raises what `cancel` does, and `RunEnded` for a run that has ended.
        """
        with self._through(orchestrator) as premises:
            premises.pause(run_id, Pause(reason=reason, freeze=freeze))

    def unpause(self, run_id: str, *, orchestrator: int = 0) -> None:
        """Let a paused run go on, through one orchestrator; it raises what `pause` does."""
        with self._through(orchestrator) as premises:
            premises.pause(run_id, None)
