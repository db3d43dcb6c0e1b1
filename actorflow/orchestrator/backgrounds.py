"""Several things in the background of one orchestrator, which begin and end as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorflow.support.oneshot import Once

if TYPE_CHECKING:
    from actorflow.orchestrator.runtime import Runtime
    from actorflow.orchestrator.shutdown import Background

__all__ = ["Together"]


class Together:
    """Several things in the background of one orchestrator.

    Args:
        parts: They begin in this order, and end at once.
    """

    def __init__(self, *parts: Background) -> None:
        self._parts = parts
        self.ended: Once[None] = Once()
        """Resolved when all have ended."""
        for part in parts:
            part.ended.when_done(self._one_ended)

    def begin(self, runtime: Runtime) -> None:
        """Start all."""
        for part in self._parts:
            part.begin(runtime)

    def end(self) -> None:
        """Stop all soon."""
        for part in self._parts:
            part.end()

    def _one_ended(self) -> None:
        if all(part.ended.done for part in self._parts):
            self.ended.set(None)
