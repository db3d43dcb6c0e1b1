"""The laws about several orchestrators over one store: who owns a run, and what becomes of it.

They hold over the joint trace of all processes. The laws about one orchestrator are checked for
each process by itself.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from actorflow.errors.running import TakenOverTooOften
from actorflow.model.lifecycle import EventKind
from actorflow.testing.laws.evidence.life import NEVER, STEP_ENDS, UNDOING_ENDS
from actorflow.testing.laws.law import of_several
from actorflow.testing.simulation.account import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.model.events import Event
    from actorflow.testing.laws.evidence.rest import Span
    from actorflow.testing.laws.evidence.sharing import Ownership, Sharing

__all__ = [
    "healthy_owners_keep_their_runs",
    "lost_runs_are_let_go",
    "owners_die_a_limited_number_of_times",
    "owners_follow_each_other",
    "requests_are_heard",
    "unowned_runs_are_taken_up",
]

_NO_OWNER: Final = ""
_EPSILON: Final = 1e-9
_RESUMED: Final = EventKind.RUN_RESUMED
_STARTS: Final[frozenset[str]] = frozenset(
    {
        EventKind.STEP_STARTED,
        EventKind.COMPENSATION_STARTED,
        "step.continued",
        "compensation.continued",
    }
)
_WAITS: Final[frozenset[str]] = frozenset(
    {
        EventKind.STEP_RETRYING,
        EventKind.COMPENSATION_RETRYING,
        "step.suspended",
        "compensation.suspended",
    }
)
"""Events with which an attempt ends, or waits, before its step has ended."""


# ── 40 ───────────────────────────────────────────────────────────────────────────────────────


@of_several(
    40,
    "A run has one owner at a time: an event is recorded by the owner with the newest fencing "
    "token, and each claim has a new one.",
)
def owners_follow_each_other(sharing: Sharing) -> Iterator[str]:
    """Compare the fencing token of each event with that of the last change of the run's owner."""
    newest: dict[str, tuple[str, int]] = {}
    changes = list(sharing.trace.owned)
    for place, (event, by) in enumerate(
        zip(sharing.trace.events, sharing.trace.written, strict=True)
    ):
        while changes and changes[0].events <= place:
            one = changes.pop(0)
            _, before = newest.get(one.run_id, ("", 0))
            if one.fence < before + bool(one.owner and one.former is not None):
                yield f"{one.owner} claimed {one.run_id} without a new fencing token"
            newest[one.run_id] = one.owner, one.fence
        owner, fence = newest[event.run_id]
        if by.owner and (by.owner, by.fence) != (owner, fence):
            yield (
                f"{event.kind.value} of {event.run_id} was recorded by {by.owner} at "
                f"{by.time:g} s, when it belonged to {owner or 'no owner'}"
            )


# ── 42 ───────────────────────────────────────────────────────────────────────────────────────


@of_several(
    42,
    "A run that is left is taken up within two searches, and one whose owner is gone within a "
    "lease more, while an orchestrator is there that has room for it.",
)
def unowned_runs_are_taken_up(sharing: Sharing) -> Iterator[str]:
    """Measure how long each run had no living owner while an orchestrator was there throughout.

    A run that waits for its time or its turn is left out until it has begun, and so are the times
    for which a run is paused, or was evicted and there is no news for it.
    """
    trace = sharing.trace
    if trace.settings.max_active_runs < len(trace.accepted):
        return
    for one in sharing.all_ownerships:
        since = sharing.alive_until(one)
        if since >= one.until or _waits(sharing, one):
            continue
        for span in sharing.rest.without(one, since):
            yield from _left_alone(sharing, one, span)


def _left_alone(sharing: Sharing, one: Ownership, span: Span) -> Iterator[str]:
    """Yield the orchestrators that had to take a run within a time, and did not."""
    bound = sharing.until_taken if one.owner else sharing.until_searched
    for orchestrator in range(sharing.trace.orchestrators):
        for moment in sharing.absences_from(orchestrator, span.since):
            until = moment + bound
            if until < span.until and sharing.is_there(orchestrator, moment, until):
                yield (
                    f"{one.run_id} had no living owner from {span.since:g} s on, and orchestrator "
                    f"{orchestrator} had not taken it up by {until:g} s"
                )


def _waits(sharing: Sharing, one: Ownership) -> bool:
    """Return whether a run may wait for its time or its turn."""
    if sharing.trace.accepted[one.run_id].start_at is None:
        return False
    return not any(it.by.time <= one.since for it in sharing.events[one.run_id])


# ── 43 ───────────────────────────────────────────────────────────────────────────────────────


@of_several(
    43,
    "A cancellation that is asked for anywhere is heard by the run's owner at its next renewal at "
    "the latest, or by the next owner.",
)
def requests_are_heard(sharing: Sharing) -> Iterator[str]:
    """Look for owners that were there and did not hear of a request in time."""
    for asked_at, run_id in sharing.trace.asked:
        for one in sharing.ownerships[run_id]:
            process = sharing.processes.get(one.owner)
            since = max(asked_at, one.since)
            if process is None or since >= one.until or sharing.is_void(asked_at, one):
                continue
            since = sharing.free_from(process.orchestrator, since)
            until = since + sharing.until_heard
            if until >= min(one.until, process.ended_at):
                continue
            if not sharing.is_there(process.orchestrator, since, until):
                continue
            if not any(run == run_id and at <= until for at, run in process.heard):
                yield (
                    f"{process.name} had not heard by {until:g} s that {run_id} was to be "
                    f"cancelled, which was asked for at {asked_at:g} s"
                )


# ── 46 ───────────────────────────────────────────────────────────────────────────────────────


@of_several(
    46,
    "A living owner keeps its runs: they are taken over only when it has not renewed its lease for "
    "as long as that lasts, whatever the wall clocks say, and it renews it while it can.",
)
def healthy_owners_keep_their_runs(sharing: Sharing) -> Iterator[str]:
    """Look at each run that was taken from an owner whose process was alive."""
    trace = sharing.trace
    for one in sharing.all_ownerships:
        former = sharing.processes.get(one.former or "")
        if former is None or one.owner in ("", one.former) or former.ended_at <= one.since:
            continue
        if trace.ended_before(one.run_id, one.events):
            continue  # a run that has ended may be claimed to be resumed
        before = trace.renewed[: one.renewals]
        renewed = max(at for at, owner in before if owner == one.former)
        said = f"{one.owner} took {one.run_id} from {one.former} at {one.since:g} s,"
        if one.since - renewed < trace.lease - _EPSILON:
            yield f"{said} whose lease of {trace.lease:g} s was renewed at {renewed:g} s"
        elif not (
            sharing.was_away(former.orchestrator, renewed, one.since)
            or trace.settings.faults.store_stalls
        ):
            yield f"{said} which had been there and had not renewed its lease since {renewed:g} s"


# ── 49 ───────────────────────────────────────────────────────────────────────────────────────


@of_several(
    49,
    "An owner that has lost a run learns of it at its next renewal at the latest, and no attempt "
    "begins whose start its orchestrator has not recorded.",
)
def lost_runs_are_let_go(sharing: Sharing) -> Iterator[str]:
    """Look at owners that were alive when another one took a run over, and at all attempts."""
    yield from _unrecorded(sharing)
    for one in sharing.all_ownerships:
        former = sharing.processes.get(one.former or "")
        if former is None or one.owner in ("", one.former) or former.ended_at <= one.since:
            continue
        if sharing.trace.ended_before(one.run_id, one.events):
            continue
        since = _owned_since(sharing, one)
        learnt = [at for at, run_id in former.lost if run_id == one.run_id and at >= since]
        since = sharing.free_from(former.orchestrator, one.since)
        until = since + sharing.until_heard
        ended = min(former.ended_at, sharing.ended.get(one.run_id, NEVER))
        in_time = until < min(ended, _owned_again(sharing, one))
        if not learnt and in_time and sharing.is_there(former.orchestrator, since, until):
            yield f"{former.name} had not learnt by {until:g} s that it had lost {one.run_id}"


def _owned_since(sharing: Sharing, one: Ownership) -> float:
    """Return since when the former owner had had a run that changed hands."""
    before = itertools.takewhile(lambda it: it != one, sharing.ownerships[one.run_id])
    return max(it.since for it in before if it.owner == one.former)


def _owned_again(sharing: Sharing, one: Ownership) -> float:
    """Return when the former owner took the run back, which makes the loss good; or infinity."""
    later = itertools.dropwhile(lambda it: it != one, sharing.ownerships[one.run_id])
    return min((it.since for it in later if it.owner == one.former), default=NEVER)


def _unrecorded(sharing: Sharing) -> Iterator[str]:
    """Yield the attempts that began in a process which had not recorded their start."""
    recorded = {
        (by.owner, event.run_id, event.step_id, event.attempt)
        for event, by in zip(sharing.trace.events, sharing.trace.written, strict=True)
        if event.kind in _STARTS
    }
    for process in sharing.processes.values():
        for attempt in sharing.attempts(process):
            begun = process.name, attempt.run_id, attempt.step_id, attempt.attempt
            if begun not in recorded and attempt.outcome is not Outcome.NOT_BEGUN:
                yield (
                    f"{process.name} began attempt {attempt.attempt} of step {attempt.step_id!r} "
                    f"of {attempt.run_id}, but has not recorded its start"
                )


# ── 50 ───────────────────────────────────────────────────────────────────────────────────────


@of_several(
    50,
    "Each owner that is gone with a step of a run in flight counts against the run, in whichever "
    "orchestrators they were, until a step settles; hand-overs do not count. A run goes on after "
    "`max_takeovers` of them in a row, and is given up after one more.",
)
def owners_die_a_limited_number_of_times(sharing: Sharing) -> Iterator[str]:
    """Count the take-overs of each run from owners that were gone, and compare how it went on."""
    limit = sharing.trace.settings.max_takeovers
    for run_id, ownerships in sharing.ownerships.items():
        ends = [*(it.events for it in ownerships[1:]), NEVER]
        counted = _Counted()
        for one, until in zip(ownerships, ends, strict=True):
            counted.owned(one)
            mine = [it.event for it in sharing.events[run_id] if one.events <= it.place < until]
            given_up = any(isinstance(it.data.get("error"), TakenOverTooOften) for it in mine)
            if given_up and counted.crashes <= limit:
                yield f"{run_id} was given up after {counted.crashes} crashes of {limit} allowed"
            if counted.crashes > limit and any(it.kind is EventKind.STEP_STARTED for it in mine):
                yield f"{run_id} went on after {counted.crashes} crashes of {limit} allowed"
            for event in mine:
                counted.happened(event)


class _Counted:
    """How many owners of a run have gone with one of its steps in flight, in a row."""

    def __init__(self) -> None:
        self.crashes = 0
        self._recorded = False
        """Whether anything was recorded since the run was claimed last."""
        self._in_flight: set[str] = set()

    def owned(self, one: Ownership) -> None:
        """Note that the run has changed hands."""
        gone = one.former not in (None, _NO_OWNER, one.owner) and one.owner != _NO_OWNER
        if gone and self._recorded and self._in_flight:
            self.crashes += 1
            self._in_flight = set()
        self._recorded = self._recorded and one.owner == _NO_OWNER

    def happened(self, event: Event) -> None:
        """Note what was recorded of the run."""
        self._recorded = True
        kind, step_id = event.kind, str(event.step_id)
        if kind is _RESUMED:
            self._in_flight = set()
        elif kind in _STARTS:
            self._in_flight.add(step_id)
        elif kind in _WAITS:
            self._in_flight.discard(step_id)
        elif kind in STEP_ENDS or kind in UNDOING_ENDS:
            self._in_flight.discard(step_id)
            self.crashes = 0
