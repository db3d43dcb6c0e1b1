"""Compensators as what they are: steps of their own, with attempts, retries and timeouts.

Their events are told of the steps that they undo. Here each is put apart, and told in the words
in which steps are spoken of, so that the laws of attempts hold for compensators as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorflow.lifecycle import EventKind
from actorflow.testing.life import COMPENSATIONS, StepLife

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.events import Event
    from actorflow.testing.life import Life
    from actorflow.testing.trace import AttemptTrace, Trace

__all__ = ["Undoing", "undoings_of"]

_AS_STEPS: Final = {
    EventKind.COMPENSATION_STARTED: EventKind.STEP_STARTED,
    EventKind.COMPENSATION_RETRYING: EventKind.STEP_RETRYING,
    EventKind.COMPENSATION_TIMED_OUT: EventKind.STEP_TIMED_OUT,
    EventKind.COMPENSATION_ABANDONED: EventKind.STEP_ABANDONED,
    EventKind.COMPENSATION_BLOCKING: EventKind.STEP_BLOCKING,
    EventKind.COMPENSATION_COMPLETED: EventKind.STEP_COMPLETED,
    EventKind.COMPENSATION_FAILED: EventKind.STEP_FAILED,
}


class Undoing(StepLife):
    """The compensator of one step, in one life of its run."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"the compensator of {super().__str__()}"


def undoings_of(life: Life, trace: Trace) -> Iterator[Undoing]:
    """Yield the compensators that were started in a life of a run."""
    bodies = [
        body
        for body in trace.compensations
        if body.run_id == life.run_id and life.since < body.begun <= life.until
    ]
    for step in life.odd:
        plan = step.plan.compensation
        if plan is not None and any(event.kind in COMPENSATIONS for event in step.events):
            undo = Undoing(life, plan)
            undo.deaths = step.deaths
            undo.bodies = [body for body in bodies if body.step_id == step.id]
            _tell(undo, step)
            yield undo


def _tell(undo: Undoing, step: StepLife) -> None:
    bodies = {body.attempt: body for body in undo.bodies}
    for place, event in zip(step.at, step.events, strict=True):
        if event.kind in _AS_STEPS:
            undo.at.append(place)
            undo.events.append(_as_of_a_step(event, bodies))


def _as_of_a_step(event: Event, bodies: dict[int, AttemptTrace]) -> Event:
    if event.kind is EventKind.COMPENSATION_COMPLETED:
        # What a compensator returns is not recorded: whatever it is, is right.
        body = bodies.get(event.attempt or 0)
        output = None if body is None else body.output
        event = event._replace(data={"output": output})
    return event._replace(kind=_AS_STEPS[event.kind])
