"""The statements that decide which deferred runs may go: see `actorflow.state.keys`.

A run holds its key while its column `key_slot` is set: to `running` once it is its turn, before
that to `queued`. The end of the run clears it. A unique index admits one run for each slot.

On PostgreSQL, a start holds the advisory lock of its key while it decides, and the rows of the two
runs that hold the key. Others that hold such a row only try to get the lock, and leave the run for
the next time if they cannot, so that none of them waits in a circle. SQLite has one writer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import sqlalchemy as sa

from actorflow.errors.storage import AlreadyStarted, KeyInUse, NotRescheduled, RunNotFound
from actorflow.model.cancelling import cancelled
from actorflow.model.lifecycle import RunStatus
from actorflow.model.powers import Due
from actorflow.state.keys import REPLACED, YIELDED, Rival, decide
from actorflow.state.sql.attributes import attribute_rows
from actorflow.state.sql.channels import ask
from actorflow.state.sql.leases import database_time, request_cancel, unowned
from actorflow.state.sql.schema.tables import AWAKE, NOT_PURGED, Moment, attributes, runs, unindexed
from actorflow.state.sql.writing.open_runs import Change, OpenRun, apply_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from actorflow.errors.storage import StoreError
    from actorflow.model.records import RunRecord
    from actorflow.state.keys import Verdict
    from actorflow.state.sql.writing.open_runs import Batch
    from actorflow.state.sql.writing.queue import Create

__all__ = ["Turns", "has_turn", "is_due"]

_MOST: Final = 1000
"""How many runs one search releases."""
_PENDING: Final = (
    unindexed(runs.c.status) == RunStatus.PENDING.value,
    runs.c.last_event == 0,
    AWAKE,
    NOT_PURGED,
)
_MERGED: Final = ("priority", "timeout", "trace_id", "correlation_id", "business_id")
_NO_OWNER: Final = ""
_json: Final = msgspec.json.Encoder().encode


def is_due(dialect: str) -> sa.ColumnElement[bool]:
    """Return the condition that a run is not for later.

    A run that has begun is not, even if the clock of the database has been set back since.
    """
    begun = runs.c.last_event > 0
    return sa.or_(runs.c.start_at.is_(None), runs.c.start_at <= database_time(dialect), begun)


def has_turn(dialect: str) -> sa.ColumnElement[bool]:
    """Return the condition that no other run has the turn of a run's key.

    As for `unowned`, leases that are over must have been ended in the same transaction.
    """
    rival = runs.alias("rival")
    # One that has ended has the turn only while it is about to be resumed.
    return _has_turn(rival, sa.or_(rival.c.finished_at.is_(None), ~unowned(dialect, rival)))


def _may_have_turn() -> sa.ColumnElement[bool]:
    """Return a condition that is true whenever `has_turn` is, and asks for no leases."""
    rival = runs.alias("rival")
    return _has_turn(rival, rival.c.finished_at.is_(None))


def _has_turn(rival: Any, keeps: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    taken = sa.exists().where(
        rival.c.workflow_id == runs.c.workflow_id,
        rival.c.run_key == runs.c.run_key,
        rival.c.key_slot == "running",
        keeps,
    )
    return sa.or_(runs.c.key_slot.is_(None), runs.c.key_slot == "running", ~taken)


class Turns:
    """Statements about deferred runs, issued on behalf of one owner.

    Args:
        dialect: The name of the database's dialect.
        owner: The owner's id.
        serializer: The name of its serializer.
        write: Writes a batch.
        load: Returns the states of runs.
        end_leases: Ends the leases of owners that are gone; see `unowned`.
    """

    def __init__(
        self,
        dialect: str,
        owner: str,
        serializer: str,
        write: Callable[[sa.Connection, Batch], bool],
        load: Callable[[sa.Connection, Sequence[str]], Mapping[str, OpenRun]],
        *,
        end_leases: Callable[[sa.Connection], None],
    ) -> None:
        self._end_leases = end_leases
        self._serializer = serializer
        self._write = write
        self._load = load
        self._locks = dialect == "postgresql"
        self._dialect = dialect
        self._now = sa.type_coerce(database_time(dialect), Moment)
        self._is_due = is_due(dialect)
        self._unowned = unowned(dialect)
        self._has_turn = has_turn(dialect)
        self._mine = (*_PENDING, runs.c.owner == owner, runs.c.start_at.is_not(None))
        self._asked = sa.select(runs.c.run_id, runs.c.cancel_asked).where(
            runs.c.owner == owner, runs.c.cancel_asked.is_not(None), runs.c.finished_at.is_(None)
        )

    # ── Starts ───────────────────────────────────────────────────────────────────────────────

    def admit(self, connection: sa.Connection, change: Change, entry: Create) -> StoreError | None:
        """Decide on a run with a key; return why it is not accepted.

        If it is, `change` says where it stands, and `place` records that once it is inserted.
        """
        record = entry.record
        key = str(record.key)
        self._end_leases(connection)
        self._lock(connection, record.workflow_id, key)
        holders = self._holders(connection, record.workflow_id, key)
        running, queued = holders.get("running"), holders.get("queued")
        verdict = decide(
            record,
            None if running is None else running.run_id,
            None if queued is None else self._rival(queued, record),
            owned=entry.owned,
        )
        if verdict.refused is not None:
            return KeyInUse(record.workflow_id, key, *verdict.refused)
        if verdict.merged is not None:
            self._merge(connection, verdict.merged, entry)
        if (earlier := verdict.earlier or verdict.merged) is not None:
            return AlreadyStarted(earlier)
        change.slot = verdict.slot
        self._clear(connection, record, verdict)
        if verdict.cancelled is not None and self._yield(connection, running, record):
            change.slot = decide(record, None, None, owned=entry.owned).slot
        return None

    def _rival(self, row: Any, record: RunRecord) -> Rival:
        same = row.workflow_version == record.workflow_version
        mergeable = row.debounce is not None and same and row.serializer == self._serializer
        return Rival(row.run_id, bool(row.due), mergeable)

    def _clear(self, connection: sa.Connection, record: RunRecord, verdict: Verdict) -> None:
        """Clear the slot that the new run takes."""
        if verdict.promoted is not None:
            self._set_slot(connection, verdict.promoted, "running")
        if verdict.replaced is not None:
            reason = REPLACED.format(record.run_id)
            self._cancel(connection, verdict.replaced, record.created_at, reason)

    def _yield(self, connection: sa.Connection, running: Any, record: RunRecord) -> bool:
        """Have the running run cancelled; return whether it has ended by this."""
        reason = YIELDED.format(record.run_id)
        if running.free and running.status != RunStatus.COMPENSATING.value:
            self._cancel_family(connection, running.run_id, record.created_at, reason)
            return True
        ask(request_cancel(running.run_id, reason, compensate=False), connection)
        return False

    def place(self, connection: sa.Connection, batch: Batch) -> None:
        """Record when the new runs of a batch may start, and where they stand."""
        for run_id, change in batch.items():
            if change.created is None or change.created.record.start_at is None:
                continue
            record = change.created.record
            # A run that may start at once is due whatever the clocks of the two machines say.
            delayed = record.start_at > record.created_at  # type: ignore[operator] # checked above
            values = {
                "start_at": record.start_at if delayed else self._now,
                "run_key": record.key,
                "key_slot": change.slot,
                "debounce": record.terms.debounce,
            }
            connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(values))

    def _lock(self, connection: sa.Connection, workflow_id: str, key: str) -> None:
        if self._locks:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(*_hashed(workflow_id, key))))

    def _holders(self, connection: sa.Connection, workflow_id: str, key: str) -> dict[str, Any]:
        """Return the runs that hold a key, by slot."""
        columns = (
            runs.c.run_id,
            runs.c.workflow_version,
            runs.c.serializer,
            runs.c.status,
            runs.c.key_slot,
            runs.c.debounce,
            self._is_due.label("due"),
            sa.or_(runs.c.purged_at.is_not(None), self._unowned).label("free"),
            runs.c.finished_at.is_not(None).label("ended"),
        )
        query = sa.select(*columns).where(
            runs.c.workflow_id == workflow_id,
            runs.c.run_key == key,
            runs.c.key_slot.is_not(None),
        )
        holders = {}
        for row in connection.execute(query.with_for_update(of=runs)):
            if row.ended and row.free:  # it was about to be resumed, and its process is gone
                self._set_slot(connection, row.run_id, None)
            else:
                holders[row.key_slot] = row
        return holders

    def _set_slot(self, connection: sa.Connection, run_id: str, slot: str | None) -> None:
        this = sa.update(runs).where(runs.c.run_id == run_id)
        connection.execute(this.values(key_slot=slot))

    def _merge(self, connection: sa.Connection, run_id: str, entry: Create) -> None:
        """Give the inputs of a request to the run that waits."""
        record = entry.record
        values = {
            **{name: getattr(record, name) for name in _MERGED},
            **entry.strings,
            "start_at": record.start_at,
            "debounce": record.terms.debounce,
        }
        this = sa.update(runs).where(runs.c.run_id == run_id).values(values)
        created_at = connection.execute(this.returning(runs.c.created_at)).scalar_one()
        connection.execute(sa.delete(attributes).where(attributes.c.run_id == run_id))
        rows = list(attribute_rows(run_id, created_at, record.attributes))
        if rows:
            connection.execute(sa.insert(attributes), rows)

    def _cancel_family(
        self, connection: sa.Connection, run_id: str, wall: float, reason: str
    ) -> None:
        """End a run that is not in progress, and the children that end with it."""
        children = sa.select(runs.c.run_id, self._unowned.label("free")).where(
            runs.c.parent_run_id == run_id,
            runs.c.on_parent_end == "cancel",
            sa.func.coalesce(runs.c.parent_compensates, sa.false()).is_(sa.false()),
            runs.c.finished_at.is_(None),
            runs.c.status != RunStatus.COMPENSATING.value,
            NOT_PURGED,
        )
        why = f"its parent, run {run_id!r}, has been cancelled"
        for child in connection.execute(children.with_for_update(of=runs)).all():
            if child.free:
                self._cancel_family(connection, child.run_id, wall, why)
            else:
                ask(request_cancel(child.run_id, why, compensate=False), connection)
        self._cancel(connection, run_id, wall, reason)

    def _cancel(self, connection: sa.Connection, run_id: str, wall: float, reason: str) -> None:
        """End a run that is not in progress; its owner can no longer write to it.

        It has no owner from now on, so that its former one starts no child of it either.
        """
        this = sa.update(runs).where(runs.c.run_id == run_id)
        connection.execute(this.values(fence=runs.c.fence + 1, owner=_NO_OWNER))
        run = self._load(connection, [run_id])[run_id]
        change = Change(run, run.last_event)
        for event in cancelled(run.fold.snapshot(), run.last_event, wall, reason):
            apply_event(change, (event, _json(dict(event.data))))
        self._write(connection, {run_id: change})

    # ── Those that may go ────────────────────────────────────────────────────────────────────

    def search(self, connection: sa.Connection) -> tuple[Due, list[str]]:
        """Return what is due of this owner, and the runs among it that must be given their turn.

        It only reads, so that it keeps no writer waiting however often it is asked.
        """
        query = (
            sa.select(runs.c.run_id, runs.c.key_slot)
            .where(*self._mine, self._is_due, _may_have_turn())
            .order_by(runs.c.priority.desc(), runs.c.start_at, runs.c.run_id)
            .limit(_MOST)
        )
        found = connection.execute(query).all()
        asked = connection.execute(self._asked).all()
        next_in = self._next_in(connection, *self._mine)
        due = Due([row.run_id for row in found], next_in, dict(_reasons(asked)))
        return due, [row.run_id for row in found if row.key_slot == "queued"]

    def grant(self, connection: sa.Connection, run_ids: Sequence[str]) -> set[str]:
        """Give runs the turn of their keys; return those that do not get it."""
        self._end_leases(connection)
        still = (runs.c.run_id.in_(run_ids), *self._mine, self._is_due, self._has_turn)
        query = sa.select(runs.c.run_id).where(*still).with_for_update(skip_locked=True)
        return {*run_ids} - {*self.promote(connection, list(connection.scalars(query)))}

    def next_in(self, connection: sa.Connection, known: sa.ColumnElement[bool]) -> float | None:
        """Return the seconds until the next unowned run is due among those that are known."""
        return self._next_in(connection, *_PENDING, known, self._unowned)

    def _next_in(self, connection: sa.Connection, *which: Any) -> float | None:
        later = runs.c.start_at > database_time(self._dialect)
        query = sa.select(runs.c.start_at, self._now.label("now")).where(*which, later)
        first = connection.execute(query.order_by(runs.c.start_at).limit(1)).one_or_none()
        return None if first is None else max(0.0, first.start_at - first.now)

    def promote(self, connection: sa.Connection, run_ids: Sequence[str]) -> list[str]:
        """Give the turn of their keys to runs whose rows are locked; return those that have it."""
        columns = (runs.c.run_id, runs.c.workflow_id, runs.c.run_key)
        waits = sa.select(*columns).where(runs.c.run_id.in_(run_ids), runs.c.key_slot == "queued")
        kept = [
            row.run_id for row in connection.execute(waits).all() if not self._turn(connection, row)
        ]
        return [run_id for run_id in run_ids if run_id not in kept]

    def _turn(self, connection: sa.Connection, row: Any) -> bool:
        key = row.workflow_id, row.run_key
        if self._locks:
            tried = sa.select(sa.func.pg_try_advisory_xact_lock(*_hashed(*key)))
            if not connection.execute(tried).scalar_one():
                return False
        if "running" in self._holders(connection, *key):
            return False
        self._set_slot(connection, row.run_id, "running")
        return True

    def occupy(self, connection: sa.Connection, run_id: str) -> None:
        """Give a claimed run the turn of its key, if it has one.

        Raises:
            RunNotFound: When there is no such run.
            KeyInUse: When another live run has it.
        """
        self._end_leases(connection)
        query = sa.select(runs.c.workflow_id, runs.c.run_key)
        row = connection.execute(query.where(runs.c.run_id == run_id, NOT_PURGED)).one_or_none()
        if row is None:
            raise RunNotFound(run_id)
        if row.run_key is None:
            return
        self._lock(connection, *row)
        running = self._holders(connection, *row).get("running")
        if running is not None and running.run_id != run_id:
            raise KeyInUse(*row, running.run_id)
        self._set_slot(connection, run_id, "running")

    def reschedule(self, connection: sa.Connection, run_id: str, start_at: float) -> None:
        """Move the start of a run that waits, whoever owns it.

        Raises:
            RunNotFound: When there is no such run.
            NotRescheduled: When it does not wait.
        """
        self._end_leases(connection)
        waits = sa.or_(runs.c.key_slot == "queued", runs.c.key_slot.is_(None))
        # A run that is due belongs to an orchestrator that starts it at this moment.
        still = sa.or_(~self._is_due, self._unowned, runs.c.key_slot == "queued")
        this = sa.update(runs).where(runs.c.run_id == run_id, *_PENDING, waits, still)
        if connection.execute(this.values(start_at=start_at)).rowcount:
            return
        query = sa.select(runs.c.status).where(runs.c.run_id == run_id, NOT_PURGED)
        status = connection.execute(query).scalar_one_or_none()
        if status is None:
            raise RunNotFound(run_id)
        raise NotRescheduled(run_id, status)


def _reasons(asked: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Yield the runs to cancel, and why; those to undo as well hear of it with the lease."""
    for run_id, encoded in asked:
        request = msgspec.json.decode(encoded)
        if not request["compensate"]:
            yield run_id, request["reason"]


def _hashed(workflow_id: str, key: str) -> tuple[Any, Any]:
    return sa.func.hashtext(workflow_id), sa.func.hashtext(key)
