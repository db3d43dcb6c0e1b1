"""The laws about take-overs: of runs that were left, and of runs whose processes died."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorflow.errors.running import TakenOverTooOften
from actorflow.model.lifecycle import EventKind
from actorflow.testing.laws.evidence.life import (
    NEVER,
    STEP_ENDS,
    UNDOING_ENDS,
)
from actorflow.testing.laws.law import of_the_runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.model.events import Event
    from actorflow.testing.laws.evidence.life import Life
    from actorflow.testing.laws.evidence.lives import Lives

__all__ = ["crash_loops_end", "left_runs_stay_as_they_were"]

_STARTED: Final = EventKind.STEP_STARTED
_STARTS: Final = frozenset({_STARTED, EventKind.COMPENSATION_STARTED})
_WORKS: Final[frozenset[str]] = _STARTS | {"step.continued", "compensation.continued"}
"""Events with which an attempt begins, or continues after a wait."""
_PAUSES: Final[frozenset[str]] = frozenset(
    {
        EventKind.STEP_RETRYING,
        EventKind.COMPENSATION_RETRYING,
        "step.suspended",
        "compensation.suspended",
        *STEP_ENDS,
        *UNDOING_ENDS,
    }
)
"""Events with which an attempt ends, or begins to wait."""
_OF_A_STOP: Final = frozenset(
    {
        *_STARTS,
        EventKind.STEP_CANCELLED,
        EventKind.RUN_FAILED,
        EventKind.RUN_CANCELLED,
        EventKind.RUN_COMPENSATING,
    }
)
"""Events that a shutdown would cause if it did not leave the run as it is."""


@of_the_runtime(
    33,
    "A run that is left at a shutdown stays as recorded: its stop is no event, and nothing of it "
    "is recorded after it was handed back.",
)
def left_runs_stay_as_they_were(lives: Lives) -> Iterator[str]:
    """Look for events of a run that was left.

    A run that is ending when it is to be left, because it failed or was cancelled, ends first, and
    so does one that is cancelled while its attempts stop.
    """
    for life in lives.all:
        if life.left_at != NEVER:
            yield from _told_of_the_stop(life, lives)
    for recorded, delivered, run_id in lives.trace.left:
        life = lives.at(run_id, delivered)
        for place, event in _events(life):
            if place >= recorded:
                yield f"{event.kind.value} of {life} was recorded after it was handed back"


def _told_of_the_stop(life: Life, lives: Lives) -> Iterator[str]:
    if _is_ending(life):
        return
    # The last compensator may have ended within the decision that leaves the run.
    kinds = _STARTS if life.goes_on else _OF_A_STOP
    for place, event in _events(life):
        asked = lives.late.get(place, lives.trace.marks[place])
        if event.kind in kinds and asked >= life.left_at:
            yield f"{event.kind.value} of {life} was recorded at {event.time:g} s, when it was left"


def _is_ending(life: Life) -> bool:
    """Return whether a run may end although it is left: by a failure, a timeout or a cancellation.

    A run that is being undone does not end.
    """
    if life.goes_on:
        return False
    if life.undone:
        return True
    ends = (step.end for step in life.steps.values() if step.end is not None)
    failed = any(end.kind is EventKind.STEP_FAILED for end in ends)
    deadline = life.start.deadline
    return bool(life.cancels or life.torn or failed or life.start.poison) or deadline is not None


def _events(life: Life) -> Iterator[tuple[int, Event]]:
    """Yield the events of a run and its steps in a life, each with its index, run by run."""
    yield from life.events
    for step in life.steps.values():
        yield from zip(step.at, step.events, strict=True)


@of_the_runtime(
    34,
    "A run is taken over at most `max_takeovers` times in a row from crashes with a step in flight "
    "and none settled in between; beyond that it fails, and nothing else fails it so.",
)
def crash_loops_end(lives: Lives) -> Iterator[str]:
    """Count the crashes of each run, by its recorded events, and compare how it went on.

    Hand-overs do not count, nor do crashes while no attempt was in flight. A person who resumes the
    run sets the count back.
    """
    limit = lives.trace.settings.max_takeovers
    counts: dict[str, tuple[int, int]] = {}
    for life in lives.all:
        least, most = _counted(life, counts.get(life.run_id, (0, 0)))
        if least > limit and life.start.poison is None:
            yield f"{life} was taken over, although it had crashed {least} times in a row"
        elif most <= limit and life.start.poison is not None:
            yield f"{life} was given up after {most} crashes, of {limit} allowed"
        yield from _goes_on(life)
        counts[life.run_id] = (0, 0) if _settles(life) else (least, most)


def _counted(life: Life, before: tuple[int, int]) -> tuple[int, int]:
    """Return how many crashes in a row a run has had before a life, at least and at most.

    A life that has recorded nothing may have been cut before it began. Then the attempts in flight
    may be those of the life before.
    """
    former, (least, most) = life.former, before
    if former is None or life.start.past is None:
        return 0, 0
    if former.handed_back != NEVER or not former.cut:
        return before
    if not any(True for _ in _events(former)):
        return least, most + 1
    counts = _in_flight(former)
    return least + counts, most + counts


def _in_flight(life: Life) -> bool:
    """Return whether an attempt was in flight at the end of a life."""
    for step in life.steps.values():
        told = [event.kind for event in step.events if event.kind in _WORKS | _PAUSES]
        if told and told[-1] in _WORKS:
            return True
    return False


def _settles(life: Life) -> bool:
    """Return whether a step settled or was undone in a life."""
    return any(event.kind in STEP_ENDS or event.kind in UNDOING_ENDS for _, event in _events(life))


def _goes_on(life: Life) -> Iterator[str]:
    if life.start.poison is None or life.goes_on:
        return
    for step in life.steps.values():
        if any(event.kind is _STARTED for event in step.events):
            yield f"{step} was started, although its run was given up"
    error = None if life.end is None else life.end.data.get("error")
    failed = any(step.kept and not step.completed for step in life.odd)
    if life.end is not None and not (failed or isinstance(error, TakenOverTooOften)):
        yield f"{life} was given up, but ended with {life.end.kind.value} for another reason"
