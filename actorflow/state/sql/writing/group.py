"""The statements that write a group of changes, and those that claim runs."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

import msgspec
import sqlalchemy as sa

from actorflow.errors.storage import AlreadyStarted, LeaseLost
from actorflow.model.lifecycle import RunStatus, StepStatus
from actorflow.model.records import RunRecord
from actorflow.state.folding import RunFold
from actorflow.state.sql.attributes import attribute_rows
from actorflow.state.sql.channels import notification, payload
from actorflow.state.sql.leases import WOKEN, database_time, unowned
from actorflow.state.sql.pausing import may_be_taken, note_pauses, pause_kept
from actorflow.state.sql.records import among
from actorflow.state.sql.schema.tables import (
    AWAKE,
    NOT_PURGED,
    attributes,
    batches,
    runs,
    steps,
    unindexed,
)
from actorflow.state.sql.values.parents import parent_columns, parent_of
from actorflow.state.sql.writing.bulk import Grammar, Part, bulk, insert_into, moment
from actorflow.state.sql.writing.handing_back import HandBacks
from actorflow.state.sql.writing.open_runs import OpenRun
from actorflow.state.sql.writing.reservations import Reservations, lost_parents
from actorflow.state.sql.writing.turns import Turns, has_turn, is_due

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sqlalchemy.engine import Connection, Dialect

    from actorflow.errors.storage import StoreError
    from actorflow.model.events import Event
    from actorflow.state.folding import StepFold
    from actorflow.state.sql.writing.bulk import Bulk
    from actorflow.state.sql.writing.open_runs import Batch, Change
    from actorflow.state.sql.writing.queue import Create, EncodedEvent, Take

__all__ = ["Statements"]

_WORKFLOW: Final = sa.tuple_(unindexed(runs.c.workflow_id), unindexed(runs.c.workflow_version))
_NO_OWNER: Final = ""
"""The owner of a run that waits for an owner."""
_PARKED: Final = "it waits for an orchestrator that knows its workflow in this version"
_FULL_SEARCHES: Final = 20
"""Of so many such searches in a row, one parks runs."""
_MAX_EVENTS: Final = 250
"""How many events one row holds, so that reading a few of them does not decode very many."""
_MAX_SIZE: Final = 1_000_000
"""The maximum size in bytes of a row's events, unless a single event is larger."""
_json: Final = msgspec.json.Encoder().encode

_ACCEPTED: Final = (
    "run_id",
    "workflow_id",
    "workflow_version",
    "priority",
    "timeout",
    "trace_id",
    "correlation_id",
    "business_id",
    "created_at",
)
_KEPT: Final = ("started_at", "finished_at", "error", "failed_step", "reason")
_FOLDED: Final = ("status", *_KEPT, "compensations")
_STEP: Final = ("status", "attempts", "output", "error", "started_at", "finished_at")


class Statements:
    """Statements issued on behalf of one owner.

    Args:
        dialect: The dialect of a database that has been connected to.
        owner: The owner's id.
        serializer: The name of the serializer that wrote the strings.
        end_leases: Ends the leases of owners that are gone, for decisions on keys.
    """

    def __init__(
        self,
        dialect: Dialect,
        owner: str,
        serializer: str,
        end_leases: Callable[[Connection], None] = lambda _: None,
    ) -> None:
        self._owner = owner
        self._serializer = serializer
        self._all = _writes(Grammar.of(dialect))
        self.reserve: Callable[[Connection, Batch], dict[str, str]] = Reservations(dialect).reserve
        self._unowned = unowned(dialect.name)
        self.hand_back: Callable[..., None] = HandBacks(dialect.name, owner).write
        self._full = 0
        """How many searches in a row have found as many runs as they could take."""
        self._now = database_time(dialect.name)
        due = runs.c.wake_at <= database_time(dialect.name)
        self._wake = sa.update(runs).where(runs.c.wake_at.is_not(None), due).values(WOKEN)
        self._ripe = (is_due(dialect.name), has_turn(dialect.name), may_be_taken(self._now))
        self.turns: Final = Turns(
            dialect.name, owner, serializer, self.write, self._load, end_leases=end_leases
        )
        self._claim_values = {
            "owner": owner,
            "fence": runs.c.fence + 1,
            "owned_since": self._now,
            "parked_since": None,
            "parked": None,
            **WOKEN,
            # Resuming an ended run drops the request that cancelled it.
            "cancel_asked": sa.case((runs.c.finished_at.is_(None), runs.c.cancel_asked)),
            **pause_kept(),
            "takeovers": runs.c.takeovers + sa.case((_died(owner), 1), else_=0),
            "claimed_event": runs.c.last_event,
        }

    def write(self, connection: sa.Connection, batch: Batch) -> bool:
        """Write a batch; return False when some of its runs no longer belong to this owner."""
        created = [self._created(it) for it in batch.values() if it.created is not None]
        rows = {
            "moved": [
                _update_row(run_id, it) for run_id, it in batch.items() if it.created is None
            ],
            "created": created,
            "attributes": list(_attributes(batch)) if created else (),
            "steps": list(_steps(batch)),
            "events": list(_events(batch)),
            "told": [{"told": payload(batch)}],
        }
        if not self._all.run(connection, rows):
            return False
        if rows["created"]:
            self.turns.place(connection, batch)
        note_pauses(connection, batch.values())
        return True

    def admit(self, connection: sa.Connection, batch: Batch) -> Mapping[str, StoreError]:
        """Decide on the keys of new runs; return why some of them are not accepted."""
        keyed = _keyed(batch)
        if keyed is None:
            return self._started(connection, batch)
        change, entry = keyed
        with connection.begin_nested() as reserved:
            refused = self._started(connection, batch)
            if not refused and (error := self.turns.admit(connection, change, entry)) is not None:
                refused = {entry.record.run_id: error}
                if entry.record.idempotency_key is not None:
                    reserved.rollback()
        return refused

    def _started(self, connection: sa.Connection, batch: Batch) -> dict[str, StoreError]:
        lost = lost_parents(connection, self._owner, batch)
        earlier = self.reserve(connection, {it: batch[it] for it in batch if it not in lost})
        return {
            **{run_id: LeaseLost(parent_id) for run_id, parent_id in lost.items()},
            **{run_id: AlreadyStarted(before) for run_id, before in earlier.items()},
        }

    def _created(self, change: Change) -> dict[str, Any]:
        entry, run = change.created, change.run
        record: RunRecord = run.fold.record
        owned = entry is None or entry.owned
        return {
            **{name: getattr(record, name) for name in _ACCEPTED},
            **(entry.strings if entry is not None else {}),
            **_fold_columns(run),
            "created_at": moment(record.created_at),
            "step_ids": _json(list(record.step_ids)).decode(),
            "last_steps": _json(list(record.last_steps)).decode(),
            "serializer": self._serializer,
            "last_event": run.last_event,
            "owner": self._owner if owned else _NO_OWNER,
            "owned_since": moment(record.created_at) if owned else None,
            **parent_columns(record.parent),
            "fence": run.fence,
            "parked": None,
        }

    def positions(
        self, connection: sa.Connection, run_ids: Iterable[str]
    ) -> dict[str, tuple[str, int, int]]:
        """Return the owner, the fencing token and the last event of the runs that exist."""
        columns = (runs.c.run_id, runs.c.owner, runs.c.fence, runs.c.last_event)
        query = sa.select(*columns).where(runs.c.run_id.in_(list(run_ids)), NOT_PURGED)
        return {
            run_id: (owner, fence, last) for run_id, owner, fence, last in connection.execute(query)
        }

    def is_written(self, connection: sa.Connection, batch: Batch) -> bool:
        """Return whether a batch was written, as after a commit whose answer was lost."""
        positions = self.positions(connection, batch)
        return all(
            run_id in positions
            if it.created is not None and not it.created.owned
            else positions.get(run_id) == (self._owner, it.run.fence, it.run.last_event)
            for run_id, it in batch.items()
        )

    def not_owned(self, connection: sa.Connection, batch: Batch) -> set[str]:
        """Return the runs of a batch that are not as this owner left them."""
        positions = self.positions(connection, batch)
        return {
            run_id
            for run_id, it in batch.items()
            if it.created is None
            and positions.get(run_id) != (self._owner, it.run.fence, it.before)
        }

    def owner_of(self, connection: sa.Connection, run_id: str) -> str | None:
        """Return the owner of a run; None when there is no such run."""
        return self.positions(connection, [run_id]).get(run_id, (None,))[0]

    def claim(self, connection: sa.Connection, run_id: str) -> OpenRun | None:
        """Take ownership of a run; return its state, or None when it cannot be claimed."""
        free = (runs.c.finished_at.is_not(None), runs.c.owner == self._owner, self._unowned)
        mine = sa.update(runs).where(runs.c.run_id == run_id, NOT_PURGED, sa.or_(*free))
        mine = mine.values(self._claim_values)
        if connection.execute(mine).rowcount != 1:
            return None
        return self._load(connection, [run_id])[run_id]

    def take(self, connection: sa.Connection, wanted: Take) -> dict[str, OpenRun]:
        """Take ownership of unowned runs, most urgent first; return their states."""
        connection.execute(self._wake)
        chosen = (
            sa.select(runs.c.run_id)
            .where(
                AWAKE,
                _WORKFLOW.in_(list(wanted.known)),
                runs.c.run_id.not_in(among(connection.dialect.name, wanted.besides)),
                sa.or_(runs.c.owner == self._owner, self._unowned),
                *self._ripe,
            )
            .order_by(runs.c.priority.desc(), runs.c.created_at, runs.c.run_id)
            .limit(wanted.limit)
            .with_for_update(skip_locked=True)
        )
        found = list(connection.execute(chosen).scalars()) if wanted.known else []
        if found:
            found = self.turns.promote(connection, found)
            mine = sa.update(runs).where(runs.c.run_id.in_(found))
            connection.execute(mine.values(self._claim_values))
        open_runs = self._load(connection, found)
        return {run_id: open_runs[run_id] for run_id in found}

    def park(self, connection: sa.Connection, wanted: Take, taken: int) -> list[str]:
        """Park unowned runs of unknown workflows; return the newly parked.

        This reads all waiting runs, so of searches that find as many runs as they can take, which
        follow each other quickly, only some do it.
        """
        self._full = self._full + 1 if taken == wanted.limit else 0
        if self._full > 1 and self._full % _FULL_SEARCHES:
            return []
        known = _WORKFLOW.in_(list(wanted.known))
        unknown = [~known] if wanted.known else []
        nobodys = (AWAKE, runs.c.parked.is_(None), self._unowned)
        query = sa.select(runs.c.run_id).where(*nobodys, *self._ripe, *unknown)
        found = list(connection.execute(query.with_for_update(skip_locked=True)).scalars())
        if found:
            values = {"parked": _PARKED, "parked_since": self._now}
            connection.execute(sa.update(runs).where(runs.c.run_id.in_(found)).values(values))
        return found

    def next_due(self, connection: sa.Connection, wanted: Take) -> float | None:
        """Return the seconds until the next run that can go on here is due."""
        if not wanted.known:
            return None
        known = _WORKFLOW.in_(list(wanted.known))
        return self.turns.next_in(connection, known)

    def _load(self, connection: sa.Connection, run_ids: Sequence[str]) -> dict[str, OpenRun]:
        if not run_ids:
            return {}
        known: dict[str, list[Any]] = {run_id: [] for run_id in run_ids}
        for step in connection.execute(sa.select(steps).where(steps.c.run_id.in_(run_ids))):
            known[step.run_id].append(step)
        rows = connection.execute(sa.select(runs).where(runs.c.run_id.in_(run_ids)))
        return {
            it.run_id: OpenRun(_rebuild_fold(it, known[it.run_id]), it.fence, it.last_event)
            for it in rows
        }


def _died(claimant: str) -> sa.ColumnElement[bool]:
    """Return the condition that an unowned run had an owner which died while it ran the run.

    An owner that hands a run back leaves it without one. One that has recorded nothing has not
    begun, so that what was in flight before is counted once.
    """
    return sa.and_(
        runs.c.finished_at.is_(None),
        runs.c.owner.not_in([_NO_OWNER, claimant]),
        runs.c.last_event > runs.c.claimed_event,
    )


def _keyed(batch: Batch) -> tuple[Change, Create] | None:
    """Return the change that a run with a key makes; it comes alone."""
    if len(batch) != 1:
        return None
    change = next(iter(batch.values()))
    entry = change.created
    return None if entry is None or entry.record.key is None else (change, entry)


@functools.lru_cache(maxsize=16)
def _writes(grammar: Grammar) -> Bulk:
    """Return the statements that write a batch."""
    dialect = grammar.dialect
    parts = {
        "moved": _update_of_runs(),
        "created": insert_into(dialect, runs),
        "attributes": insert_into(dialect, attributes),
        "steps": insert_into(dialect, steps, _or_update),
        "events": insert_into(dialect, batches),
    }
    return bulk(dialect, parts, guard="moved", told=notification())


def _or_update(insert: Any) -> Any:
    """Replace an existing row of the same step."""
    values = {name: insert.excluded[name] for name in _STEP}
    return insert.on_conflict_do_update(index_elements=["run_id", "step_id"], set_=values)


def _update_of_runs() -> Part:
    """Return the UPDATE of runs that are still as their owner left them."""
    columns: dict[str, Any] = {name: runs.c[name].type for name in (*_FOLDED, "last_event")}
    guards = {"of_run": "run_id", "of_fence": "fence", "of_event": "last_event"}

    def update(given: sa.FromClause) -> sa.Update:
        as_left = (runs.c[of] == given.c[name] for name, of in guards.items())
        values: dict[str, Any] = {name: given.c[name] for name in columns}
        # A run that has ended does not keep its key.
        values["key_slot"] = sa.case((given.c.finished_at.is_(None), runs.c.key_slot))
        return sa.update(runs).where(*as_left).values(values)

    return Part(columns | {name: runs.c[of].type for name, of in guards.items()}, update)


def _fold_columns(run: OpenRun) -> dict[str, Any]:
    fold = run.fold
    return {
        "status": fold.status,
        "started_at": moment(fold.started_at),
        "finished_at": moment(fold.finished_at),
        "error": fold.error,
        "failed_step": fold.failed_step,
        "reason": fold.reason,
        "compensations": _json(list(fold.compensations)).decode(),
    }


def _update_row(run_id: str, change: Change) -> dict[str, Any]:
    run = change.run
    return {
        **_fold_columns(run),
        "last_event": run.last_event,
        "of_run": run_id,
        "of_fence": run.fence,
        "of_event": change.before,
    }


def _attributes(batch: Batch) -> Iterable[dict[str, Any]]:
    for run_id, change in batch.items():
        record = change.run.fold.record
        if change.created is not None and record.attributes:
            yield from attribute_rows(run_id, moment(record.created_at), record.attributes)


def _steps(batch: Batch) -> Iterable[dict[str, Any]]:
    for run_id, change in batch.items():
        for step_id, step in change.steps.items():
            yield {
                "run_id": run_id,
                "step_id": step_id,
                "status": step.status,
                "attempts": step.attempts,
                "output": step.output,
                "error": step.error,
                "started_at": moment(step.started_at),
                "finished_at": moment(step.finished_at),
            }


def _events(batch: Batch) -> Iterable[dict[str, Any]]:
    for run_id, change in batch.items():
        for start in range(0, len(change.events), _MAX_EVENTS):
            yield from _rows(run_id, change.events[start : start + _MAX_EVENTS])


def _rows(run_id: str, events: Sequence[EncodedEvent]) -> Iterable[dict[str, Any]]:
    """Return one row for consecutive events of a run, or a few if they are large."""
    encoded = _json([_plain(event, data) for event, data in events])
    if len(encoded) > _MAX_SIZE and len(events) > 1:
        middle = len(events) // 2
        yield from _rows(run_id, events[:middle])
        yield from _rows(run_id, events[middle:])
    else:
        first, last = events[0][0].number, events[-1][0].number
        yield {"run_id": run_id, "first": first, "last": last, "events": encoded.decode()}


def _plain(event: Event, data: bytes | None) -> tuple[Any, ...]:
    """Return an event as it is recorded; its number follows from its place in the row."""
    _, kind, _, step_id, attempt, time, _, _ = event
    return kind, step_id, attempt, moment(time), None if data is None else msgspec.Raw(data)


def _rebuild_fold(row: Any, known: Iterable[Any]) -> RunFold:
    """Rebuild the fold of a run from its rows."""
    record = RunRecord(
        step_ids=msgspec.json.decode(row.step_ids),
        last_steps=msgspec.json.decode(row.last_steps),
        parent=parent_of(row),
        inputs={},
        metadata={},
        **{name: getattr(row, name) for name in _ACCEPTED},
    )
    fold = RunFold(record)
    for name in _KEPT:
        setattr(fold, name, getattr(row, name))
    fold.status = RunStatus(row.status)
    fold.compensations = tuple(msgspec.json.decode(row.compensations))
    for one in known:
        step: StepFold = fold.steps[one.step_id]
        for name in _STEP:
            setattr(step, name, getattr(one, name))
        step.status = StepStatus(one.status)
    return fold
