"""The laws about records: they come first, survive crashes and are consistent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from actorflow.errors.running import IllegalMove
from actorflow.model.lifecycle import EventKind
from actorflow.model.records import RunRecord, RunSnapshot
from actorflow.state.folding import fold
from actorflow.testing.contracts.accounts import told
from actorflow.testing.laws.evidence.life import NEVER
from actorflow.testing.laws.law import of_the_runtime

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorflow.model.events import Event
    from actorflow.testing.laws.evidence.life import Life
    from actorflow.testing.laws.evidence.lives import Lives
    from actorflow.testing.trace.trace import Trace

__all__ = [
    "commits_come_first",
    "records_add_up",
    "records_have_one_owner",
    "records_outlive_crashes",
]

_RESUMED: Final = EventKind.RUN_RESUMED
_COMPLETED: Final = EventKind.RUN_COMPLETED
_ACCEPTED: Final = {it.name for it in attrs.fields(RunRecord)} & {
    it.name for it in attrs.fields(RunSnapshot)
}
"""The fields of a snapshot that come from the accepted run."""
_FOLDED: Final = (
    "status",
    "steps",
    "error",
    "failed_step",
    "reason",
    "compensations",
    "started_at",
    "finished_at",
)
"""The fields of a snapshot that come from the run's events."""


# ── 26 ───────────────────────────────────────────────────────────────────────────────────────


@of_the_runtime(26, "An event is visible only after its commit.")
def commits_come_first(lives: Lives) -> Iterator[str]:
    """Compare what watchers, callers and steps were told with what was recorded by then.

    Watchers are shown events, callers receive results, and steps are told of their dependencies.
    Law 5 checks that attempts begin after their starts are recorded.
    """
    yield from _shown_too_early(lives.trace)
    for recorded, delivered, run_id in lives.trace.handed:
        life = lives.at(run_id, delivered)
        if life.end is not None and life.end_at >= recorded:
            yield f"the result of {life} was handed out before its end was recorded"
    for count, step, message in lives.told:
        known = step.life.steps[message.step_id]
        if known.recorded >= count:
            yield f"{step} was told of {known} before that was recorded"


def _shown_too_early(trace: Trace) -> Iterator[str]:
    events, place = trace.events, 0
    for recorded, shown in trace.shown:
        following = place + len(shown)
        if following <= recorded and events[place:following] == tuple(shown):
            place = following
            continue
        # A crash can leave events recorded that no watcher was shown.
        for event in shown:
            while place < recorded and events[place] is not event:
                place += 1
            if place == recorded:
                yield f"{_named(event)} was shown to watchers before it was recorded"
                return
            place += 1


def _named(event: Event) -> str:
    owner = event.run_id if event.step_id is None else f"step {event.step_id!r} of {event.run_id}"
    return f"event {event.number}, {event.kind.value} of {owner},"


# ── 27 ───────────────────────────────────────────────────────────────────────────────────────


@of_the_runtime(27, "A crash at any write, then resume: no recorded step runs again.")
def records_outlive_crashes(lives: Lives) -> Iterator[str]:
    """Compare what ran in a resumed run, by the executors' account, with the earlier record.

    A recorded step is done, and so is a recorded compensator when the run was resumed during
    compensation. A step without a recorded outcome must run before it counts as completed.
    """
    for life in lives.all:
        former = life.former
        if former is None:
            continue
        for step in life.steps.values():
            for body in step.bodies if step.kept else ():
                yield f"attempt {body.attempt} of {step} began again, although its end was recorded"
            if step.completed and not (step.kept or step.bodies):
                yield f"{step} completed without an attempt, and had not completed before"
        if life.goes_on:
            yield from _undone_again(life, former, lives)


def _undone_again(life: Life, former: Life, lives: Lives) -> Iterator[str]:
    for body in lives.trace.compensations:
        if body.run_id == life.run_id and life.since < body.begun <= life.until:
            step = former.steps.get(body.step_id)
            if step is not None and step.undone:
                yield f"the compensator of {step} began again, although its end was recorded"


# ── 28 ───────────────────────────────────────────────────────────────────────────────────────


@of_the_runtime(
    28,
    "Resume is idempotent; one of two resumers owns the run; a write with a stale token changes "
    "nothing.",
)
def records_have_one_owner(lives: Lives) -> Iterator[str]:
    """Look for overlapping lives of one run, and for writes of a former life.

    A trace has one orchestrator after another. That one of two concurrent orchestrators owns a run
    is checked by the contract of state managers shared by several processes.
    """
    for life in lives.all:
        if life.former is not None:
            yield from _wrongly_resumed(life, life.former)
            yield from _misannounced(life)
    for place, asked in lives.trace.late:
        yield from _stale(lives, place, asked)


def _wrongly_resumed(life: Life, former: Life) -> Iterator[str]:
    if former.end is None:
        if not (former.cut or former.torn or former.handed_back != NEVER):
            yield f"{life} was resumed while it was in progress"
    elif former.end.kind is _COMPLETED and not life.undone:
        yield f"{life} was resumed after it had completed"


def _misannounced(life: Life) -> Iterator[str]:
    """Yield an error unless the record reports the resumption once and first."""
    said = [place for place, event in life.events if event.kind is _RESUMED]
    places = [place for place, _ in life.events]
    places += [step.at[0] for step in life.steps.values() if step.at]
    resumed = life.start.resumed is not None and not life.undone
    due = [min(places)] if places and resumed else []
    if said != due:
        yield f"{life} was resumed, but its record says so {len(said)} times, or not first"


def _stale(lives: Lives, place: int, asked: int) -> Iterator[str]:
    event, recorded = lives.trace.events[place], lives.trace.marks[place]
    for life in lives.all:
        if life.run_id == event.run_id and asked < life.since <= recorded:
            yield f"{_named(event)} was requested in a former life, and recorded in a later one"


# ── 29 ───────────────────────────────────────────────────────────────────────────────────────


@of_the_runtime(29, "The recorded events fold to the recorded state; numbers rise without gaps.")
def records_add_up(lives: Lives) -> Iterator[str]:
    """Check the event numbers, and fold the events again wherever a run was resumed."""
    yield from _misnumbered(lives.trace)
    for life in lives.all:
        if life.former is not None:
            yield from _misread(life, lives.trace)


def _misnumbered(trace: Trace) -> Iterator[str]:
    last = dict.fromkeys(trace.runs, 0)
    for event in trace.events:
        number, _, run_id, *_ = event
        if number != last[run_id] + 1:
            yield f"{_named(event)} is recorded after event {last[run_id]}"
        last[run_id] = number


def _misread(life: Life, trace: Trace) -> Iterator[str]:
    start = life.start
    before = [
        event
        for event, mark in zip(trace.events, trace.marks, strict=True)
        if event.run_id == life.run_id and mark < life.since
    ]
    if len(before) != start.recorded:
        yield f"{life} was resumed after event {start.recorded}, but {len(before)} were recorded"
    elif start.resumed is not None:
        yield from _misfolded(life, start.resumed, before)


def _misfolded(life: Life, read: RunSnapshot, events: Sequence[Event]) -> Iterator[str]:
    try:
        folded = fold(_accepted(read), events)
    except IllegalMove as error:
        yield f"the events of {life} do not fold: {error}"
        return
    for name in _FOLDED:
        one, other = getattr(read, name), getattr(folded, name)
        if one != other and told(one) != told(other):
            yield f"{name} of {life} was read as {one!r}, but its events fold to {other!r}"


def _accepted(read: RunSnapshot) -> RunRecord:
    known: dict[str, Any] = {name: getattr(read, name) for name in _ACCEPTED}
    return RunRecord(step_ids=tuple(read.steps), **known)
