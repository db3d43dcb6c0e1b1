"""The laws about the record of a run that several orchestrators write: nothing twice, or lost.

They hold over the joint trace of all processes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorflow.errors.running import IllegalMove
from actorflow.model.lifecycle import EventKind
from actorflow.state.folding import fold
from actorflow.testing.laws.evidence.life import NEVER, RUN_ENDS, STEP_ENDS, UNDOING_ENDS
from actorflow.testing.laws.law import of_several
from actorflow.testing.simulation.account import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.testing.cluster.trace import ProcessTrace
    from actorflow.testing.laws.evidence.sharing import Recorded, Sharing

__all__ = ["ends_are_shared", "nothing_accepted_is_lost", "records_are_continued"]

_EPSILON: Final = 1e-9
_FINAL: Final = STEP_ENDS.keys() - {EventKind.STEP_CANCELLED}
"""The ends that stand when a run is taken over. A run that was being cancelled goes on."""
_BEFORE_ITS_START: Final = frozenset(
    {EventKind.RUN_ACCEPTED, EventKind.RUN_PAUSED, EventKind.RUN_UNPAUSED}
)
_OF_A_CANCELLATION: Final = frozenset({EventKind.STEP_CANCELLED, EventKind.RUN_CANCELLED})
"""The events with which a run without an owner is cancelled, which needs no workflow."""


# ── 41 ───────────────────────────────────────────────────────────────────────────────────────


@of_several(
    41,
    "What is recorded is not done again, whichever orchestrator goes on with the run: each step "
    "and each compensator ends once, and does not begin afterwards.",
)
def ends_are_shared(sharing: Sharing) -> Iterator[str]:
    """Look for second ends in the record, and for attempts of what had ended before a claim."""
    for run_id, events in sharing.events.items():
        ended: dict[tuple[str | None, bool], int] = {}
        for one in events:
            event = one.event
            undone = event.kind in UNDOING_ENDS
            if event.kind in _FINAL or undone:
                key = event.step_id, undone
                if key in ended:
                    yield f"step {event.step_id!r} of {run_id} ended twice"
                ended.setdefault(key, one.place)
        for process in sharing.processes.values():
            yield from _repeated(sharing, process, run_id, ended)


def _repeated(
    sharing: Sharing,
    process: ProcessTrace,
    run_id: str,
    ended: dict[tuple[str | None, bool], int],
) -> Iterator[str]:
    mine = [
        it
        for it in sharing.ownerships[run_id]
        if it.owner == process.name and sharing.is_in_progress(run_id, it.events)
    ]
    for undoes, attempts in ((False, process.trace.attempts), (True, process.trace.compensations)):
        for attempt in attempts:
            end = ended.get((attempt.step_id, undoes))
            claims = [it for it in mine if it.since <= attempt.started_at + _EPSILON]
            if attempt.run_id != run_id or end is None or not claims:
                continue
            if attempt.outcome is not Outcome.NOT_BEGUN and end < claims[-1].events:
                yield (
                    f"{process.name} began step {attempt.step_id!r} of {run_id} again at "
                    f"{attempt.started_at:g} s, although its end was recorded"
                )


# ── 47 ───────────────────────────────────────────────────────────────────────────────────────


@of_several(
    47,
    "Nothing that was accepted is lost: each run of which a caller knows is in the record, and "
    "ends there, once and last.",
)
def nothing_accepted_is_lost(sharing: Sharing) -> Iterator[str]:
    """Look for runs without a record or an end, once nothing is left to happen.

    In a schedule that was ended by a bound, a run may lack its end if an attempt goes on, or if
    its time has not come by the clock of the store.
    """
    trace = sharing.trace
    for run_id in trace.acknowledged:
        if run_id not in sharing.events:
            yield f"{run_id} was accepted, and is not in the record"
    for run_id, events in sharing.events.items():
        ends = [one for one in sharing.since_undone(run_id) if one.event.kind in RUN_ENDS]
        if ends and (ends[1:] or ends[0] is not events[-1]):
            yield f"{run_id} went on after its end"
        if not ends and (trace.quiescent or (trace.endless and not _may_wait(sharing, run_id))):
            yield f"{run_id} was accepted, and has no end"


def _may_wait(sharing: Sharing, run_id: str) -> bool:
    """Return whether a run had reason not to have ended at the end of the schedule.

    It may have waited for a worker or a place while an attempt went on.
    """
    start_at = sharing.trace.accepted[run_id].start_at
    if start_at is not None and start_at > sharing.trace.store_time:
        return True
    if sharing.rest.rests(run_id, sharing.trace.now) or sharing.waits_for_mail(run_id):
        return True
    return any(
        attempt.finished_at is None
        for process in sharing.processes.values()
        if process.ended_at == NEVER
        for attempt in sharing.attempts(process)
    )


# ── 48 ───────────────────────────────────────────────────────────────────────────────────────


@of_several(
    48,
    "The record of a run goes on where it stands, whichever orchestrator writes it: numbers rise "
    "without gaps, each new owner says first and once that it resumes the run, and it all folds.",
)
def records_are_continued(sharing: Sharing) -> Iterator[str]:
    """Check the numbers, the announcements, and the fold of the whole record of each run."""
    for run_id, events in sharing.events.items():
        for number, one in enumerate(events, 1):
            if one.event.number != number:
                yield f"event {one.event.number} of {run_id} is recorded as its {number}th"
        yield from _misannounced(run_id, events)
        try:
            fold(sharing.trace.accepted[run_id], [one.event for one in events])
        except IllegalMove as error:
            yield f"the record of {run_id} does not fold: {error}"


def _misannounced(run_id: str, events: list[Recorded]) -> Iterator[str]:
    first: set[tuple[str, int]] = set()
    for one in events:
        writer = one.by.owner, one.by.fence
        new = bool(one.by.owner) and writer not in first
        first.add(writer)
        resumed = one.event.kind is EventKind.RUN_RESUMED
        begins = one.event.number == 1 or one.event.kind in _OF_A_CANCELLATION or not one.by.owner
        if resumed and not new:
            yield f"{one.by.owner} says twice that it resumes {run_id}"
        elif new and not (resumed or begins or _only_accepted(events, one) or _undoes(events, one)):
            yield f"{one.by.owner} went on with {run_id} without saying so"


def _undoes(events: list[Recorded], one: Recorded) -> bool:
    """Return whether a run that has completed is undone from this event on."""
    before = events[one.event.number - 2].event.kind
    return before is EventKind.RUN_COMPLETED and one.event.kind is EventKind.RUN_COMPENSATING


def _only_accepted(events: list[Recorded], one: Recorded) -> bool:
    """Return whether a run had not started before an event: it starts then, and is not resumed."""
    before = events[: one.event.number - 1]
    return all(it.event.kind in _BEFORE_ITS_START for it in before)
