"""The laws about undoing what steps have done.

A run that is undone can have its orchestrator crash in the midst of it: it goes on in its next
life. So these laws look at an undoing as a whole, over all lives that it takes.
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, Final

from actorflow.model.lifecycle import EventKind
from actorflow.testing.laws.evidence.life import UNDOING_ENDS
from actorflow.testing.laws.law import of_the_runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.model.events import Event
    from actorflow.testing.laws.evidence.life import Life, StepLife
    from actorflow.testing.laws.evidence.lives import Lives

__all__ = ["compensations_happen_once", "compensations_run_backwards"]

_STARTED: Final = EventKind.COMPENSATION_STARTED
_COMPENSATING: Final = EventKind.RUN_COMPENSATING
_FAILED: Final = EventKind.RUN_FAILED


class _Undoing:
    """How one run was undone, once.

    Args:
        lives: The lives that it took, one after the other.
        place: The place of the event with which it began.
        event: That event.
    """

    def __init__(self, lives: list[Life], place: int, event: Event) -> None:
        self.lives = lives
        self.place = place
        self.reason: str | None = event.data.get("reason")
        """Why the run was cancelled, if it was."""
        self.steps: list[StepLife] = [
            lives[0].steps[step_id] for step_id in event.data["steps"] if step_id in lives[0].steps
        ]
        """What was to be undone by the record, in that order."""

    @property
    def torn(self) -> bool:
        """Whether its record has holes."""
        return any(life.torn for life in self.lives)

    @property
    def limited(self) -> bool:
        """Whether somebody had no time for it, as a shutdown."""
        cancels = [message for life in self.lives for _, _, message in life.cancels]
        return any(message.grace is not None for message in cancels)

    @property
    def over(self) -> bool:
        """Whether its run has ended."""
        return self.lives[-1].end is not None

    def events(self) -> list[tuple[int, Event]]:
        """Return what happened to compensators, with the places of the events, in order."""
        return sorted(
            (place, event)
            for life in self.lives
            for step in life.odd
            for place, event in zip(step.at, step.events, strict=True)
            if place > self.place
        )


def _undoings(lives: Lives) -> Iterator[_Undoing]:
    for number, life in enumerate(lives.all):
        for place, event in life.events:
            if event.kind is _COMPENSATING:
                later = [one for one in lives.all[number + 1 :] if one.run_id == life.run_id]
                going_on = itertools.takewhile(lambda one: one.goes_on, later)
                yield _Undoing([life, *going_on], place, event)


def _undoable(life: Life) -> Iterator[StepLife]:
    return (
        step
        for step in life.steps.values()
        if step.completed and step.plan.compensation is not None
    )


@of_the_runtime(
    21,
    "Each completed step with a compensator is compensated exactly once in a failed run; no other "
    "step is.",
)
def compensations_happen_once(lives: Lives) -> Iterator[str]:
    """Count the ends of compensations.

    What a shutdown's grace has cut, or a record does not tell any more, need not be there. A run
    that was cancelled is undone if whoever cancelled it has asked for that, and not otherwise.
    """
    for undoing in _undoings(lives):
        if not undoing.torn:
            yield from _miscounted(undoing)
            yield from _unasked(undoing)
    for life in lives.all:
        if _is_to_be_undone(life) and not (life.compensates or life.torn):
            yield from (f"{step} was never to be compensated" for step in _undoable(life))


def _is_to_be_undone(life: Life) -> bool:
    if life.end is None or life.end.kind is EventKind.RUN_COMPLETED:
        return False
    return life.end.kind is _FAILED or bool(life.cancels and life.cancels[0][2].compensate)


def _unasked(undoing: _Undoing) -> Iterator[str]:
    life = undoing.lives[0]
    if undoing.reason is not None and not any(one.compensate for _, _, one in life.cancels):
        yield f"{life} was cancelled, and undone although nobody had asked for it"


def _miscounted(undoing: _Undoing) -> Iterator[str]:
    events = undoing.events()
    ends = Counter(event.step_id for _, event in events if event.kind in UNDOING_ENDS)
    due = {step.id for step in _undoable(undoing.lives[0])}
    for step in undoing.lives[0].steps.values():
        count, wanted = ends[step.id], int(step.id in due)
        short = count < wanted and undoing.over and not undoing.limited
        if count > wanted or short:
            yield f"{step} was compensated {count} times, where it was to be {wanted}"
    for _, event in events:
        if event.kind is _STARTED and event.step_id not in due:
            yield f"step {event.step_id!r} was to be compensated, and has nothing to undo"


@of_the_runtime(
    22,
    "Compensations run in reverse order of completion, after the running steps have stopped.",
)
def compensations_run_backwards(lives: Lives) -> Iterator[str]:
    """Hold the order of the compensations against that of completion, and against executors."""
    for undoing in _undoings(lives):
        for one, following in itertools.pairwise(undoing.steps):
            if _completed_at(following) > _completed_at(one):
                yield f"{one} was to be compensated before {following}, which completed later"
        yield from _out_of_turn(undoing)
        yield from _still_running(undoing, lives)


def _completed_at(step: StepLife) -> float:
    """Return the place of the event by which a step has completed, in whatever life."""
    while step.kept and step.life.former is not None:
        step = step.life.former.steps[step.id]
    return step.end_at


def _out_of_turn(undoing: _Undoing) -> Iterator[str]:
    turns = {step.id: turn for turn, step in enumerate(undoing.steps)}
    starts = [str(event.step_id) for _, event in undoing.events() if event.kind is _STARTED]
    for one, following in itertools.pairwise([step_id for step_id in starts if step_id in turns]):
        if turns[following] < turns[one]:
            yield f"step {following!r} was compensated after step {one!r}"


def _still_running(undoing: _Undoing, lives: Lives) -> Iterator[str]:
    life = undoing.lives[0]
    begun = [one.begun for one in lives.trace.compensations if one.run_id == life.run_id]
    first = min((begin for begin in begun if begin > life.since), default=None)
    for step in life.steps.values():
        if step.first_start < undoing.place < step.end_at:
            yield f"{step} had not ended when its run began to be undone"
        if first is not None and step.bodies and step.over > first:
            yield f"{step} was still running when the first compensator began"
