"""The laws about pauses: nothing starts, frozen clocks stand still, and afterwards all goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorflow.model.lifecycle import EventKind
from actorflow.testing.laws.evidence.holds import is_held
from actorflow.testing.laws.evidence.life import NEVER
from actorflow.testing.laws.law import of_the_runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.model.events import Event
    from actorflow.testing.laws.evidence.life import Life
    from actorflow.testing.laws.evidence.lives import Lives

__all__ = ["STARTS", "frozen_clocks_stand_still", "paused_runs_start_nothing", "pauses_are_kept"]

STARTS: Final = frozenset(
    {
        EventKind.STEP_STARTED,
        EventKind.STEP_CONTINUED,
        EventKind.COMPENSATION_STARTED,
        EventKind.COMPENSATION_CONTINUED,
    }
)
"""Events that nothing of a paused run may have."""
_TIMED_OUT: Final = frozenset({EventKind.STEP_TIMED_OUT, EventKind.COMPENSATION_TIMED_OUT})
_TELLS: Final = frozenset({EventKind.RUN_PAUSED, EventKind.RUN_UNPAUSED})


@of_the_runtime(
    36,
    "No attempt of a paused run starts, retries, continues or compensates; what is in flight goes "
    "on.",
)
def paused_runs_start_nothing(lives: Lives) -> Iterator[str]:
    """Look for starts between the events of a pause, and after a pause was asked for.

    The second does not depend on what the supervisor says of itself.
    """
    for life in lives.all:
        if not (life.holds or life.asked):
            continue
        for place, event in _of_steps(life):
            if event.kind in STARTS and not life.torn:
                if is_held(life, place, scarce=False):
                    yield f"{_named(event)} of {life} happened at {event.time:g} s, in a pause"
                elif _must_not_start(life, lives.late.get(place, lives.trace.marks[place])):
                    yield f"{_named(event)} of {life} came after a pause that was asked for"


def _of_steps(life: Life) -> Iterator[tuple[int, Event]]:
    for step in life.steps.values():
        yield from zip(step.at, step.events, strict=True)


def _named(event: Event) -> str:
    return f"{event.kind.value} {event.step_id}"


def _must_not_start(life: Life, deliveries: float) -> bool:
    """Return whether a run was to be paused by the latest word of it, and not cancelled."""
    words = [pause for count, pause in life.asked if count <= deliveries]
    cancelled = any(count <= deliveries for count, _, _ in life.reasons_to_end)
    return bool(words) and words[-1] is not None and not cancelled


@of_the_runtime(
    37,
    "A pause lasts until it is ended, whichever orchestrator has the run: it begins and ends once, "
    "a paused run does not complete, and an unpaused one goes on.",
)
def pauses_are_kept(lives: Lives) -> Iterator[str]:
    """Compare the events of pauses with each other, over all lives, and with what was asked for.

    Laws 17 and 18 say whether a run goes on.
    """
    for life in lives.all:
        paused = _was_paused(life)
        for _, event in life.events:
            if event.kind in _TELLS:
                begins = event.kind is EventKind.RUN_PAUSED
                if begins is paused and not event.data.get("cancelled"):
                    yield f"{event.kind.value} of {life} at {event.time:g} s changed nothing"
                paused = begins
            elif event.kind is EventKind.RUN_COMPLETED and paused:
                yield f"{life} completed at {event.time:g} s, although it was paused"
        if lives.at_rest and life is lives.latest[life.run_id]:
            yield from _unheard(life, paused=paused)


def _was_paused(life: Life) -> bool:
    """Return whether a run was paused by its events when a life began."""
    former, told = life.former, None
    while former is not None and told is None:
        kinds = [event.kind for _, event in former.events if event.kind in _TELLS]
        told = kinds[-1] if kinds and former.end is None else None
        if former.end is not None:
            return False
        former = former.former
    return told is EventKind.RUN_PAUSED


def _unheard(life: Life, *, paused: bool) -> Iterator[str]:
    """Yield a request that had no effect when nothing was left to happen."""
    over = life.end is not None or life.cancels or life.torn or life.until != NEVER
    if life.asked and not over and (life.asked[-1][1] is not None) is not paused:
        wanted = "go on" if paused else "be paused"
        yield f"{life} was to {wanted}, which had no effect"


@of_the_runtime(
    38,
    "While a pause freezes a run, its deadline, its steps' total timeouts and its backoffs stand "
    "still; afterwards they are late by its length, no less and no more.",
)
def frozen_clocks_stand_still(lives: Lives) -> Iterator[str]:
    """Look for clocks that run out while they stand still.

    Laws 11, 12 and 18 compare the moments at which they run out later, and those of deadlines.
    """
    for life in lives.all:
        frozen = [hold for hold in life.holds if hold.freeze]
        for hold in frozen:
            for place, event in _of_steps(life):
                if hold.since < place < hold.until and _runs_out(life, event, place):
                    yield f"{event.kind.value} of {life} at {event.time:g} s: its clock stood still"


def _runs_out(life: Life, event: Event, place: int) -> bool:
    if event.kind in _TIMED_OUT:
        return bool(event.data["limit"] == "total")
    if event.kind is EventKind.STEP_READY and event.step_id is not None:
        step = life.steps[event.step_id]
        before = [one for at, one in zip(step.at, step.events, strict=True) if at < place]
        return bool(before) and before[-1].kind is EventKind.STEP_RETRYING
    return False
