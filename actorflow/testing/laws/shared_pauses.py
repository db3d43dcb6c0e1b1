"""The law about pauses between several orchestrators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorflow.model.lifecycle import EventKind
from actorflow.testing.laws.evidence.life import NEVER, RUN_ENDS
from actorflow.testing.laws.evidence.rest import Span
from actorflow.testing.laws.law import of_several
from actorflow.testing.laws.pauses import STARTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.testing.laws.evidence.sharing import Recorded, Sharing

__all__ = ["pauses_are_shared"]


@of_several(
    58,
    "A pause holds whichever orchestrator has the run: its owner hears of it and of its end at its "
    "next renewal at the latest, one that takes the run later starts nothing, and the record says "
    "once that it begins and once that it ends.",
)
def pauses_are_shared(sharing: Sharing) -> Iterator[str]:
    """Compare the pauses in the store with what the owners recorded."""
    for run_id, pauses in sharing.rest.pauses.items():
        for pause, following in zip(pauses, [*pauses[1:], Span(NEVER, NEVER)], strict=True):
            yield from _started(sharing, run_id, pause)
            missed = _unheard(sharing, run_id, pause.since, pause.until, begins=True) or _unheard(
                sharing, run_id, pause.until, following.since, begins=False
            )
            if missed:
                yield missed
        yield from _misrecorded(run_id, sharing.events[run_id])


def _started(sharing: Sharing, run_id: str, pause: Span) -> Iterator[str]:
    """Yield what was started in a pause by an owner that took the run after that.

    Law 36 holds for an owner that was told.
    """
    for one in sharing.events[run_id]:
        event, at = one.event, one.by.time
        if event.kind not in STARTS or not pause.since < at < pause.until:
            continue
        later = sharing.owner_at(run_id, one.place).since > pause.since
        if later and not sharing.may_stop(run_id, at):
            yield (
                f"{one.by.owner} recorded {event.kind.value} {event.step_id} of {run_id} at "
                f"{at:g} s, which was paused from {pause.since:g} s on"
            )


def _unheard(sharing: Sharing, run_id: str, since: float, until: float, *, begins: bool) -> str:
    """Return what an owner did not hear of in time that lasted for a while; or nothing."""
    owned = [it for it in sharing.ownerships[run_id] if it.since <= since < it.until]
    process = sharing.processes.get(owned[-1].owner) if owned else None
    if process is None or not _has_begun(sharing, run_id, since):
        return ""
    free = sharing.free_from(process.orchestrator, since)
    by = free + sharing.until_heard
    ended = min(owned[-1].until, process.ended_at, until)
    if by >= ended or sharing.may_stop(run_id, by) or _says_paused(sharing, run_id, by) is begins:
        return ""
    if not sharing.is_there(process.orchestrator, free, by):
        return ""
    told = (
        it.time
        for it in process.news
        if it.run_id == run_id and it.number is None and it.paused is begins and it.time >= since
    )
    at = next(told, NEVER)
    late = by if at > by else sharing.quiet_after(process, at, ended)
    if late is None or _says_paused(sharing, run_id, late) is begins:
        return ""
    wanted = "is to be paused" if begins else "may go on"
    said = "had not heard" if at > by else "had not recorded"
    return f"{process.name} {said} by {late:g} s that {run_id} {wanted}, from {since:g} s on"


def _has_begun(sharing: Sharing, run_id: str, moment: float) -> bool:
    return any(one.event.kind in STARTS and one.by.time <= moment for one in sharing.events[run_id])


def _says_paused(sharing: Sharing, run_id: str, moment: float) -> bool:
    """Return whether a run was paused at a moment by its events."""
    said = False
    for one in sharing.events[run_id]:
        if one.by.time <= moment:
            said = _after(one, paused=said)
    return said


def _after(one: Recorded, *, paused: bool) -> bool:
    kind = one.event.kind
    return kind is EventKind.RUN_PAUSED or (
        paused and kind is not EventKind.RUN_UNPAUSED and kind not in RUN_ENDS
    )


def _misrecorded(run_id: str, events: list[Recorded]) -> Iterator[str]:
    paused = False
    for one in events:
        kind, said = one.event.kind, f"{one.event.kind.value} of {run_id} at {one.by.time:g} s"
        again = kind is EventKind.RUN_PAUSED and paused
        nothing = kind is EventKind.RUN_UNPAUSED and not paused
        if (again or nothing) and not one.event.data.get("cancelled"):
            yield f"{said}, recorded by {one.by.owner}, changed nothing"
        elif kind is EventKind.RUN_COMPLETED and paused:
            yield f"{said} came in a pause"
        paused = _after(one, paused=paused)
