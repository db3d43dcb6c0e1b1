"""The record of a run that was accepted and then never started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorflow.events import Event, EventKind

if TYPE_CHECKING:
    from actorflow.results import RunSnapshot

__all__ = ["withdrawal"]

_WITHDRAWN: Final = {"reason": "it was withdrawn before it started"}


def withdrawal(pending: RunSnapshot, wall: float) -> list[Event]:
    """Return the events that end a pending run: its steps are cancelled, and so is it."""
    told: list[tuple[EventKind, str | None]] = [
        *((EventKind.STEP_CANCELLED, step_id) for step_id in pending.steps),
        (EventKind.RUN_CANCELLED, None),
    ]
    return [
        Event(number, kind, pending.run_id, step_id, None, wall, _WITHDRAWN)
        for number, (kind, step_id) in enumerate(told, start=1)
    ]
