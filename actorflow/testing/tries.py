"""The attempts of a step as events and executors tell of them, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorflow.lifecycle import EventKind

if TYPE_CHECKING:
    from actorflow.events import Event
    from actorflow.testing.life import StepLife
    from actorflow.testing.trace import AttemptTrace

__all__ = ["Try", "tries_of"]


class Try:
    """One attempt of a step."""

    __slots__ = ("abandoned", "body", "end", "end_at", "number", "started", "timed_out")

    def __init__(self, started: Event, number: int, body: AttemptTrace | None) -> None:
        self.started = started
        self.number = number
        self.body = body
        """What its executor knows of it; None if none was given it."""
        self.timed_out: Event | None = None
        self.abandoned = False
        """Whether it is recorded that it was given up."""
        self.end: Event | None = None
        """What became of the step by it: it settled, or is retried."""
        self.end_at = 0
        """The place of that event among the events of the trace."""


def tries_of(step: StepLife) -> list[Try]:
    """Return the attempts of a step that have been recorded as started, in that order."""
    bodies = {body.attempt: body for body in step.bodies}
    tries: list[Try] = []
    for place, event in zip(step.at, step.events, strict=True):
        if event.kind is EventKind.STEP_STARTED:
            number = len(tries) + 1
            tries.append(Try(event, number, bodies.get(number)))
        elif tries and tries[-1].end is None:
            _note(tries[-1], event, place)
    return tries


def _note(one: Try, event: Event, place: int) -> None:
    if event.kind is EventKind.STEP_TIMED_OUT:
        one.timed_out = event
    elif event.kind is EventKind.STEP_ABANDONED:
        one.abandoned = True
    elif event.kind is not EventKind.STEP_BLOCKING:
        one.end, one.end_at = event, place
