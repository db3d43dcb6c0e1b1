"""The laws about compensation.

The orchestrator of a run can crash during its compensation, which then continues in the run's next
life. These laws therefore look at a compensation as a whole, over all lives that it takes.
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


class _Compensation:
    """One compensation of one run.

    Args:
        lives: The lives that it took, in order.
        place: The index of the event with which it began.
        event: That event.
    """

    def __init__(self, lives: list[Life], place: int, event: Event) -> None:
        self.lives = lives
        self.place = place
        self.reason: str | None = event.data.get("reason")
        """The reason for the run's cancellation, if any."""
        self.steps: list[StepLife] = [
            lives[0].steps[step_id] for step_id in event.data["steps"] if step_id in lives[0].steps
        ]
        """The steps to compensate, by the record, in order."""

    @property
    def torn(self) -> bool:
        """Whether its record ended early."""
        return any(life.torn for life in self.lives)

    @property
    def limited(self) -> bool:
        """Whether a grace limited it, as in a shutdown."""
        cancels = [message for life in self.lives for _, _, message in life.cancels]
        return any(message.grace is not None for message in cancels)

    @property
    def over(self) -> bool:
        """Whether its run has ended."""
        return self.lives[-1].end is not None

    def events(self) -> list[tuple[int, Event]]:
        """Return the events of compensators with their indices, in order."""
        return sorted(
            (place, event)
            for life in self.lives
            for step in life.odd
            for place, event in zip(step.at, step.events, strict=True)
            if place > self.place
        )


def _compensations_of(lives: Lives) -> Iterator[_Compensation]:
    for number, life in enumerate(lives.all):
        for place, event in life.events:
            if event.kind is _COMPENSATING:
                later = [one for one in lives.all[number + 1 :] if one.run_id == life.run_id]
                going_on = itertools.takewhile(lambda one: one.goes_on, later)
                yield _Compensation([life, *going_on], place, event)


def _compensable(life: Life) -> Iterator[StepLife]:
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

    Compensations that a shutdown's grace has cut, or whose record ended early, need not be there. A
    cancelled run is compensated if the cancellation asked for it, and not otherwise.
    """
    for compensation in _compensations_of(lives):
        if not compensation.torn:
            yield from _miscounted(compensation)
            yield from _unrequested(compensation)
    for life in lives.all:
        if _must_be_compensated(life) and not (life.compensates or life.torn):
            yield from (f"{step} was not compensated" for step in _compensable(life))


def _must_be_compensated(life: Life) -> bool:
    if life.end is None or life.end.kind is EventKind.RUN_COMPLETED:
        return False
    return life.end.kind is _FAILED or bool(life.cancels and life.cancels[0][2].compensate)


def _unrequested(compensation: _Compensation) -> Iterator[str]:
    life = compensation.lives[0]
    if life.of_undone:
        return
    if compensation.reason is not None and not any(one.compensate for _, _, one in life.cancels):
        yield f"{life} was cancelled, and compensated although that was not requested"


def _miscounted(compensation: _Compensation) -> Iterator[str]:
    events = compensation.events()
    ends = Counter(event.step_id for _, event in events if event.kind in UNDOING_ENDS)
    due = {step.id for step in _compensable(compensation.lives[0])}
    for step in compensation.lives[0].steps.values():
        count, wanted = ends[step.id], int(step.id in due)
        short = count < wanted and compensation.over and not compensation.limited
        if count > wanted or short:
            yield f"{step} was compensated {count} times, but should be {wanted} times"
    for _, event in events:
        if event.kind is _STARTED and event.step_id not in due:
            yield f"step {event.step_id!r} was compensated, but has nothing to compensate"


@of_the_runtime(
    22,
    "Compensations run in reverse order of completion, after the running steps have stopped.",
)
def compensations_run_backwards(lives: Lives) -> Iterator[str]:
    """Compare the order of compensations with that of completion and the executors' account."""
    for compensation in _compensations_of(lives):
        for one, following in itertools.pairwise(compensation.steps):
            if _completed_at(following) > _completed_at(one):
                yield f"{one} was to be compensated before {following}, which completed later"
        yield from _out_of_turn(compensation)
        yield from _still_running(compensation, lives)


def _completed_at(step: StepLife) -> float:
    """Return the index of the event with which a step completed, in any life."""
    while step.kept and step.life.former is not None:
        step = step.life.former.steps[step.id]
    return step.end_at


def _out_of_turn(compensation: _Compensation) -> Iterator[str]:
    turns = {step.id: turn for turn, step in enumerate(compensation.steps)}
    starts = [str(event.step_id) for _, event in compensation.events() if event.kind is _STARTED]
    for one, following in itertools.pairwise([step_id for step_id in starts if step_id in turns]):
        if turns[following] < turns[one]:
            yield f"step {following!r} was compensated after step {one!r}"


def _still_running(compensation: _Compensation, lives: Lives) -> Iterator[str]:
    life = compensation.lives[0]
    begun = [one.begun for one in lives.trace.compensations if one.run_id == life.run_id]
    first = min((begin for begin in begun if begin > life.since), default=None)
    for step in life.steps.values():
        if step.first_start < compensation.place < step.end_at:
            yield f"{step} had not ended when the compensation of its run began"
        if first is not None and step.bodies and step.over > first:
            yield f"{step} was still running when the first compensator began"
