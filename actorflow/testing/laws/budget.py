"""The laws about workers, sync lanes and places, and who gets them next."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from actorflow.model.lifecycle import EventKind
from actorflow.testing.laws.evidence.life import NEVER, RUN_ENDS, Life
from actorflow.testing.laws.law import of_the_runtime
from actorflow.testing.laws.waits import crowded_with_waits
from actorflow.testing.simulation.account import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorflow.testing.laws.evidence.lives import Lives
    from actorflow.testing.trace.trace import AttemptTrace

__all__ = [
    "budget_is_kept",
    "crowded_places",
    "jumped_queue",
    "priorities_are_kept",
    "runs_take_turns",
    "work_is_conserved",
    "workers_add_up",
]


@of_the_runtime(
    1, "Async attempts in flight never exceed `async_workers`, by the executors' own count."
)
def budget_is_kept(lives: Lives) -> Iterator[str]:
    """Compare the executors' own count with the worker budget.

    An attempt counts from its start to its end, without the time from the beginning of a wait until
    it continues. Of the non-async steps of a run, one may be in flight at a time: its sync lane is
    a budget of one. No more than `max_active_runs` runs may be in progress, without those that only
    wait. A run takes its place back at once, even if there is none free, when the body of a
    suspended attempt ends.
    """
    yield from crowded_places(lives)
    trace = lives.trace
    most, workers = trace.max_in_flight, trace.settings.async_workers
    if most > workers:
        crowd = _crowd([body for body in trace.attempts if body.async_], workers)
        yield f"{most} async attempts were in flight at once, of {workers}{crowd}"
    if trace.pauses:
        yield from _crowded_lanes(lives)
        return
    lanes: dict[str, AttemptTrace] = {}
    for body in trace.attempts:
        if body.async_ or body.outcome is Outcome.NOT_BEGUN:
            continue
        before = lanes.get(body.run_id)
        if before is not None and (before.over is None or before.over > body.begun):
            yield f"{_named(body)} began in the sync lane while {_named(before)} was not over"
        lanes[body.run_id] = body


def _crowded_lanes(lives: Lives) -> Iterator[str]:
    """Yield the attempts that ran in a sync lane while another one did, if attempts wait."""
    trace = lives.trace
    spans: dict[str, list[tuple[int, float, AttemptTrace]]] = {}
    for body in trace.attempts:
        if body.async_ or body.outcome is Outcome.NOT_BEGUN:
            continue
        since: int | None = body.begun
        line = spans.setdefault(body.run_id, [])
        for wait in trace.waits:
            if (wait.run_id, wait.step_id, wait.attempt) != body[:3] or wait.begun < body.begun:
                continue
            if since is None or (body.over is not None and wait.begun > body.over):
                break  # it belongs to a later life of the run
            line.append((since, wait.begun, body))
            since = wait.until if wait.continued else None
        if since is not None:
            line.append((since, NEVER if body.over is None else body.over, body))
    for line in spans.values():
        line.sort(key=lambda span: span[:2])
        for (_, until, before), (since_, _, body) in itertools.pairwise(line):
            if before is not body and until > since_:
                yield f"{_named(body)} ran in the sync lane while {_named(before)} did"


def _crowd(bodies: Sequence[AttemptTrace], workers: int) -> str:
    """Return the attempts in flight when the budget was exceeded, as far as known."""
    for index, body in enumerate(bodies):
        crowd = [body, *(one for one in bodies[:index] if _overlaps(one, body))]
        if len(crowd) > workers:
            named = ", ".join(map(_named, reversed(crowd)))
            return f": {named} at {body.started_at:g} s"
    return ""


def _overlaps(earlier: AttemptTrace, body: AttemptTrace) -> bool:
    if earlier.outcome is Outcome.NOT_BEGUN:
        return False
    return earlier.over is None or earlier.over > body.begun


def _named(body: AttemptTrace) -> str:
    return f"attempt {body.attempt} of step {body.step_id!r} of {body.run_id}"


@of_the_runtime(
    2, "Workers held + free = `async_workers` at every instant; all are free at the end."
)
def workers_add_up(lives: Lives) -> Iterator[str]:
    """Compare the supervisor's workers with the executors' own count.

    Whenever nothing can be delivered and no write is in progress, each held worker belongs to an
    attempt in flight that is not suspended: none leaks, and none is returned twice.
    """
    trace = lives.trace
    workers = trace.settings.async_workers
    for time, events, deliveries, held, free, in_flight, writes in trace.lulls:
        if held + free != workers or held < 0 or free < 0:
            yield f"at {time:g} s {held} workers were held and {free} were free, of {workers}"
        elif lives.waits is not None:
            least, most = lives.waits.held(in_flight, events, deliveries)
            if not (writes or least <= held <= most):
                yield f"at {time:g} s {held} workers were held for {most} attempts that need one"
        elif held != in_flight and not writes:
            yield f"at {time:g} s {held} workers were held for {in_flight} async attempts in flight"
    if trace.leftovers.leases and lives.all_over:
        yield f"{trace.leftovers.leases} workers were held when every run had ended"


@of_the_runtime(
    16,
    "Among ready steps, the higher priority is granted first; what becomes ready within one "
    "decision is ready together; ties go by the order of readiness, then of definition.",
)
def priorities_are_kept(lives: Lives) -> Iterator[str]:
    """Check which steps were waiting whenever a step started.

    In a run of a workflow with `order="critical_path"`, ties go by the longest way to the end
    first. If steps age, the priorities of run and step are added up.

    A suspended attempt whose wait is over competes in the same way, unless steps age.

    Runs that wait for a place are checked in the same way: by priority, and in the order in which
    they were requested.
    """
    yield from lives.turns.unranked
    yield from jumped_queue(lives)


@of_the_runtime(
    17,
    "No worker is free while an async step is ready and nothing can be delivered (work "
    "conservation).",
)
def work_is_conserved(lives: Lives) -> Iterator[str]:
    """Check which steps were ready whenever nothing could be delivered.

    A worker counts as free when its attempt is over by the executors' account, or suspended. For
    steps that are not async, the run's sync lane counts as a worker.
    """
    yield from lives.turns.idle


@of_the_runtime(19, "No starvation: equal runs take turns.")
def runs_take_turns(lives: Lives) -> Iterator[str]:
    """Look for a run that was granted two workers while an equal one waited.

    If steps age, steps of one sum of priorities and one moment are equal. No step may be passed by
    one that became ready later, unless the sum of its priorities is higher by d and it came less
    than d times `ageing` seconds later.
    """
    yield from lives.turns.starved
    if lives.all[1:]:
        yield from lives.turns.unfair


_RUN_STARTED: Final = EventKind.RUN_STARTED
_TAKES_A_PLACE: Final = frozenset(
    {
        _RUN_STARTED,
        EventKind.STEP_READY,
        EventKind.STEP_STARTED,
        EventKind.STEP_CONTINUED,
        EventKind.COMPENSATION_STARTED,
    }
)
"""Events after which a run is in progress, at the latest."""


def _scarce(lives: Lives) -> bool:
    return len(lives.latest) > lives.trace.settings.max_active_runs


def crowded_places(lives: Lives) -> Iterator[str]:
    """Yield the moments when more runs were in progress than there are places."""
    if not _scarce(lives):
        return
    families = any(known.parent is not None for known in lives.trace.runs.values())
    if lives.waits is not None or families:
        yield from crowded_with_waits(lives)
        return
    places, active = lives.trace.settings.max_active_runs, dict[Life, None]()
    for event, owner, mark in zip(lives.trace.events, lives.owners, lives.trace.marks, strict=True):
        life = owner if isinstance(owner, Life) else owner.life
        if event.kind in RUN_ENDS:
            active.pop(life, None)
        elif event.kind in _TAKES_A_PLACE and not (life.torn or life.holds):
            active = {one: None for one in active if one.until > mark}  # a crash frees all places
            active[life] = None
            if len(active) > places:
                named = ", ".join(map(str, active))
                yield f"at {event.time:g} s {named} were in progress, but there are {places} places"


def jumped_queue(lives: Lives) -> Iterator[str]:
    """Yield the runs that started while another run waited that had to come first.

    Resumed runs with events on record are not compared.
    """
    if not _scarce(lives):
        return
    fresh = [it for it in lives.all if it.former is None and not (it.torn or it.holds)]
    begun = {life: _begun_at(life) for life in fresh}
    started = [life for life in fresh if _is_started(life)]
    for life, other in itertools.product(started, fresh):
        if begun[life] < begun[other] and _had_to_wait(life, int(begun[life]), other, lives):
            yield f"{life} was started while {other}, which had to come first, waited"


def _had_to_wait(life: Life, place: int, other: Life, lives: Lives) -> bool:
    """Return whether a run had to wait for another run that started later."""
    trace = lives.trace
    mark, ours, theirs = trace.marks[place], life.start.priority, other.start.priority
    if other.until <= mark or theirs < ours:
        return False
    if other.since < life.since:
        return True
    if theirs == ours or trace.settings.faults.store_stalls:
        return False
    # Messages handled together are recorded together, so only what was recorded earlier is certain
    # to have been decided earlier.
    before = bisect_left(trace.marks, mark) - 1
    return before >= 0 and other.since <= trace.marks[before]


def _is_started(life: Life) -> bool:
    """Return whether a run got a place, instead of ending while it waited."""
    return any(event.kind is _RUN_STARTED for _, event in life.events[:2])


def _begun_at(life: Life) -> float:
    """Return the index of the event with which a run started, or ended before starting."""
    # A run that an earlier version recorded has no event of its acceptance.
    after = (place for place, event in life.events if event.kind is not EventKind.RUN_ACCEPTED)
    return next(after, NEVER)
