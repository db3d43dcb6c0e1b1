"""One orchestrator's state manager on a simulated store: an owner with a lease.

It does what `SQLStateManager` and its writer do, without a thread: each call is a transaction at
once. It renews its lease within transactions when that is due, and at `heartbeat`.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from actorflow.errors.storage import LeaseLost, NotRecorded, StoreUnavailable
from actorflow.state.leases import LeaseWatch, renewal_interval
from actorflow.testing.cluster.rows import NO_OWNER
from actorflow.testing.cluster.steered import SteersRuns

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from typing import Unpack

    from actorflow.errors.storage import StoreError
    from actorflow.model.events import Event
    from actorflow.model.filters import RunListing
    from actorflow.model.lifecycle import RunStatus
    from actorflow.model.powers import Cancel, Due, Taken
    from actorflow.model.protocols import Commit
    from actorflow.model.records import RunPage, RunRecord, RunSnapshot
    from actorflow.model.schedules import RecordedSchedule, ScheduleDefinition, ScheduleState
    from actorflow.testing.cluster.store import SharedStore

__all__ = ["SharedStateManager"]

_TAKEN_OVER: Final = "it was taken over by another orchestrator"


class SharedStateManager(SteersRuns):
    """A state manager of one owner, on a store that it shares with others.

    Args:
        store: The store.
        owner: The id of the owner.
        host: The machine that its process runs on.
        lease: Seconds without a renewal after which others may take its runs over.
        now: Returns the monotonic time.
        has_ended: Returns whether the process of another owner has ended, which only a process of
            the same machine can tell.
        reach: Called before each transaction; raises when the store cannot be reached.
    """

    def __init__(
        self,
        store: SharedStore,
        owner: str,
        *,
        host: str,
        lease: float,
        now: Callable[[], float],
        by_clock: bool,
        has_ended: Callable[[str], bool],
        reach: Callable[[], None],
    ) -> None:
        super().__init__()
        self.store = store
        self.owner = owner
        self._host = host
        self._lease = lease
        self._now = now
        self._reach = reach
        self._watch = LeaseWatch(
            lambda row: row.host == host and has_ended(row.owner), by_clock=by_clock
        )
        self._beats = itertools.count(1)
        self._renewed_at: float | None = None
        self.open: dict[str, int] = {}
        """The fencing tokens of the runs that belong to this owner."""
        self._broken: dict[str, StoreError] = {}
        """The runs whose record ended early here, and why: a record must not have gaps."""
        self._cancel: Cancel | None = None
        self.lost: list[tuple[float, str]] = []
        """When it gave up which run: it was taken over, or its record ended early."""

    # ── Transactions ─────────────────────────────────────────────────────────────────────────

    @property
    def until_renewal(self) -> float:
        """Seconds until the lease is due for renewal."""
        if self._renewed_at is None:
            return 0.0
        return max(0.0, self._renewed_at + renewal_interval(self._lease) - self._now())

    def _begin(self) -> None:
        """Begin a transaction: renew the lease if that is due."""
        self._reach()
        if not self.until_renewal:
            self._renewed_at = self._now()
            self.store.renew(self.owner, self._host, self._lease, next(self._beats))
            self.hear_requests()

    def _begin_to_take(self) -> None:
        self._begin()
        self.store.end_leases(self.owner, self._watch, self._now())

    def heartbeat(self) -> None:
        """Renew the lease if that is due, and drop the runs that another owner has taken over."""
        self._begin()
        fences = self.store.fences(self.open)
        for run_id in [run_id for run_id, fence in self.open.items() if fences[run_id] != fence]:
            self._lose(run_id, LeaseLost(run_id))
            self._tell(run_id, _TAKEN_OVER, compensate=False)

    def _lose(self, run_id: str, why: StoreError) -> None:
        if self.open.pop(run_id, None) is not None:
            self.lost.append((self._now(), run_id))
        self._broken.setdefault(run_id, why)

    def _reopen(self, run_id: str) -> None:
        self._broken.pop(run_id, None)
        self.open[run_id] = self.store.rows[run_id].fence

    # ── Writing ──────────────────────────────────────────────────────────────────────────────

    def create(self, record: RunRecord, _done: Commit) -> bool:
        """Record an accepted run of this owner."""
        self._begin_to_take()
        self.store.accept(record, self.owner)
        self._reopen(record.run_id)
        return True

    def enqueue(self, record: RunRecord, _done: Commit) -> bool:
        """Record an accepted run without an owner."""
        self._begin_to_take()
        self.store.accept(record, NO_OWNER)
        return True

    def record(self, events: Sequence[Event], done: Commit) -> bool:
        """Record events, and call `done` at once."""
        by_run: dict[str, list[Event]] = {}
        for event in events:
            by_run.setdefault(event.run_id, []).append(event)
        try:
            self._begin()
        except StoreUnavailable as error:
            lost: dict[str, StoreError] = dict.fromkeys(by_run, error)
        else:
            lost = {}
            for run_id, some in by_run.items():
                if (refused := self._write(run_id, some)) is not None:
                    lost[run_id] = refused
        for run_id, refused in lost.items():
            self._lose(run_id, refused)
        done(NotRecorded(lost) if lost else None)
        return False

    def _write(self, run_id: str, events: Sequence[Event]) -> StoreError | None:
        fence = self.open.get(run_id)
        if fence is None:
            return self._broken.get(run_id) or LeaseLost(run_id)
        refused = self.store.write(self.owner, fence, events)
        if refused is None and self.store.rows[run_id].ended:
            del self.open[run_id]
        return refused

    def claim(self, run_id: str) -> RunSnapshot:
        """Take ownership of a run to resume it."""
        self._begin_to_take()
        self.store.claim(self.owner, run_id, self._watch)
        self._reopen(run_id)
        return self.store.snapshot(run_id)

    def take(
        self, known: Collection[tuple[str, str]], besides: Collection[str], limit: int
    ) -> Taken:
        """Claim unowned runs in progress."""
        self._begin_to_take()
        taken = self.store.take(self.owner, known, besides, limit)
        for run_id in taken.taken:
            self._reopen(run_id)
        return taken

    def hand_back(self, run_id: str, parked: str | None = None) -> None:
        """Give up a claimed run so that others can take it."""
        self.open.pop(run_id, None)
        self._begin()
        self.store.hand_back(self.owner, run_id, parked)

    # ── Keys and times ───────────────────────────────────────────────────────────────────────

    def due(self, _now: float) -> Due:
        """Give the turn to deferred runs of this owner, and return them."""
        self._begin_to_take()
        return self.store.turns.due(self.owner)

    def reschedule(self, run_id: str, start_at: float, _now: float) -> None:
        """Move the start of a run that waits."""
        self._begin_to_take()
        self.store.turns.reschedule(run_id, start_at)

    def occupy(self, run_id: str) -> None:
        """Give a claimed run the turn of its key."""
        self._begin_to_take()
        self.store.turns.occupy(run_id)

    # ── Requests to cancel ───────────────────────────────────────────────────────────────────

    def listen(self, cancel: Cancel) -> Callable[[], None]:
        """Call `cancel` for each request from now on; return what ends that."""
        self._cancel = cancel

        def end() -> None:
            self._cancel = None

        return end

    def ask_to_cancel(self, run_id: str, reason: str, *, compensate: bool) -> None:
        """Ask the owner of a run, current or future, to cancel it."""
        self._begin()
        self.store.ask_to_cancel(run_id, reason, compensate=compensate)

    def hear_requests(self) -> None:
        """Deliver the requests to cancel runs of this owner, their messages and their pauses."""
        for run_id, asked in self.store.asked_of(self.owner).items():
            self._tell(run_id, asked.reason, compensate=asked.compensate)
        self.hear_news()

    def _tell(self, run_id: str, reason: str, *, compensate: bool) -> None:
        if self._cancel is not None:
            self._cancel(run_id, reason, compensate)

    # ── Schedules ────────────────────────────────────────────────────────────────────────────

    def put_schedule(self, definition: ScheduleDefinition, now: float) -> RecordedSchedule:
        """Keep a schedule."""
        self._reach()
        return self.store.schedules.put_schedule(definition, now)

    def get_schedule(self, name: str) -> RecordedSchedule:
        """Return a schedule."""
        self._reach()
        return self.store.schedules.get_schedule(name)

    def list_schedules(self) -> Sequence[RecordedSchedule]:
        """Return all schedules."""
        self._reach()
        return self.store.schedules.list_schedules()

    def advance_schedule(self, name: str, revision: int, state: ScheduleState) -> bool:
        """Write a new state, if the schedule still has this revision."""
        self._reach()
        return self.store.schedules.advance_schedule(name, revision, state)

    def delete_schedule(self, name: str) -> None:
        """Delete a schedule."""
        self._reach()
        self.store.schedules.delete_schedule(name)

    # ── Reading ──────────────────────────────────────────────────────────────────────────────

    def snapshot(self, run_id: str) -> RunSnapshot:
        """Return a run as it stands."""
        self._reach()
        return self.store.snapshot(run_id)

    def status_of(self, run_id: str) -> RunStatus | None:
        """Return the status of a run; None if there is none."""
        self._reach()
        row = self.store.rows.get(run_id)
        return None if row is None else row.status

    def events(self, run_id: str, *, after: int = 0, limit: int | None = None) -> Sequence[Event]:
        """Return recorded events of a run."""
        self._reach()
        until = None if limit is None else after + limit
        return self.store.row(run_id).events[after:until]

    def list(self, **asked: Unpack[RunListing]) -> RunPage:
        """Return runs, the newest first."""
        self._reach()
        return self.store.list(**asked)

    def close(self) -> None:
        """Release the lease, and hand all runs back."""
        self._reach()
        self.store.release(self.owner)
        self.open.clear()
        self._renewed_at = None
