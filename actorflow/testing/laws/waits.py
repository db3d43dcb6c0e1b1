"""The law about attempts that wait, and what it means for places."""

from __future__ import annotations

import bisect
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from actorflow.model.lifecycle import EventKind
from actorflow.testing.laws.evidence.holds import is_held
from actorflow.testing.laws.evidence.life import AS_STEPS, RUN_ENDS, UNDOING_ENDS, Life
from actorflow.testing.laws.law import of_the_runtime

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorflow.testing.laws.evidence.life import StepLife
    from actorflow.testing.laws.evidence.lives import Lives
    from actorflow.testing.laws.evidence.waits import Pause, Waits
    from actorflow.testing.trace.trace import Idle, WaitTrace

__all__ = ["crowded_with_waits", "waits_hold_nothing"]

_READY: Final = EventKind.STEP_READY
_STARTED: Final = EventKind.STEP_STARTED
_RETRYING: Final = EventKind.STEP_RETRYING
_SUSPENDED: Final = EventKind.STEP_SUSPENDED
_CONTINUED: Final = EventKind.STEP_CONTINUED
_TAKES_A_PLACE: Final = frozenset(
    {
        EventKind.RUN_STARTED,
        _READY,
        _STARTED,
        _CONTINUED,
        EventKind.COMPENSATION_STARTED,
        EventKind.COMPENSATION_CONTINUED,
    }
)
_BETWEEN: Final = UNDOING_ENDS | {EventKind.RUN_COMPENSATING}
"""Events after which something else is undone."""
_HOLDS: Final = frozenset({_READY, _STARTED, _CONTINUED, _RETRYING})
"""Events after which a step keeps its run's place."""
_DELIVERIES: Final = attrgetter("deliveries")
_NO_MOVES: Final = frozenset(
    {
        EventKind.STEP_TIMED_OUT,
        EventKind.STEP_ABANDONED,
        EventKind.STEP_BLOCKING,
        EventKind.STEP_AWAITING,
        EventKind.STEP_RECEIVED,
        EventKind.STEP_EXPIRED,
    }
)


@of_the_runtime(
    35,
    "What waits holds neither worker, sync lane nor place; a woken attempt continues as soon as "
    "there is room, by priority.",
)
def waits_hold_nothing(lives: Lives) -> Iterator[str]:
    """Compare the waits of bodies with the events, whenever nothing could be delivered.

    An attempt whose body waits is suspended, and continues only when the wait is over. When it is
    over and there is a worker or the sync lane for it, and a place for its run, it has continued. A
    run that only waits keeps no place from a run that has not begun. Attempts of a run that ends
    are stopped, and do not continue.

    Law 1 counts what holds workers, lanes and places, law 2 the workers that are given back, and
    law 16 the priorities.
    """
    waits = lives.waits
    if waits is None:
        return
    for pauses in waits.of.values():
        yield from _rash(pauses)
    crashes = {count for count, _ in lives.trace.crashes}
    moments = [
        idle for idle in lives.trace.idle if not idle.writes and idle.deliveries not in crashes
    ]
    yield from _holding(waits, moments)
    for idle in moments:
        yield from _left_waiting(lives, waits, idle)


def _rash(pauses: list[Pause]) -> Iterator[str]:
    """Yield the attempts that continued although they waited."""
    for pause in pauses:
        wait = pause.wait
        if pause.continued and (wait is None or wait.woken is None):
            yield f"{pause.step} continued at {pause.until_at:g} s, but its wait was not over"


def _holding(waits: Waits, moments: Sequence[Idle]) -> Iterator[str]:
    """Yield the attempts that waited without being suspended."""
    for step, known in waits.waits.items():
        for wait in known:
            for idle in _during(wait, moments):
                if (
                    step.life.since <= idle.deliveries < step.life.until
                    and not _is_suspended(step, wait, waits, idle)
                    and not waits.may_stop(step, idle)
                ):
                    yield (
                        f"attempt {wait.attempt} of {step} waited at {idle.time:g} s, but had not "
                        "been suspended"
                    )


def _during(wait: WaitTrace, moments: Sequence[Idle]) -> Sequence[Idle]:
    """Return those of some moments, which are in order, at which a wait goes on."""
    first = bisect.bisect_right(moments, wait.begun, key=_DELIVERIES)
    ends = [end for end in (wait.until, wait.stopped) if end is not None]
    if not ends:
        return moments[first:]
    return moments[first : bisect.bisect_left(moments, min(ends), key=_DELIVERIES)]


def _goes_on(wait: WaitTrace, idle: Idle) -> bool:
    # One that begins after this moment, by a timer, has the same number of deliveries before it.
    return (
        wait.begun < idle.deliveries
        and (wait.until is None or idle.deliveries < wait.until)
        and (wait.stopped is None or idle.deliveries < wait.stopped)
    )


def _is_suspended(step: StepLife, wait: WaitTrace, waits: Waits, idle: Idle) -> bool:
    return any(
        pause.wait is wait and pause.since < idle.events <= pause.until
        for pause in waits.of.get(step, ())
    )


def _left_waiting(lives: Lives, waits: Waits, idle: Idle) -> Iterator[str]:
    """Yield the attempts and runs that waited although there was room for them."""
    settings = lives.trace.settings
    suspended = list(waits.suspended(idle.events, idle.deliveries))
    woken = [pause for pause in suspended if pause.woken <= idle.deliveries]
    queued = list(waits.waiting_runs(idle)) if suspended else []
    if not (woken or queued):
        return
    holders = waits.holders(idle)
    if holders < settings.max_active_runs:
        for life in queued:
            yield f"{life} waited for a place at {idle.time:g} s, but {holders} runs held one"
    if holders <= settings.max_active_runs:  # each of them has a place
        busy = idle.in_flight - sum(pause.step.plan.step.async_ for pause in suspended)
        for pause in woken:
            yield from _kept_waiting(pause, waits, idle, busy, settings.async_workers)


def _kept_waiting(pause: Pause, waits: Waits, idle: Idle, busy: int, workers: int) -> Iterator[str]:
    """Yield an attempt that did not continue although its worker or its lane was free."""
    step, life = pause.step, pause.step.life
    scarce = len(waits.trace.runs) > waits.trace.settings.max_active_runs
    if waits.may_stop(step, idle) or is_held(life, idle.events, scarce=scarce):
        return
    if pause.wait is not None and not _goes_on(pause.wait, idle):
        return
    said = f"{step} wanted to continue at {idle.time:g} s, when"
    if step.plan.step.async_:
        if busy < workers:
            yield f"{said} {busy} of {workers} workers were busy"
    elif not any(waits.is_in_lane(one, idle) for one in life.steps.values()):
        yield f"{said} its run's sync lane was free"


# ── Places ───────────────────────────────────────────────────────────────────────────────────


def crowded_with_waits(lives: Lives) -> Iterator[str]:
    """Yield the moments when more runs took places than there are; a run that only waits has none.

    A run may keep its place longer than the events say: until the supervisor has found that it only
    waits. A run that returns is therefore checked only if it was away for certain. It may have got
    its place before others took theirs back, which therefore count only against new runs.
    """
    places = lives.trace.settings.max_active_runs
    active, reclaimed = dict[Life, bool](), set[Life]()
    left: dict[Life, tuple[int, bool]] = {}
    moves: dict[StepLife, EventKind] = {}
    events = zip(lives.trace.events, lives.owners, lives.trace.marks, strict=True)
    for place, (event, owner, mark) in enumerate(events):
        life = owner if isinstance(owner, Life) else owner.life
        if event.kind in RUN_ENDS:
            active.pop(life, None)
            continue
        if not isinstance(owner, Life) and AS_STEPS.get(event.kind, event.kind) not in _NO_MOVES:
            kind = AS_STEPS.get(event.kind, event.kind)
            if moves.get(owner) is _SUSPENDED and kind is not _CONTINUED:
                reclaimed.add(life)  # its body has ended, so it takes its place in any case
            moves[owner] = kind
        counts = not (life.torn or life.holds)  # no event shows when a pause frees a place
        if event.kind in _BETWEEN and any(lives.children_of(life.run_id)):
            active.pop(life, None)  # it may have a child undone next, and holds no place then
        elif event.kind in _TAKES_A_PLACE and life not in active and counts:
            # A crash frees all places.
            active = {one: back for one, back in active.items() if one.until > mark}
            since, back = left.get(life, (-1, False))
            away = since >= 0 and _was_away(life, since, place, lives)
            active[life] = life in reclaimed or (back and not away)
            # One that is undone had got its place before it says so.
            exact = since < 0 and not life.undone
            taken = len(active) if exact else len(active) - sum(active.values())
            certain = since < 0 or away
            if taken > places and certain and life not in reclaimed:
                named = ", ".join(map(str, active))
                yield f"at {event.time:g} s {named} were in progress, but there are {places} places"
            reclaimed.discard(life)
        elif life in active and not isinstance(owner, Life) and _only_waits(life, moves):
            left[life] = place, active.pop(life)


def _was_away(life: Life, since: int, until: int, lives: Lives) -> bool:
    """Return whether a run had given its place back for certain at a moment between two events."""
    waits = lives.waits
    return waits is not None and any(
        since < idle.events <= until and not idle.writes and waits.away(life, idle)
        for idle in lives.trace.idle
    )


def _only_waits(life: Life, moves: dict[StepLife, EventKind]) -> bool:
    said = {moves[step] for step in life.steps.values() if step in moves}
    return _SUSPENDED in said and not said & _HOLDS
