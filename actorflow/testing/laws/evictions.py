"""The law about runs that leave memory while they wait for messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actorflow.model.lifecycle import EventKind
from actorflow.model.mailing import MailArrived
from actorflow.testing.laws.evidence.life import NEVER
from actorflow.testing.laws.law import of_the_runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.testing.laws.evidence.life import Life, StepLife
    from actorflow.testing.laws.evidence.lives import Lives
    from actorflow.testing.trace.trace import Trace

__all__ = ["evicted_runs_go_on", "waiting_steps", "wrong_reasons"]

_AWAITING: Final = EventKind.STEP_AWAITING
_SUSPENDED: Final = EventKind.STEP_SUSPENDED
_STARTED: Final = EventKind.STEP_STARTED
_ANSWERS: Final = frozenset({EventKind.STEP_RECEIVED, EventKind.STEP_EXPIRED})
_ACTIVE: Final = frozenset(
    {
        EventKind.STEP_READY,
        EventKind.STEP_STARTED,
        EventKind.STEP_CONTINUED,
        EventKind.STEP_RETRYING,
        EventKind.STEP_TIMED_OUT,
        EventKind.STEP_BLOCKING,
    }
)
"""Events after which a step runs, or will run."""


@of_the_runtime(
    54,
    "A run is evicted only while each of its attempts in flight waits for a message. It goes on "
    "when there is a message that it has not seen, or its time is up, and these attempts begin "
    "again under their numbers and are told what they were told before.",
)
def evicted_runs_go_on(lives: Lives) -> Iterator[str]:
    """Look at each run that left memory, and at how it went on."""
    following = {life.former: life for life in lives.all if life.former is not None}
    for delivered, life in lives.evicted:
        waiting = waiting_steps(life)
        yield from wrong_reasons(life, waiting)
        after = following.get(life)
        if after is None:
            yield from _forgotten(life, waiting, delivered, lives)
        elif not lives.trace.crashes:
            yield from _not_again(after, waiting)
    if lives.evicted and not lives.trace.crashes:
        yield from _told_otherwise(lives.trace)


def _last(step: StepLife) -> EventKind | None:
    """Return what happened to a step last, but for its waits."""
    told = (it.kind for it in reversed(step.events) if it.kind not in {_AWAITING, *_ANSWERS})
    return next(told, None)


def waiting_steps(life: Life) -> list[StepLife]:
    """Return the steps of a life whose attempts were suspended when it ended."""
    return [step for step in life.steps.values() if _last(step) is _SUSPENDED]


def wrong_reasons(life: Life, waiting: list[StepLife]) -> Iterator[str]:
    """Yield why a run should not have been evicted, given the steps that waited."""
    if not waiting:
        yield f"{life} was evicted, and did not wait"
    for step in life.steps.values():
        if step.end is None and _last(step) in _ACTIVE:
            yield f"{life} was evicted while {step} was in progress"
    for step in waiting:
        if not _open_waits(step):
            yield f"{life} was evicted while {step} waited for something else than a message"


def _open_waits(step: StepLife) -> dict[tuple[Any, ...], float]:
    """Return the waits that a step had not been answered, and when they expire."""
    waits: dict[tuple[Any, ...], float] = {}
    for event in step.events:
        if event.kind is _AWAITING:
            key = event.data["name"], event.data["call"]
            waits[key] = event.data.get("until", NEVER)
        elif event.kind in _ANSWERS:
            waits.pop((event.data["name"], event.data["call"]), None)
        elif event.kind in _ACTIVE:
            waits.clear()
    return waits


def _forgotten(life: Life, waiting: list[StepLife], delivered: int, lives: Lives) -> Iterator[str]:
    """Yield why a run that was never taken up again should have been."""
    trace = lives.trace
    if not trace.quiescent or lives.latest[life.run_id] is not life:
        return
    known = max(
        (
            message.mail[-1].number
            for _, (_, message, _) in trace.envelopes[int(life.since) : delivered]
            if type(message) is MailArrived and message.run_id == life.run_id
        ),
        default=0,
    )
    latest = max((it.number or 0 for it in trace.messages if it.run_id == life.run_id), default=0)
    if latest > known:
        yield f"{life} did not go on, although there was message {latest}"
    moments = [until for step in waiting for until in _open_waits(step).values()]
    deadline = life.start.deadline
    until = min([*moments, NEVER if deadline is None else deadline])
    if until < NEVER:
        yield f"{life} did not go on at {until:g} s, when its time was up"


def _not_again(after: Life, waiting: list[StepLife]) -> Iterator[str]:
    """Yield the attempts that did not begin again under their numbers."""
    for before in waiting:
        step = after.steps.get(before.id)
        began = (
            None
            if step is None
            else next((event for event in step.events if event.kind is _STARTED), None)
        )
        number = max(event.attempt or 0 for event in before.events)
        if began is not None and after.start.past is not None and began.attempt != number:
            yield f"attempt {number} of {before} went on as attempt {began.attempt}"


def _told_otherwise(trace: Trace) -> Iterator[str]:
    """Yield the waits that one attempt was answered twice."""
    told: set[tuple[Any, ...]] = set()
    numbers: dict[tuple[str, str | None], int | None] = {}
    for event in trace.events:
        key = event.run_id, event.step_id
        if event.kind is EventKind.RUN_RESUMED and not event.data.get("taken_over"):
            told = {it for it in told if it[0] != event.run_id}
        elif event.kind is _STARTED and event.attempt != numbers.get(key):
            numbers[key] = event.attempt
            told = {it for it in told if it[:2] != key}
        elif event.kind in _ANSWERS:
            call = (*key, event.data["name"], event.data["call"])
            if call in told:
                yield f"{event.step_id} was answered twice at {event.time:g} s, by {event.data}"
            told.add(call)
