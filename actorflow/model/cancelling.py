"""The events that end a run as cancelled, made without its orchestrator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorflow.model.events import Event
from actorflow.model.lifecycle import EventKind

if TYPE_CHECKING:
    from actorflow.model.records import RunSnapshot

__all__ = ["cancelled"]


def cancelled(run: RunSnapshot, recorded: int, wall: float, reason: str) -> list[Event]:
    """Return the events that end a run as cancelled, the first of all included if it is missing.

    Args:
        run: The run as it stands.
        recorded: How many events of it are recorded.
        wall: The time, in seconds since the epoch.
        reason: Why.
    """
    open_steps = [step_id for step_id, step in run.steps.items() if not step.status.settled]
    told: list[tuple[EventKind, str | None]] = [
        *((EventKind.STEP_CANCELLED, step_id) for step_id in open_steps),
        (EventKind.RUN_CANCELLED, None),
    ]
    first = [] if recorded else [_acceptance(run)]
    return first + [
        Event(number, kind, run.run_id, step_id, None, wall, {"reason": reason}, run.workflow_id)
        for number, (kind, step_id) in enumerate(told, recorded + len(first) + 1)
    ]


def _acceptance(run: RunSnapshot) -> Event:
    names = ("workflow_id", "trace_id", "correlation_id", "business_id")
    known = {name: getattr(run, name) for name in names if getattr(run, name) is not None}
    ids = run.run_id, None, None
    return Event(1, EventKind.RUN_ACCEPTED, *ids, run.created_at, known, run.workflow_id)
