"""The laws about whose turn it is, whichever orchestrator asks: keys and schedules."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import TYPE_CHECKING, Final

from actorflow.model.lifecycle import EventKind
from actorflow.testing.laws.evidence.life import NEVER
from actorflow.testing.laws.law import of_several

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from actorflow.model.records import RunRecord
    from actorflow.model.schedules import RecordedSchedule, ScheduleState
    from actorflow.testing.laws.evidence.sharing import Sharing

__all__ = ["keys_are_kept", "runs_wait_for_their_time", "schedules_fire_once"]

_STARTED: Final = EventKind.RUN_STARTED
_SCHEDULE: Final = "schedule"
_FOR: Final = "scheduled_for"
_EPSILON: Final = 1e-9


# ── 44 ───────────────────────────────────────────────────────────────────────────────────────


@of_several(
    44,
    "Of the runs with one key at most one is in progress and one waits, wherever they were "
    "started; a run that takes over the inputs of later starts runs with the last of them; and an "
    "idempotency key stands for one run.",
)
def keys_are_kept(sharing: Sharing) -> Iterator[str]:
    """Compare the runs with each key when one is accepted and when one starts."""
    for key, run_ids in _grouped(sharing, lambda record: record.key).items():
        yield from _crowded(sharing, key, run_ids)
    for name, run_ids in _grouped(sharing, lambda record: record.idempotency_key).items():
        reusable = any(_is_reusable(sharing.trace.accepted[run_id]) for run_id in run_ids)
        if run_ids[1:] and not reusable:
            yield f"the idempotency key {name!r} stands for {' and '.join(run_ids)}"
    yield from _lost_inputs(sharing)


def _grouped(
    sharing: Sharing, key_of: Callable[[RunRecord], str | None]
) -> Mapping[str, Sequence[str]]:
    """Return the ids of the runs with each key, in the order of acceptance."""
    groups: dict[tuple[str, str], list[str]] = {}
    for run_id, record in sharing.trace.accepted.items():
        key = key_of(record)
        if key is not None:
            groups.setdefault((record.workflow_id, key), []).append(run_id)
    return {key: run_ids for (_, key), run_ids in groups.items()}


def _is_reusable(record: RunRecord) -> bool:
    return record.terms.reuse != "never" or record.terms.expires is not None


def _crowded(sharing: Sharing, key: str, run_ids: Sequence[str]) -> Iterator[str]:
    for number, run_id in enumerate(run_ids):
        accepted, started = sharing.accepted_at(run_id), _started_at(sharing, run_id)
        live = [it for it in run_ids[:number] if sharing.ended_at(it) >= accepted]
        if live[1:]:
            yield f"{run_id} was accepted with key {key!r}, which {' and '.join(live)} had"
        for other in run_ids:
            if _started_at(sharing, other) < started < sharing.ended_at(other):
                yield f"{run_id} started with key {key!r} while {other} was in progress"


def _started_at(sharing: Sharing, run_id: str) -> float:
    """Return how many events were recorded when a run started; infinite if it did not."""
    events = sharing.events[run_id]
    return next((it.place for it in events if it.event.kind is _STARTED), NEVER)


def _lost_inputs(sharing: Sharing) -> Iterator[str]:
    """Yield the runs that did not run with the inputs that were given last."""
    last = {one.run_id: one for one in sharing.trace.merged}
    for process in sharing.processes.values() if last else ():
        for life in process.trace.lives.all:
            given = last.get(life.run_id)
            if given is None or _started_at(sharing, life.run_id) == NEVER:
                continue
            scope, wanted = life.start.scope, given.record
            if (scope.inputs, scope.metadata) != (wanted.inputs, wanted.metadata):
                yield (
                    f"{process.name} ran {life.run_id} with {dict(scope.inputs)} and "
                    f"{dict(scope.metadata)}, but was given {dict(wanted.inputs)} and "
                    f"{dict(wanted.metadata)} last"
                )


# ── 45 ───────────────────────────────────────────────────────────────────────────────────────


@of_several(
    45,
    "Each nominal time of a schedule starts at most one run, whichever orchestrators serve it. "
    "Those that start none are counted as skipped or missed. Unless overlaps are allowed, a run "
    "starts only after the one before it has ended.",
)
def schedules_fire_once(sharing: Sharing) -> Iterator[str]:
    """Compare the runs of each schedule with its nominal times and its counts."""
    for recorded in sharing.trace.schedules:
        name = recorded.definition.name
        run_ids = [
            run_id
            for run_id, record in sharing.trace.accepted.items()
            if record.parent is None and record.metadata.get(_SCHEDULE) == name
        ]
        yield from _fired(sharing, recorded, run_ids)
        if recorded.definition.overlap != "allow":
            yield from _overlapping(sharing, name, run_ids)
        made = sharing.trace.made.get(name)
        if made is not None:
            yield from _uncounted(recorded, made)


def _fired(sharing: Sharing, recorded: RecordedSchedule, run_ids: Sequence[str]) -> Iterator[str]:
    name, state = recorded.definition.name, recorded.state
    times = Counter(sharing.trace.accepted[run_id].metadata[_FOR] for run_id in run_ids)
    for time, runs in times.items():
        if runs > 1:
            yield f"schedule {name!r} has started {runs} runs for {time}"
    if not state.pending and len(run_ids) != state.fired:
        yield f"schedule {name!r} has counted {state.fired} runs, and started {len(run_ids)}"


def _overlapping(sharing: Sharing, name: str, run_ids: Sequence[str]) -> Iterator[str]:
    for before, run_id in itertools.pairwise(run_ids):
        if sharing.ended_at(before) >= sharing.accepted_at(run_id):
            yield f"schedule {name!r} has started {run_id} before {before} had ended"


def _uncounted(recorded: RecordedSchedule, made: ScheduleState) -> Iterator[str]:
    """Compare how many nominal times were decided with what became of them."""
    every, state = recorded.definition.every, recorded.state
    if every is None:
        return
    times = math.floor(state.decided_until / every) - math.floor(made.decided_until / every)
    counted = _places(state) - _places(made)
    if times != counted:
        yield (
            f"{times} nominal times of schedule {recorded.definition.name!r} were decided, and "
            f"{counted} of them are counted"
        )


def _places(state: ScheduleState) -> int:
    """Return how many nominal times a schedule has accounted for."""
    waiting = len(state.pending) + (state.queued is not None)
    return state.fired + state.skipped + state.missed + waiting


# ── 51 ───────────────────────────────────────────────────────────────────────────────────────


@of_several(
    51,
    "A run that is for later does not start before its time, wherever it waits.",
)
def runs_wait_for_their_time(sharing: Sharing) -> Iterator[str]:
    """Compare the start of each run with its time, unless a clock was set wrong."""
    for run_id, record in sharing.trace.accepted.items():
        due = record.start_at
        if due is None or due <= record.created_at or not sharing.trace.clocks_are_right:
            continue
        for one in sharing.events[run_id]:
            if one.event.kind is _STARTED and one.by.time < due - _EPSILON:
                yield f"{run_id} started at {one.by.time:g} s, and was due at {due:g} s"
