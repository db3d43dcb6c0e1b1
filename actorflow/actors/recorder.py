"""The only way to change a status: something happens, and the table says what follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorflow.events import NO_DATA, Event
from actorflow.lifecycle import move_run, move_step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorflow.actors.ledger import RunState, StepState
    from actorflow.lifecycle import EventKind

__all__ = ["Recorder"]


class Recorder:
    """Moves runs and steps, and writes down the event that moved them."""

    def __init__(self) -> None:
        self.wall = 0.0
        self.events: list[Event] = []

    def take(self) -> list[Event]:
        """Return the events since the last call."""
        events, self.events = self.events, []
        return events

    def step(
        self,
        run: RunState,
        step: StepState,
        kind: EventKind,
        attempt: int | None = None,
        data: Mapping[str, Any] = NO_DATA,
    ) -> None:
        """Let `kind` happen to a step.

        Raises:
            IllegalMove: When the step's status has no such move.
        """
        step_id = step.plan.id
        step.status = move_step(step_id, step.status, kind)
        run.events = number = run.events + 1
        self.events.append(Event(number, kind, run.run_id, step_id, attempt, self.wall, data))

    def run(self, run: RunState, kind: EventKind, data: Mapping[str, Any] = NO_DATA) -> None:
        """Let `kind` happen to a run.

        Raises:
            IllegalMove: When the run's status has no such move.
        """
        run.status = move_run(run.run_id, run.status, kind)
        run.events = number = run.events + 1
        self.events.append(Event(number, kind, run.run_id, None, None, self.wall, data))
