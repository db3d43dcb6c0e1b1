"""What one decision comes to: what has happened, and what is to be done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from actorflow.model.events import NO_DATA, Event
from actorflow.model.lifecycle import STEP_MOVES, EventKind, move_run, move_step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorflow.scheduling.ledger import RunState, StepState

__all__ = ["Effect", "Outbox"]

Effect: TypeAlias = "tuple[StepState | None, Any]"
"""A message, and the step whose actor it is for; None when the supervisor performs it."""

_OF_COMPENSATIONS: Final = {
    EventKind.STEP_STARTED: EventKind.COMPENSATION_STARTED,
    EventKind.STEP_RETRYING: EventKind.COMPENSATION_RETRYING,
    EventKind.STEP_TIMED_OUT: EventKind.COMPENSATION_TIMED_OUT,
    EventKind.STEP_ABANDONED: EventKind.COMPENSATION_ABANDONED,
    EventKind.STEP_BLOCKING: EventKind.COMPENSATION_BLOCKING,
}

# An event is made three times a step; this is what its generated constructor does, less a call.
_new: Final = tuple.__new__


class Outbox:
    """The only way to change a status: something happens, and the table says what follows."""

    __slots__ = ("effects", "events", "now", "wall")

    def __init__(self) -> None:
        self.now: float = 0.0
        """The moment of the decision, in monotonic seconds."""
        self.wall: float = 0.0
        """The same moment, in seconds since the epoch."""
        self.events: list[Event] = []
        self.effects: list[Effect] = []

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
        step_id = step.id
        try:
            step.status = STEP_MOVES[step.status][kind]
        except KeyError:
            move_step(step_id, step.status, kind)  # raises, and says what is wrong
        run.events = number = run.events + 1
        event = _new(Event, (number, kind, run.run_id, step_id, attempt, self.wall, data))
        self.events.append(event)

    def attempt(
        self,
        run: RunState,
        step: StepState,
        kind: EventKind,
        attempt: int,
        data: Mapping[str, Any] = NO_DATA,
    ) -> None:
        """Let `kind` happen to an attempt of a step, or of what undoes it."""
        if step.undoes is None:
            self.step(run, step, kind, attempt, data)
        else:
            self.step(run, step.undoes, _OF_COMPENSATIONS[kind], attempt, data)

    def run(self, run: RunState, kind: EventKind, data: Mapping[str, Any] = NO_DATA) -> None:
        """Let `kind` happen to a run.

        Raises:
            IllegalMove: When the run's status has no such move.
        """
        run.status = move_run(run.run_id, run.status, kind)
        run.events = number = run.events + 1
        self.events.append(Event(number, kind, run.run_id, None, None, self.wall, data))
