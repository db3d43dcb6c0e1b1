"""The outcome of a decision: the events it records, the effects to perform, and the grants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from actorflow.model.events import NO_DATA, Event
from actorflow.model.lifecycle import (
    COMPENSATION_KINDS,
    STEP_MOVES,
    EventKind,
    move_run,
    move_step,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorflow.scheduling.ledger import RunState, StepState

__all__ = ["Effect", "Grant", "Outbox"]

Effect: TypeAlias = "tuple[RunState | None, str, Any]"
"""A message for the actor of a step, by run and step id; the supervisor itself performs a message
without a run.
"""
Grant: TypeAlias = "tuple[RunState, StepState, Any]"
"""An attempt that may begin: the run, the step or compensator, and `Execute` or `Compensate`."""

# Three events are made a step. This is the generated constructor without one of its calls.
_new: Final = tuple.__new__


class Outbox:
    """The only way to change a status: every event moves one by the tables of `lifecycle`."""

    __slots__ = ("effects", "events", "grants", "now", "wall")

    def __init__(self) -> None:
        self.now: float = 0.0
        """The moment of the decision, in monotonic seconds."""
        self.wall: float = 0.0
        """The same moment, in seconds since the epoch."""
        self.events: list[Event] = []
        self.effects: list[Effect] = []
        self.grants: list[Grant] = []

    def perform(self, message: object) -> None:
        """Add an effect that the supervisor performs."""
        self.effects.append((None, "", message))

    def step(
        self,
        run: RunState,
        step: StepState,
        kind: EventKind,
        attempt: int | None = None,
        data: Mapping[str, Any] = NO_DATA,
    ) -> None:
        """Move a step by an event, and record the event.

        Raises:
            IllegalMove: When the step's status has no such move.
        """
        try:
            step.status = STEP_MOVES[step.status][kind]
        except KeyError:
            move_step(step.id, step.status, kind)  # raises, and says what is wrong
        run.events = number = run.events + 1
        event = (number, kind, run.run_id, step.id, attempt, self.wall, data, run.workflow_id)
        self.events.append(_new(Event, event))

    def attempt(
        self,
        run: RunState,
        step: StepState,
        kind: EventKind,
        attempt: int,
        data: Mapping[str, Any] = NO_DATA,
    ) -> None:
        """Move a step or a compensator by an event of its attempt, and record the event.

        Raises:
            IllegalMove: When its status has no such move.
        """
        if step.undoes is None:
            self.step(run, step, kind, attempt, data)
        else:
            self.compensator(run, step, kind, data)

    def compensator(
        self, run: RunState, undo: StepState, kind: EventKind, data: Mapping[str, Any] = NO_DATA
    ) -> None:
        """Move a compensator, by the table of steps, and its step by the matching event.

        Becoming ready and being cancelled before its first attempt are not recorded: they leave
        the step as it is.

        Raises:
            IllegalMove: When either status has no such move.
        """
        undo.status = move_step(undo.id, undo.status, kind)
        recorded = COMPENSATION_KINDS[kind]
        if recorded is not None and undo.undoes is not None:
            self.step(run, undo.undoes, recorded, undo.attempts, data)

    def run(
        self,
        run: RunState,
        kind: EventKind,
        data: Mapping[str, Any] = NO_DATA,
        wall: float | None = None,
    ) -> None:
        """Move a run by an event, and record the event; `wall` is when it happened, if not now.

        Raises:
            IllegalMove: When the run's status has no such move.
        """
        run.status = move_run(run.run_id, run.status, kind)
        run.events = number = run.events + 1
        at = self.wall if wall is None else wall
        event = (number, kind, run.run_id, None, None, at, data, run.scope.workflow_id)
        self.events.append(Event(*event))
