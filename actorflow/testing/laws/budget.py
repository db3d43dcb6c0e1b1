"""The laws about leases, lanes, and who gets them next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorflow.testing.account import Outcome
from actorflow.testing.laws.law import of_the_runtime
from actorflow.testing.laws.places import crowded_places, jumped_queue

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorflow.testing.lives import Lives
    from actorflow.testing.trace import AttemptTrace

__all__ = [
    "budget_is_kept",
    "leases_add_up",
    "priorities_are_kept",
    "runs_take_turns",
    "work_is_conserved",
]


@of_the_runtime(
    1, "Async attempts in flight never exceed `async_workers`, by the executors' own count."
)
def budget_is_kept(lives: Lives) -> Iterator[str]:
    """Hold the executors' own count against the budget.

    Of the steps of a run that are not async, one may be in flight: their lane is a budget of
    one. And of the runs, no more may be in progress than `max_active_runs`.
    """
    yield from crowded_places(lives)
    trace = lives.trace
    most, workers = trace.max_in_flight, trace.settings.async_workers
    if most > workers:
        crowd = _crowd([body for body in trace.attempts if body.async_], workers)
        yield f"{most} async attempts were in flight at once, of {workers}{crowd}"
    lanes: dict[str, AttemptTrace] = {}
    for body in trace.attempts:
        if body.async_ or body.outcome is Outcome.NOT_BEGUN:
            continue
        before = lanes.get(body.run_id)
        if before is not None and (before.over is None or before.over > body.begun):
            yield f"{_named(body)} began in the lane of {_named(before)}, which was not over"
        lanes[body.run_id] = body


def _crowd(bodies: Sequence[AttemptTrace], workers: int) -> str:
    """Return who was in flight when it was one too many, as far as it can be told."""
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
    2, "Leases held + free = `async_workers` at every instant; all are free at the end."
)
def leases_add_up(lives: Lives) -> Iterator[str]:
    """Hold the supervisor's leases against the executors' own count.

    Whenever nothing can be delivered and nothing waits to be recorded, each lease that is held
    is one of an attempt that is in flight: none leaks, and none comes back twice.
    """
    trace = lives.trace
    workers = trace.settings.async_workers
    for time, _, _, held, free, in_flight, writes in trace.lulls:
        if held + free != workers or held < 0 or free < 0:
            yield f"at {time:g} s {held} leases were held and {free} were free, of {workers}"
        elif held != in_flight and not writes:
            yield f"at {time:g} s {held} leases were held, for {in_flight} async attempts in flight"
    if trace.leftovers.leases and lives.all_over:
        yield f"{trace.leftovers.leases} leases were held when every run had ended"


@of_the_runtime(
    16,
    "Among ready steps the higher priority is granted first; ties by the order of readiness.",
)
def priorities_are_kept(lives: Lives) -> Iterator[str]:
    """Look who waited when somebody started.

    A step whose actor has died cannot be started, and is passed over. Runs that wait for a
    place are held to the same: by priority, and in the order in which they were asked for.
    """
    yield from lives.turns.unranked
    yield from jumped_queue(lives)


@of_the_runtime(
    17,
    "No free lease beside a ready async step when nothing is deliverable (work conservation).",
)
def work_is_conserved(lives: Lives) -> Iterator[str]:
    """Look who was ready whenever nothing could be delivered.

    A lease counts as free when its attempt is over by the executors' account. The lane of a
    run is a lease for its steps that are not async.
    """
    yield from lives.turns.idle


@of_the_runtime(19, "No starvation: equal runs take turns.")
def runs_take_turns(lives: Lives) -> Iterator[str]:
    """Look whether a run was granted two leases while another one of equal priority waited."""
    if lives.all[1:]:
        yield from lives.turns.unfair
