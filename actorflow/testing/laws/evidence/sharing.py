"""The trace of a cluster arranged for the laws: who owned which run when, and who was there."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Final, NamedTuple

from actorflow.model.lifecycle import EventKind
from actorflow.state.leases import renewal_interval
from actorflow.testing.laws.evidence.life import NEVER, RUN_ENDS
from actorflow.testing.laws.evidence.rest import Rest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorflow.model.events import Event
    from actorflow.testing.cluster.store import Owned, Written
    from actorflow.testing.cluster.trace import ClusterTrace, ProcessTrace
    from actorflow.testing.trace.trace import AttemptTrace

__all__ = ["Ownership", "Recorded", "Sharing"]

_NO_OWNER: Final = ""
_AWAIT: Final = frozenset(
    {
        EventKind.STEP_AWAITING,
        EventKind.STEP_SUSPENDED,
        EventKind.COMPENSATION_AWAITING,
        EventKind.COMPENSATION_SUSPENDED,
    }
)
_STALL: Final = 5.0
"""The longest time in seconds for which one write stalls."""
_SLACK: Final = 1.0
"""Seconds for what takes no time of its own, but comes after something that does."""


class Ownership(NamedTuple):
    """A time during which a run belonged to one owner, or to none."""

    run_id: str
    owner: str
    """The name of a process; empty for none."""
    former: str | None
    """The one before; None for a run that was accepted."""
    since: float
    until: float
    """When it changed hands or ended; infinite if neither happened."""
    events: int
    """How many events of all runs were recorded when it began."""
    renewals: int
    """How often any owner had renewed its lease by then."""


class Recorded(NamedTuple):
    """A recorded event, and who recorded it."""

    place: int
    """Its index among all events."""
    event: Event
    by: Written


class Sharing:
    """Several orchestrators over one store.

    Args:
        trace: The trace.
    """

    def __init__(self, trace: ClusterTrace) -> None:
        self.trace = trace
        self.processes: dict[str, ProcessTrace] = {it.name: it for it in trace.processes}
        self.events: dict[str, list[Recorded]] = {run_id: [] for run_id in trace.accepted}
        """The events of each run, in the order of recording."""
        pairs = zip(trace.events, trace.written, strict=True)
        for place, (event, by) in enumerate(pairs):
            self.events[event.run_id].append(Recorded(place, event, by))
        self.ended: dict[str, float] = {
            run_id: one.by.time
            for run_id, some in self.events.items()
            for one in some
            if one.event.kind in RUN_ENDS
        }
        """When each run ended that did."""
        self.ownerships: dict[str, list[Ownership]] = {run_id: [] for run_id in trace.accepted}
        """The owners of each run, one after the other."""
        self._read_owners()

    def _read_owners(self) -> None:
        by_run: dict[str, list[Owned]] = {}
        for one in self.trace.owned:
            by_run.setdefault(one.run_id, []).append(one)
        for run_id, some in by_run.items():
            nexts = [*some[1:], None]
            ends = [self._until(*pair) for pair in zip(some, nexts, strict=True)]
            self.ownerships[run_id] = [
                Ownership(
                    run_id,
                    it.owner,
                    it.former,
                    it.time,
                    max(it.time, until),
                    it.events,
                    it.renewals,
                )
                for it, until in zip(some, ends, strict=True)
            ]

    @functools.cached_property
    def rest(self) -> Rest:
        """When the runs were paused, or slept without an owner."""
        return Rest(self.trace)

    def _until(self, one: Owned, following: Owned | None) -> float:
        """Return when a run ended or changed hands.

        A child that has completed may be claimed to be undone with its parent, and is in progress
        again from its next event on.
        """
        last = NEVER if following is None else following.events
        mine = [it for it in self.events[one.run_id] if one.events <= it.place < last]
        ends = (it.by.time for it in mine if it.event.kind in RUN_ENDS)
        if not mine and not self.is_in_progress(one.run_id, one.events):
            return one.time
        return next(ends, NEVER if following is None else following.time)

    def is_in_progress(self, run_id: str, events: int) -> bool:
        """Return whether a run was in progress when so many events of all runs were recorded."""
        before = [it for it in self.events[run_id] if it.place < events]
        return not before or before[-1].event.kind not in RUN_ENDS

    def is_void(self, asked_at: float, one: Ownership) -> bool:
        """Return whether a run had ended after a request, before it was claimed to be undone."""
        ends = (it for it in self.events[one.run_id] if it.event.kind in RUN_ENDS)
        return any(asked_at <= it.by.time and it.place < one.events for it in ends)

    def since_undone(self, run_id: str) -> Sequence[Recorded]:
        """Return the events of a run; those since it was undone, if it was."""
        events = self.events[run_id]
        for place, (one, following) in enumerate(itertools.pairwise(events), 1):
            undone = following.event.kind is EventKind.RUN_COMPENSATING
            if one.event.kind is EventKind.RUN_COMPLETED and undone:
                return events[place:]
        return events

    # ── Bounds ───────────────────────────────────────────────────────────────────────────────

    @property
    def _stalls(self) -> float:
        """Seconds for which stalled writes may keep a process from the store in all."""
        return _STALL * self.trace.settings.faults.store_stalls

    @property
    def until_taken(self) -> float:
        """Seconds within which an orchestrator takes up a run without a living owner.

        It sees at the next search that the owner's counter stands still, watches for the duration
        of the lease, and finds that out at the next search.
        """
        trace = self.trace
        return trace.lease + 2 * trace.recover_every + self._stalls + _SLACK

    @property
    def until_searched(self) -> float:
        """Seconds within which an orchestrator takes up a run that was handed back."""
        return 2 * self.trace.recover_every + self._stalls + _SLACK

    @property
    def until_heard(self) -> float:
        """Seconds within which an owner looks at its runs: at the next renewal of its lease."""
        return renewal_interval(self.trace.lease) + self._stalls + _SLACK

    # ── Orchestrators ────────────────────────────────────────────────────────────────────────

    def is_there(self, orchestrator: int, since: float, until: float) -> bool:
        """Return whether an orchestrator could do its work for a whole time."""
        return until <= self.trace.now and not any(
            it.orchestrator == orchestrator and it.since < until and since < it.until
            for it in self.trace.absences
        )

    def was_away(self, orchestrator: int, since: float, until: float) -> bool:
        """Return whether an orchestrator could not do its work at some moment."""
        return any(
            it.orchestrator == orchestrator and it.since <= until and since <= it.until
            for it in self.trace.absences
        )

    def free_from(self, orchestrator: int, moment: float) -> float:
        """Return when an orchestrator is there for the first time from a moment on."""
        moved = True
        while moved:
            ends = [
                it.until
                for it in self.trace.absences
                if it.orchestrator == orchestrator and it.since <= moment < it.until
            ]
            moved = bool(ends)
            moment = max(ends, default=moment)
        return moment

    def absences_from(self, orchestrator: int, moment: float) -> Iterator[float]:
        """Yield the moments from one on at which an orchestrator begins to be there."""
        at = self.free_from(orchestrator, moment)
        while at != NEVER:
            yield at
            later = [
                it.until
                for it in self.trace.absences
                if it.orchestrator == orchestrator and it.until > at
            ]
            at = min(later, default=NEVER)

    def accepted_at(self, run_id: str) -> int:
        """Return how many events of all runs were recorded when a run was accepted."""
        return self.ownerships[run_id][0].events

    def ended_at(self, run_id: str) -> float:
        """Return the place of a run's end among all events; infinite for one without an end."""
        events = self.events[run_id]
        return next((it.place for it in events if it.event.kind in RUN_ENDS), NEVER)

    # ── Runs ─────────────────────────────────────────────────────────────────────────────────

    @property
    def all_ownerships(self) -> Iterator[Ownership]:
        """All ownerships of all runs."""
        return (one for some in self.ownerships.values() for one in some)

    def alive_until(self, ownership: Ownership) -> float:
        """Return until when a run had an owner that was alive, within one ownership."""
        if ownership.owner == _NO_OWNER:
            return ownership.since
        return min(ownership.until, self.processes[ownership.owner].ended_at)

    def attempts(self, process: ProcessTrace) -> Sequence[AttemptTrace]:
        """Return the attempts of one process, and those of compensators."""
        return (*process.trace.attempts, *process.trace.compensations)

    def quiet_after(self, process: ProcessTrace, moment: float, until: float) -> float | None:
        """Return when a process had nothing left to deliver or to write after a moment.

        Returns None if that was not before `until`, or an orchestrator was away in between.
        """
        lulls = (it.time for it in process.trace.idle if it.time > moment and not it.writes)
        found = next(lulls, NEVER)
        there = found < until and self.is_there(process.orchestrator, moment, found)
        return found if there else None

    def may_stop(self, run_id: str, moment: float) -> bool:
        """Return whether a run may have been told to end by a moment, or its time may be up."""
        trace, record = self.trace, self.trace.accepted[run_id]
        known = trace.runs.get(run_id)
        timeout = record.timeout if known is None else known.timeout
        if timeout is not None and (not trace.clocks_are_right or moment >= timeout):
            return True
        heard = (it for process in self.processes.values() for it in process.heard)
        return any(one == run_id and at <= moment for at, one in (*trace.asked, *heard))

    def waits_for_mail(self, run_id: str) -> bool:
        """Return whether a step of a run waited for a message at the end."""
        last = {one.event.step_id: one.event.kind for one in self.events[run_id]}
        return any(kind in _AWAIT for kind in last.values())

    def owner_at(self, run_id: str, event: int) -> Ownership:
        """Return the ownership in which an event was recorded."""
        return [it for it in self.ownerships[run_id] if it.events <= event][-1]
