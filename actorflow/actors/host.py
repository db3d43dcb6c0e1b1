"""What the supervisor needs of the world outside the actor system."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorflow.context import Attempt
    from actorflow.events import Event
    from actorflow.protocols import Clock, StateManager
    from actorflow.results import RunResult

__all__ = ["Audience", "Host"]


class Audience(Protocol):
    """Whoever watches."""

    present: bool
    """Whether anybody does."""

    def publish(self, events: Sequence[Event]) -> None:
        """Show recorded events; neither blocks nor raises."""


class Host(Protocol):
    """What the supervisor needs of the world outside the actor system."""

    @property
    def clock(self) -> Clock:
        """What the time is."""

    @property
    def state(self) -> StateManager:
        """Where events are recorded."""

    @property
    def audience(self) -> Audience:
        """Who watches what happens."""

    def committed(self, error: BaseException | None, /) -> None:
        """Post `Committed` to the supervisor; from any thread."""

    def unknown(self, run_id: str) -> None:
        """Let go of a run that was cancelled before its start, or after its end."""

    def finished(self, result: RunResult) -> None:
        """Hand a run's result to its handle."""

    def unrecorded(self, events: Sequence[Event], error: BaseException) -> None:
        """Report events that the state manager could not record."""

    def misbehaved(self, attempt: Attempt, what: str, error: BaseException) -> None:
        """Report an executor that raised where it must not."""

    def broken(self, message: object, error: BaseException) -> None:
        """Report a defect of actorflow itself: a message, or an effect, that went wrong."""
