"""Keys and times in a simulated store: what `actorflow.state.sql.writing.turns` does in a database.

`actorflow.state.keys.decide` says what a start with a key does to the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import attrs

from actorflow.errors.storage import AlreadyStarted, KeyInUse, NotRescheduled
from actorflow.model.cancelling import cancelled
from actorflow.model.lifecycle import RunStatus
from actorflow.model.powers import Due
from actorflow.state.keys import REPLACED, YIELDED, Rival, decide
from actorflow.testing.cluster.rows import NO_OWNER

if TYPE_CHECKING:
    from collections.abc import Collection

    from actorflow.model.records import RunRecord
    from actorflow.state.keys import Verdict
    from actorflow.testing.cluster.rows import RunRow
    from actorflow.testing.cluster.store import SharedStore

__all__ = ["Turns"]

_MOST: Final = 1000


class Turns:
    """The deferred runs of a store, and the holders of keys.

    Args:
        store: The store.
    """

    def __init__(self, store: SharedStore) -> None:
        self._store = store

    def due_at(self, record: RunRecord) -> float | None:
        """Return when a run may start, by the store's clock."""
        if record.start_at is None:
            return None
        # A run that may start at once is due whatever the clocks of the two machines say.
        return record.start_at if record.start_at > record.created_at else self._store.wall()

    # ── Starts ───────────────────────────────────────────────────────────────────────────────

    def admit(self, record: RunRecord, *, owned: bool) -> Literal["running", "queued"]:
        """Decide on a run with a key; return where it stands. `end_leases` comes first.

        Raises:
            KeyInUse: When a live run keeps it out.
            AlreadyStarted: When a live run is returned, or takes the inputs, in its place.
        """
        key = str(record.key)
        holders = self._holders(record.workflow_id, key)
        running, queued = holders.get("running"), holders.get("queued")
        verdict = decide(
            record,
            None if running is None else running.run_id,
            None if queued is None else self._rival(queued, record),
            owned=owned,
        )
        if verdict.refused is not None:
            raise KeyInUse(record.workflow_id, key, *verdict.refused)
        if verdict.merged is not None:
            self._merge(verdict.merged, record)
        earlier = verdict.earlier or verdict.merged
        if earlier is not None:
            raise AlreadyStarted(earlier)
        self._clear(record, verdict)
        if verdict.cancelled is not None and running is not None and self._yields(running, record):
            return decide(record, None, None, owned=owned).slot
        return verdict.slot

    def _rival(self, row: RunRow, record: RunRecord) -> Rival:
        same = row.record.workflow_version == record.workflow_version
        return Rival(row.run_id, self._is_due(row), row.debounced and same)

    def _clear(self, record: RunRecord, verdict: Verdict) -> None:
        rows = self._store.rows
        if verdict.promoted is not None:
            rows[verdict.promoted].slot = "running"
        if verdict.replaced is not None:
            self._cancel(rows[verdict.replaced], record.created_at, REPLACED.format(record.run_id))

    def _yields(self, running: RunRow, record: RunRecord) -> bool:
        """Have the running run cancelled; return whether it has ended by this."""
        reason = YIELDED.format(record.run_id)
        free = self._store.is_unowned(running)
        if free and running.status is not RunStatus.COMPENSATING:
            self._cancel_family(running, record.created_at, reason)
            return True
        if not running.ended:
            self._store.ask(running, reason, compensate=False)
        return False

    def _cancel_family(self, row: RunRow, wall: float, reason: str) -> None:
        """End a run that is not in progress, and the children that end with it."""
        why = f"its parent, run {row.run_id!r}, has been cancelled"
        for child in list(self._store.rows.values()):
            if not _ends_with(child, row.run_id):
                continue
            if self._store.is_unowned(child):
                self._cancel_family(child, wall, why)
            else:
                self._store.ask(child, why, compensate=False)
        self._cancel(row, wall, reason)

    def _cancel(self, row: RunRow, wall: float, reason: str) -> None:
        events = cancelled(row.snapshot(), len(row.events), wall, reason)
        self._store.end_unowned(row, events)

    def _merge(self, run_id: str, record: RunRecord) -> None:
        row = self._store.rows[run_id]
        earlier = row.record
        merged = attrs.evolve(record, run_id=run_id, created_at=earlier.created_at)
        row.record = attrs.evolve(merged, parent=earlier.parent)
        row.due_at, row.debounced = record.start_at, record.terms.debounce is not None
        self._store.note_merged(run_id, record)

    def _holders(self, workflow_id: str, key: str) -> dict[str, RunRow]:
        """Return the runs that hold a key, by slot."""
        holders = {}
        for row in self._store.rows.values():
            record = row.record
            if row.slot is None or record.workflow_id != workflow_id or record.key != key:
                continue
            if row.ended and self._store.is_unowned(row):
                row.slot = None  # it was about to be resumed, and its process is gone
            else:
                holders[row.slot] = row
        return holders

    # ── Those that may go ────────────────────────────────────────────────────────────────────

    def _is_due(self, row: RunRow) -> bool:
        return row.due_at is None or row.due_at <= self._store.wall() or not row.untouched

    def _has_turn(self, row: RunRow) -> bool:
        if row.slot is None or row.slot == "running":
            return True
        return "running" not in self._holders(row.record.workflow_id, str(row.record.key))

    def is_ripe(self, row: RunRow) -> bool:
        """Return whether the time and the turn of a run have come."""
        return self._is_due(row) and self._has_turn(row)

    def promote(self, row: RunRow) -> bool:
        """Give a run the turn of its key, if it has one; return whether it may go."""
        if row.slot == "queued":
            if not self._has_turn(row):
                return False
            row.slot = "running"
        return True

    def due(self, owner: str) -> Due:
        """Give the turn to deferred runs of an owner, and return them. `end_leases` comes first."""
        mine = [
            row
            for row in self._store.rows.values()
            if row.owner == owner and row.untouched and row.due_at is not None
        ]
        ripe = [row for row in mine if self.is_ripe(row)]
        ripe.sort(key=lambda row: (-row.record.priority, row.due_at, row.run_id))
        found = [row.run_id for row in ripe[:_MOST] if self.promote(row)]
        yielding = {
            run_id: asked.reason
            for run_id, asked in self._store.asked_of(owner).items()
            if not asked.compensate
        }
        return Due(found, self._next_in(mine), yielding)

    def next_due(self, known: Collection[tuple[str, str]]) -> float | None:
        """Return the seconds until the next unowned run is due among those that are known."""
        return self._next_in(
            [
                row
                for row in self._store.rows.values()
                if row.untouched and row.kind in known and self._store.is_unowned(row)
            ]
        )

    def _next_in(self, rows: Collection[RunRow]) -> float | None:
        wall = self._store.wall()
        later = [row.due_at for row in rows if row.due_at is not None and row.due_at > wall]
        return min(later) - wall if later else None

    def occupy(self, run_id: str) -> None:
        """Give a claimed run the turn of its key, if it has one. `end_leases` comes first.

        Raises:
            RunNotFound: When there is no such run.
            KeyInUse: When another live run has it.
        """
        row = self._store.row(run_id)
        record = row.record
        if record.key is None:
            return
        running = self._holders(record.workflow_id, record.key).get("running")
        if running is not None and running is not row:
            raise KeyInUse(record.workflow_id, record.key, running.run_id)
        row.slot = "running"

    def reschedule(self, run_id: str, start_at: float) -> None:
        """Move the start of a run that waits, whoever owns it. `end_leases` comes first.

        Raises:
            RunNotFound: When there is no such run.
            NotRescheduled: When it does not wait.
        """
        row = self._store.row(run_id)
        waits = row.untouched and row.slot != "running"
        free = row.owner == NO_OWNER or self._store.is_unowned(row)
        if not (waits and (not self._is_due(row) or free or row.slot == "queued")):
            raise NotRescheduled(run_id, row.status.value)
        row.due_at = start_at
        row.record = attrs.evolve(row.record, start_at=start_at)


def _ends_with(child: RunRow, parent_id: str) -> bool:
    """Return whether a run is a child in progress that ends when its parent is cancelled."""
    parent = child.record.parent
    if parent is None or parent.run_id != parent_id:
        return False
    ends = parent.on_end == "cancel" and not parent.compensates
    return ends and not (child.ended or child.status is RunStatus.COMPENSATING)
