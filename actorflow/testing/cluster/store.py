"""The simulated store that several orchestrators share: runs, leases, keys and schedules.

Each method is one transaction. It does what the statements of `actorflow.state.sql` do. Tests hold
both to the same contract, and to the same drawn histories of starts with keys. What those
statements leave to Python, such as when a lease is over and what a start with a key does, is
production's own code.

It has a clock of its own, as a database has. It keeps account of who owned which run and who wrote
what, for the laws.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from actorflow.errors.running import IllegalMove
from actorflow.errors.storage import (
    AlreadyStarted,
    LeaseHeld,
    LeaseLost,
    RunNotFound,
    StoreUnavailable,
)
from actorflow.model.filters import RunQuery
from actorflow.model.lifecycle import RunStatus
from actorflow.model.powers import Taken
from actorflow.model.records import RunPage
from actorflow.state.finding import matching
from actorflow.state.memory_schedules import MemorySchedules
from actorflow.testing.cluster.messages import Messages
from actorflow.testing.cluster.pauses import Pauses
from actorflow.testing.cluster.rows import NO_OWNER, Cancellation, OwnerRow, PauseState, RunRow
from actorflow.testing.cluster.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import Unpack

    from actorflow.errors.storage import StoreError
    from actorflow.model.events import Event
    from actorflow.model.filters import RunListing
    from actorflow.model.records import RunRecord, RunSnapshot
    from actorflow.state.leases import LeaseWatch

__all__ = ["Merged", "Owned", "SharedStore", "Written"]

_ENDED_BADLY: Final = frozenset({RunStatus.FAILED, RunStatus.CANCELLED})
_PARKED: Final = "it waits for an orchestrator that knows its workflow in this version"


class Owned(NamedTuple):
    """A change of a run's owner."""

    time: float
    run_id: str
    owner: str
    """The new owner; empty if it was handed back, or was accepted without one."""
    former: str | None
    """The one before; None for a run that was accepted."""
    fence: int
    events: int
    """How many events of all runs were recorded by then."""
    renewals: int
    """How often any owner had renewed its lease by then."""


class Written(NamedTuple):
    """Who recorded an event, and when."""

    time: float
    owner: str
    fence: int


class Merged(NamedTuple):
    """A request that gave its inputs to a run that waited."""

    run_id: str
    """The run that waited."""
    record: RunRecord
    """The request."""
    events: int
    """How many events of all runs were recorded by then."""


class SharedStore:
    """The runs, leases and schedules that several orchestrators share.

    Args:
        now: Returns the moment, for the account of what happened.
        wall: Returns the time by the store's own clock, in seconds since the epoch.
        by_clock: Whether that clock decides when a lease is over, as on PostgreSQL; otherwise the
            owners watch each other's counters, as on SQLite.
    """

    def __init__(
        self, now: Callable[[], float], wall: Callable[[], float], *, by_clock: bool
    ) -> None:
        self._now = now
        self.wall: Final = wall
        self._by_clock = by_clock
        self.rows: Final[dict[str, RunRow]] = {}
        self.owners: Final[dict[str, OwnerRow]] = {}
        self.schedules: Final = MemorySchedules()
        self.turns: Final = Turns(self)
        self.messages: Final = Messages(self, now)
        self.pauses: Final = Pauses(self, now)
        self._keys: dict[tuple[str, str], str] = {}
        self.log: Final[list[Event]] = []
        """All recorded events, in the order of recording."""
        self.written: Final[list[Written]] = []
        """Who recorded each of them."""
        self.owned: Final[list[Owned]] = []
        """All changes of owners, in order."""
        self.merged: Final[list[Merged]] = []
        """The requests that gave their inputs to runs that waited, in order."""
        self.asked: Final[list[tuple[float, str]]] = []
        """When the cancellation of which run was asked for."""
        self.signal: Callable[[str], None] = _nobody
        """Called with an owner who is to look at what is asked of its runs."""
        self.ended: Callable[[str], None] = _nobody
        """Called with each run whose end is recorded."""
        self.renewed: Final[list[tuple[float, str]]] = []
        """When which owner renewed its lease."""

    # ── Leases ───────────────────────────────────────────────────────────────────────────────

    def renew(self, owner: str, host: str, seconds: float, beat: int) -> None:
        """Renew the lease of an owner, or begin it."""
        self.renewed.append((self._now(), owner))
        until = self.wall() + seconds
        self.owners[owner] = OwnerRow(owner, host, seconds, beat, until)

    def release(self, owner: str) -> None:
        """End the lease of an owner that closes, and hand its runs back."""
        for row in self.rows.values():
            if row.owner == owner and not row.ended:
                self._own(row, NO_OWNER)
        self.owners.pop(owner, None)

    def end_leases(self, owner: str, watch: LeaseWatch, now: float) -> None:
        """Have an owner look at the others, and end the leases of those that are gone."""
        wall = self.wall()
        others = [self.owners[name] for name in sorted(self.owners) if name != owner]
        for other in others:
            other.expired = other.lease_until <= wall
        for gone in watch.over(others, now):
            del self.owners[gone.owner]

    def is_unowned(self, row: RunRow) -> bool:
        """Return whether a run has no owner with a lease; see `end_leases`."""
        held = self.owners.get(row.owner)
        return held is None or (self._by_clock and held.lease_until <= self.wall())

    def note_merged(self, run_id: str, record: RunRecord) -> None:
        """Note that a request has given its inputs to a run that waits."""
        self.merged.append(Merged(run_id, record, len(self.log)))

    def _own(self, row: RunRow, owner: str) -> None:
        former, row.owner = row.owner, owner
        self._note(row, former)

    def _note(self, row: RunRow, former: str | None) -> None:
        counts = row.fence, len(self.log), len(self.renewed)
        self.owned.append(Owned(self._now(), row.run_id, row.owner, former, *counts))

    # ── Accepting ────────────────────────────────────────────────────────────────────────────

    def accept(self, record: RunRecord, owner: str) -> RunRow:
        """Record an accepted run; one without an owner can be taken by any orchestrator.

        Raises:
            AlreadyStarted: When an earlier run has its idempotency key, or is returned instead.
            KeyInUse: When a live run with its key keeps it out.
            LeaseLost: When its parent belongs to another owner.
            StoreUnavailable: When there is a run with its id.
        """
        self._check_child(record, owner)
        earlier = self._earlier(record)
        if earlier is not None:
            raise AlreadyStarted(earlier)
        row = RunRow(record, owner, self.turns.due_at(record))
        if record.key is not None:
            row.debounced = record.terms.debounce is not None
            row.slot = self.turns.admit(record, owned=owner != NO_OWNER)
        self.rows[record.run_id] = row
        if record.idempotency_key is not None:
            self._keys[record.workflow_id, record.idempotency_key] = record.run_id
        self._note(row, None)
        return row

    def _check_child(self, record: RunRecord, owner: str) -> None:
        parent = None if record.parent is None else self.rows.get(record.parent.run_id)
        if parent is not None and parent.owner != owner:
            raise LeaseLost(parent.run_id)
        if record.run_id in self.rows:
            raise StoreUnavailable("accept a run", f"there is a run {record.run_id!r}")

    def _earlier(self, record: RunRecord) -> str | None:
        """Return the run that holds the idempotency key of a new one, if it keeps it out."""
        if record.idempotency_key is None:
            return None
        earlier = self._keys.get((record.workflow_id, record.idempotency_key))
        if earlier is None or earlier == record.run_id:
            return None
        holder = self.rows[earlier]
        expires = holder.record.terms.expires
        if expires is not None and holder.record.created_at + expires <= record.created_at:
            return None
        bad_end = holder.status in _ENDED_BADLY
        return None if bad_end and record.terms.reuse == "if_failed" else earlier

    # ── Recording ────────────────────────────────────────────────────────────────────────────

    def write(self, owner: str, fence: int, events: Sequence[Event]) -> StoreError | None:
        """Record events of one run; return why not, if its fencing token is a stale one."""
        row = self.rows[events[0].run_id]
        if row.fence != fence or events[0].number != len(row.events) + 1:
            return LeaseLost(row.run_id)
        return self.append(row, owner, events)

    def append(self, row: RunRow, owner: str, events: Sequence[Event]) -> StoreError | None:
        """Record events of one run, whoever owns it; return why not, if they do not fit."""
        try:
            row.status = row.moved(events)
        except IllegalMove as error:
            return StoreUnavailable(f"accept an event of run {row.run_id!r}", str(error))
        row.events += events
        self.log.extend(events)
        self.written.extend([Written(self._now(), owner, row.fence)] * len(events))
        self.pauses.note(row, events)
        if row.ended:
            row.slot = None
            self.ended(row.run_id)
        return None

    # ── Claims ───────────────────────────────────────────────────────────────────────────────

    def claim(self, owner: str, run_id: str, watch: LeaseWatch) -> RunRow:
        """Give a run to an owner; `end_leases` comes first.

        Raises:
            RunNotFound: When there is no such run.
            LeaseHeld: When it is in progress, and its owner's lease is not over.
        """
        row = self.row(run_id)
        if not (row.ended or row.owner == owner or self.is_unowned(row)):
            raise LeaseHeld(run_id, watch.undecided_for(row.owner))
        return self._claimed(row, owner)

    def _claimed(self, row: RunRow, owner: str) -> RunRow:
        died = not row.ended and row.owner not in (NO_OWNER, owner)
        row.takeovers += died and len(row.events) > row.claimed_event
        row.fence += 1
        row.claimed_event = len(row.events)
        row.parked = row.parked_since = row.sleep = None
        if row.ended:
            row.asked, row.pause = None, PauseState()
        self._own(row, owner)
        return row

    def take(
        self,
        owner: str,
        known: Collection[tuple[str, str]],
        besides: Collection[str],
        limit: int,
    ) -> Taken:
        """Give unowned runs to an owner, the most urgent first; `end_leases` comes first."""
        self.messages.wake_due()
        free = [
            row
            for row in self.rows.values()
            if self._is_awake(row)
            and row.kind in known
            and row.run_id not in besides
            and (row.owner == owner or self.is_unowned(row))
            and self.turns.is_ripe(row)
        ]
        free.sort(key=lambda row: (-row.record.priority, row.record.created_at, row.run_id))
        taken = [row for row in free[:limit] if self.turns.promote(row)]
        for row in taken:
            self._claimed(row, owner)
        return Taken([row.run_id for row in taken], self._park(known), self.turns.next_due(known))

    def _is_awake(self, row: RunRow) -> bool:
        """Return whether a run in progress neither sleeps nor is paused."""
        return not row.ended and row.sleep is None and self.pauses.may_be_taken(row)

    def _park(self, known: Collection[tuple[str, str]]) -> list[str]:
        parked = [
            row
            for row in self.rows.values()
            if self._is_awake(row)
            and row.parked is None
            and row.kind not in known
            and self.is_unowned(row)
            and self.turns.is_ripe(row)
        ]
        for row in parked:
            row.parked, row.parked_since = _PARKED, self.wall()
        return [row.run_id for row in parked]

    def hand_back(self, owner: str, run_id: str, parked: str | None) -> None:
        """Take a run in progress from its owner, so that others can take it."""
        row = self.rows.get(run_id)
        if row is None or row.owner != owner:
            return
        if row.ended:
            row.slot = None  # one that was about to be resumed does not keep its key
            return
        row.fence += 1
        row.parked = parked
        row.parked_since = None if parked is None else self.wall()
        self._own(row, NO_OWNER)

    def end_unowned(self, row: RunRow, events: Sequence[Event]) -> None:
        """Record the end of a run for another one's sake; its owner can no longer write to it."""
        row.fence += 1
        self._own(row, NO_OWNER)
        self.append(row, NO_OWNER, events)

    # ── Requests to cancel ───────────────────────────────────────────────────────────────────

    def ask_to_cancel(self, run_id: str, reason: str, *, compensate: bool) -> None:
        """Keep a request until the run has ended.

        Raises:
            RunNotFound: When there is no such run.
        """
        row = self.row(run_id)
        if row.ended:
            return
        self.ask(row, reason, compensate=compensate)

    def ask(self, row: RunRow, reason: str, *, compensate: bool) -> None:
        """Keep a request to cancel a run in progress, and signal it to its owner."""
        row.asked, row.sleep = Cancellation(reason, compensate), None
        self.asked.append((self._now(), row.run_id))
        self.signal(row.owner)

    def asked_of(self, owner: str) -> Mapping[str, Cancellation]:
        """Return the requests to cancel runs of an owner, by run id."""
        return {
            row.run_id: row.asked
            for row in self.rows.values()
            if row.owner == owner and row.asked is not None and not row.ended
        }

    # ── Reading ──────────────────────────────────────────────────────────────────────────────

    def row(self, run_id: str) -> RunRow:
        """Return a run.

        Raises:
            RunNotFound: When there is none.
        """
        try:
            return self.rows[run_id]
        except KeyError:
            raise RunNotFound(run_id) from None

    def fences(self, run_ids: Collection[str]) -> Mapping[str, int]:
        """Return the fencing tokens of runs."""
        return {run_id: self.rows[run_id].fence for run_id in run_ids}

    def list(self, **asked: Unpack[RunListing]) -> RunPage:
        """Return runs, the newest first."""
        query = RunQuery.of(asked)
        found = sorted(
            matching(query, list(self.rows.values())),
            key=lambda row: (-row.record.created_at, row.run_id),
        )
        page = found[query.offset : query.offset + query.limit]
        return RunPage(runs=tuple(row.summary() for row in page), total=len(found))

    def snapshot(self, run_id: str) -> RunSnapshot:
        """Return a run as it stands."""
        return self.row(run_id).snapshot()


def _nobody(_about: str) -> None:
    """Tell nobody."""
