"""The laws about families that several orchestrators share.

A parent and its children may belong to different processes, one after the other. What they owe each
other is compared with the record of the store, whoever wrote it.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from actorflow.model.lifecycle import EventKind
from actorflow.testing.cluster.ears import NET
from actorflow.testing.laws.evidence.life import NEVER, RUN_ENDS
from actorflow.testing.laws.law import of_several

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from actorflow.model.records import RunRecord
    from actorflow.testing.cluster.trace import ProcessTrace
    from actorflow.testing.laws.evidence.sharing import Recorded, Sharing
    from actorflow.testing.trace.trace import WaitTrace

__all__ = [
    "calls_have_one_child",
    "children_are_told_of_ends",
    "children_are_undone_with_their_parents",
    "parents_go_on_with_their_children",
    "results_come_from_the_record",
]

_COMPLETED: Final = EventKind.RUN_COMPLETED
_UNDOES: Final = EventKind.RUN_COMPENSATING
_ENDS_BADLY: Final = frozenset({EventKind.RUN_FAILED, EventKind.RUN_CANCELLED})
_SUSPENDED: Final[frozenset[str]] = frozenset({"step.suspended", "compensation.suspended"})
_FOR_A_CHILD: Final = "run "
"""How the reason of a wait for a child begins; its id follows."""


def _children(sharing: Sharing) -> Iterator[tuple[str, str, RunRecord]]:
    """Yield the id of each child in the order of acceptance, that of its parent, and its record."""
    for run_id, record in sharing.trace.accepted.items():
        if record.parent is not None and record.parent.run_id in sharing.events:
            yield run_id, record.parent.run_id, record


def _ends_with_parent(record: RunRecord) -> bool:
    parent = record.parent
    return parent is not None and parent.on_end == "cancel" and not parent.compensates


def _last_end(sharing: Sharing, run_id: str) -> Recorded | None:
    """Return the event with which a run has ended for good."""
    events = sharing.events[run_id]
    return events[-1] if events and events[-1].event.kind in RUN_ENDS else None


# ── 59 ───────────────────────────────────────────────────────────────────────────────────────


@of_several(
    59,
    "A call of a step has one child at a time, whoever owns the parent: another one is started "
    "only after the one before has failed or was cancelled.",
)
def calls_have_one_child(sharing: Sharing) -> Iterator[str]:
    """Compare each child of a call with the one before it."""
    latest: dict[tuple[object, ...], str] = {}
    for run_id, _, record in _children(sharing):
        link = record.parent
        if link is None:
            continue
        call = link.run_id, link.step_id, link.call, link.compensates
        before = latest.get(call)
        latest[call] = run_id
        if before is None:
            continue
        accepted = sharing.accepted_at(run_id)
        known = [it.event.kind for it in sharing.events[before] if it.place < accepted]
        if not known or known[-1] not in _ENDS_BADLY:
            yield f"{run_id} was started for the same call as {before}, which was there"


# ── 60 ───────────────────────────────────────────────────────────────────────────────────────


@of_several(
    60,
    "A step that waits for its child goes on when the child's end is recorded, and completes only "
    "if the child has completed.",
)
def results_come_from_the_record(sharing: Sharing) -> Iterator[str]:
    """Compare each wait for a child with the child's record at the moment when it was over."""
    for run_id, events in sharing.events.items():
        waited: dict[tuple[str | None, int | None], str] = {}
        for one in events:
            event = one.event
            key, reason = (event.step_id, event.attempt), str(event.data.get("reason", ""))
            if event.kind == "step.suspended" and reason.startswith(_FOR_A_CHILD):
                waited[key] = reason.removeprefix(_FOR_A_CHILD)
            elif event.kind == "step.continued" and key in waited:
                if not _has_ended(sharing, waited[key], one.place, RUN_ENDS):
                    yield f"step {event.step_id!r} of {run_id} went on before {waited[key]} ended"
            elif (
                event.kind is EventKind.STEP_COMPLETED
                and key in waited
                and not _has_ended(sharing, waited[key], one.place, {_COMPLETED})
            ):
                yield f"step {event.step_id!r} of {run_id} completed, but {waited[key]} had not"


def _has_ended(sharing: Sharing, run_id: str, place: int, kinds: Collection[EventKind]) -> bool:
    return any(it.event.kind in kinds and it.place < place for it in sharing.events[run_id])


# ── 61 ───────────────────────────────────────────────────────────────────────────────────────


@of_several(
    61,
    "A child that ends with its parent is told to end, wherever it runs, when the parent fails or "
    "is cancelled; it does not run to its own end instead.",
)
def children_are_told_of_ends(sharing: Sharing) -> Iterator[str]:
    """Look for children that completed after their parents' ends, and had heard nothing of them."""
    told = {run_id for _, run_id in sharing.trace.asked}
    for process in sharing.processes.values():
        told |= {run_id for _, run_id in process.heard}
    for run_id, parent_id, record in _children(sharing):
        end, over = _last_end(sharing, parent_id), _last_end(sharing, run_id)
        if end is None or end.event.kind not in _ENDS_BADLY or not _ends_with_parent(record):
            continue
        if over is None or over.event.kind is not _COMPLETED or over.place < end.place:
            continue
        if run_id not in told:
            yield (
                f"{run_id} completed at {over.by.time:g} s and was not told to end, although "
                f"{parent_id} had ended at {end.by.time:g} s"
            )


# ── 62 ───────────────────────────────────────────────────────────────────────────────────────


@of_several(
    62,
    "A child that has completed is undone with its parent, once, before the parent ends, in "
    "whichever processes; and for no other reason.",
)
def children_are_undone_with_their_parents(sharing: Sharing) -> Iterator[str]:
    """Compare the children of parents that failed, or were undone, with what became of them."""
    for run_id, parent_id, record in _children(sharing):
        events = sharing.events[run_id]
        undone = [
            following
            for one, following in itertools.pairwise(events)
            if one.event.kind is _COMPLETED and following.event.kind is _UNDOES
        ]
        if len(undone) > 1:
            yield f"{run_id} was undone {len(undone)} times"
        if undone and not _ends_with_parent(record):
            yield f"{run_id} was undone, although its parent has nothing to say about it"
        if undone and not _undoes(sharing, parent_id, undone[0].place):
            yield f"{run_id} was undone, but {parent_id} was not"
        end = _last_end(sharing, parent_id)
        if end is None or not _ends_with_parent(record) or not _can_be_undone(sharing, run_id):
            continue
        if end.event.kind not in _ENDS_BADLY or not _undoes(sharing, parent_id, end.place):
            continue
        before = [it.event.kind for it in events if it.place < end.place]
        if undone and before[-1] not in RUN_ENDS:
            yield f"{run_id} was still being undone when {parent_id} ended"
        if before and before[-1] is _COMPLETED and not _gave_up(end, run_id):
            yield f"{run_id} had completed, and was not undone before {parent_id} ended"


def _undoes(sharing: Sharing, run_id: str, place: int) -> bool:
    """Return whether a run had begun to be undone by then."""
    return any(it.event.kind is _UNDOES and it.place < place for it in sharing.events[run_id])


def _can_be_undone(sharing: Sharing, run_id: str) -> bool:
    known = sharing.trace.runs.get(run_id)
    return known is not None and any(step.compensation is not None for step in known.plan.steps)


def _gave_up(end: Recorded, run_id: str) -> bool:
    """Return whether the end of a parent says that a child could not be undone."""
    return run_id in end.event.data.get("children_left", ())


# ── 63 ───────────────────────────────────────────────────────────────────────────────────────


@of_several(
    63,
    "A step that waits for a child which another process runs learns of its end at its process's "
    "next look at the latest.",
)
def parents_go_on_with_their_children(sharing: Sharing) -> Iterator[str]:
    """Measure how long each wait went on after the child had ended, while its process was there."""
    bound = 2 * NET + sharing.until_searched
    for process in sharing.processes.values():
        for wait, child_id in _waits(sharing, process):
            ended = _first_end(sharing, child_id)
            if ended == NEVER:
                continue
            since = sharing.free_from(process.orchestrator, max(ended, wait.began_at))
            until = since + bound
            over = wait.woken_at if wait.woken_at is not None else wait.until_at
            if until >= min(NEVER if over is None else over, process.ended_at):
                continue
            if sharing.is_there(process.orchestrator, since, until):
                yield (
                    f"step {wait.step_id!r} of {wait.run_id} still waited at {until:g} s in "
                    f"{process.name} for {child_id}, which had ended at {ended:g} s"
                )


def _first_end(sharing: Sharing, run_id: str) -> float:
    ends = (it.by.time for it in sharing.events[run_id] if it.event.kind in RUN_ENDS)
    return next(ends, NEVER)


def _waits(sharing: Sharing, process: ProcessTrace) -> Iterator[tuple[WaitTrace, str]]:
    """Yield the waits for children of the bodies of a process, each with the child's id."""
    reasons: dict[tuple[str, str | None, int | None], list[str]] = {}
    for event, by in zip(sharing.trace.events, sharing.trace.written, strict=True):
        if by.owner == process.name and event.kind in _SUSPENDED:
            key = event.run_id, event.step_id, event.attempt
            reasons.setdefault(key, []).append(str(event.data.get("reason", "")))
    for wait in process.trace.waits:
        line = reasons.get((wait.run_id, wait.step_id, wait.attempt))
        reason = line.pop(0) if line else ""
        if reason.startswith(_FOR_A_CHILD):
            yield wait, reason.removeprefix(_FOR_A_CHILD)
