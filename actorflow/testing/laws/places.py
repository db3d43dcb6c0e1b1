"""Who had the places for runs in progress, where there were fewer of them than runs."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from actorflow.lifecycle import EventKind
from actorflow.testing.life import NEVER, RUN_ENDS, Life

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.testing.lives import Lives

__all__ = ["crowded_places", "jumped_queue"]

_RUN_STARTED: Final = EventKind.RUN_STARTED
_TAKES_A_PLACE: Final = frozenset(
    {_RUN_STARTED, EventKind.STEP_READY, EventKind.STEP_STARTED, EventKind.COMPENSATION_STARTED}
)
"""Whoever this happens to is in progress, if not since then, so before."""


def _scarce(lives: Lives) -> bool:
    return len(lives.latest) > lives.trace.settings.max_active_runs


def crowded_places(lives: Lives) -> Iterator[str]:
    """Say when more runs were in progress than there are places."""
    if not _scarce(lives):
        return
    places, active = lives.trace.settings.max_active_runs, dict[Life, None]()
    for event, owner, mark in zip(lives.trace.events, lives.owners, lives.trace.marks, strict=True):
        life = owner if isinstance(owner, Life) else owner.life
        if event.kind in RUN_ENDS:
            active.pop(life, None)
        elif event.kind in _TAKES_A_PLACE and not life.torn:
            active = {one: None for one in active if one.until > mark}  # a crash frees all
            active[life] = None
            if len(active) > places:
                named = ", ".join(map(str, active))
                yield f"at {event.time:g} s {named} were in progress, in {places} places"


def jumped_queue(lives: Lives) -> Iterator[str]:
    """Say which run was started while another one waited that had to come first.

    Runs that are resumed, and have something on record already, are not compared.
    """
    if not _scarce(lives):
        return
    fresh = [life for life in lives.all if life.former is None and not life.torn]
    begun = {life: _begun_at(life) for life in fresh}
    started = [life for life in fresh if _is_started(life)]
    for life, other in itertools.product(started, fresh):
        if begun[life] < begun[other] and _had_to_wait(life, int(begun[life]), other, lives):
            yield f"{life} was started while {other}, which had to come first, waited"


def _had_to_wait(life: Life, place: int, other: Life, lives: Lives) -> bool:
    """Return whether a run had to wait for another one that was started later."""
    trace = lives.trace
    mark, ours, theirs = trace.marks[place], life.start.priority, other.start.priority
    if other.until <= mark or theirs < ours:
        return False
    if other.since < life.since:
        return True
    if theirs == ours or trace.settings.faults.store_stalls:
        return False
    # What is heard together is recorded together: only what was recorded before is certain
    # to have been decided before.
    before = bisect_left(trace.marks, mark) - 1
    return before >= 0 and other.since <= trace.marks[before]


def _is_started(life: Life) -> bool:
    """Return whether a run got a place, rather than to end where it waited."""
    return bool(life.events) and life.events[0][1].kind is _RUN_STARTED


def _begun_at(life: Life) -> float:
    """Return the place of the event by which a run was started, or had ended before that."""
    return life.events[0][0] if life.events else NEVER
