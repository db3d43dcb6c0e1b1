"""Decisions that wait for their record."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorflow.actors.outbox import Effect
    from actorflow.events import Event

__all__ = ["Held"]


class Held:
    """Decisions that were taken together, and wait for their events to be recorded."""

    __slots__ = ("effects", "error", "events", "recorded")

    def __init__(
        self,
        events: Sequence[Event],
        effects: Sequence[Effect],
        *,
        recorded: bool,
        error: BaseException | None = None,
    ) -> None:
        self.events = events
        self.effects = effects
        self.recorded = recorded
        """Whether nothing is to be waited for any more, well or ill."""
        self.error = error
        """What kept the events from being recorded."""
