"""Pausing a run and letting it go on, as a part of its handle."""

from __future__ import annotations

from typing import Protocol

from actorflow.definition.arguments import flag, string
from actorflow.model.pausing import Pause

__all__ = ["PausableRun", "Pausing"]


class Pausing(Protocol):
    """What a handle needs from its run's orchestrator to pause the run."""

    def pause(self, run_id: str, pause: Pause | None) -> None:
        """Pause a run or end its pause, and return when that is recorded."""

    async def pause_async(self, run_id: str, pause: Pause | None) -> None:
        """Do so without blocking the event loop."""


class PausableRun:
    """A run that can be paused, wherever it is in progress."""

    id: str
    """The run's id."""
    _runtime: Pausing

    def pause(self, reason: str = "paused by its owner", *, freeze: bool = False) -> None:
        """Start nothing more of the run until `unpause`; attempts in flight go on to their end.

        It returns when the pause is recorded, for any run that has not ended: in progress here or
        elsewhere, waiting for its time or its turn, or without an owner. The orchestrator that runs
        it hears of the pause within a moment, and the pause outlasts crashes and shutdowns. Pausing
        twice is pausing once.

        While paused, no attempt starts, no retry and no compensator, and no attempt that waits goes
        on. The run does not complete. It may still fail, and it can be cancelled, which ends the
        pause. When nothing of it is in flight, it gives its place to other runs. Its children are
        not paused.

        Args:
            reason: Why; it is in the run's event, and in `RunSnapshot.paused`.
            freeze: Whether its clocks stand still: the timeout of the run, and the total timeouts
                and backoffs of its steps. They are moved by the length of the pause.

        Raises:
            DefinitionError: When an argument is invalid, or the state manager keeps no pauses (see
                `PausesRuns`).
            RunEnded: When the run has ended.
            RunNotFound: When the run's state manager no longer keeps it.
            StoreError: When the pause cannot be recorded.
            WrongLoop: On the orchestrator's own event loop, if it would block that; use
                `pause_async` there.

        Example:
            >>> import threading
            >>> from actorflow import Orchestrator, Workflow
            >>> flow, opened = Workflow("two"), threading.Event()
            >>> @flow.step
            ... def first():
            ...     opened.wait()
            >>> @flow.step(after="first")
            ... def second():
            ...     return "done"
            >>> with Orchestrator() as orchestrator:
            ...     run = orchestrator.start(flow)
            ...     run.pause("the printer is out of paper")
            ...     opened.set()
            ...     print(run.snapshot().paused)
            ...     run.unpause()
            ...     run.result(timeout=10).output
            the printer is out of paper
            'done'
        """
        self._runtime.pause(self.id, _pause(freeze, reason))

    async def pause_async(
        self, reason: str = "paused by its owner", *, freeze: bool = False
    ) -> None:
        """Do what `pause` does without blocking the event loop."""
        await self._runtime.pause_async(self.id, _pause(freeze, reason))

    def unpause(self) -> None:
        """Let a paused run go on: everything that is ready competes again.

        It does nothing for a run that is not paused. The errors are those of `pause`.
        """
        self._runtime.pause(self.id, None)

    async def unpause_async(self) -> None:
        """Do what `unpause` does without blocking the event loop."""
        await self._runtime.pause_async(self.id, None)


def _pause(freeze: object, reason: object) -> Pause:
    reason = string(reason, "reason", "Say why the run is paused, as a string")
    return Pause(reason=reason, freeze=flag(freeze, "freeze"))
