"""How a run is ended that nobody runs: by the events that say so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorflow.events import Event
from actorflow.lifecycle import EventKind, RunStatus

if TYPE_CHECKING:
    from actorflow.protocols import Clock, StateManager
    from actorflow.results import RunSnapshot

__all__ = ["cancelled", "withdraw", "withdrawal"]


def withdraw(state: StateManager, run_id: str, clock: Clock) -> None:
    """Record that an accepted run will not start; one that was to be resumed stays as it is."""
    pending = state.snapshot(run_id)
    if pending.status is RunStatus.PENDING:
        events = withdrawal(pending, clock.wall(clock.now()))
        state.record(events, lambda _: None)  # the supervisor never knew of it


def withdrawal(pending: RunSnapshot, wall: float) -> list[Event]:
    """Return the events that end a run which was accepted and then never started."""
    return cancelled(pending, 0, wall, "it was withdrawn before it started")


def cancelled(run: RunSnapshot, recorded: int, wall: float, reason: str) -> list[Event]:
    """Return the events by which a run ends as cancelled.

    Args:
        run: The run as it stands.
        recorded: How many events of it are recorded.
        wall: What time it is.
        reason: Why.
    """
    open_steps = [step_id for step_id, step in run.steps.items() if not step.status.settled]
    told: list[tuple[EventKind, str | None]] = [
        *((EventKind.STEP_CANCELLED, step_id) for step_id in open_steps),
        (EventKind.RUN_CANCELLED, None),
    ]
    return [
        Event(number, kind, run.run_id, step_id, None, wall, {"reason": reason})
        for number, (kind, step_id) in enumerate(told, recorded + 1)
    ]
