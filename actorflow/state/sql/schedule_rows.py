"""Schedules as rows of the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from actorflow.errors.storage import NotRestorable, ScheduleNotFound
from actorflow.model.schedules import RecordedSchedule, ScheduleDefinition, ScheduleState
from actorflow.state.sql.schema.tables import schedules
from actorflow.state.sql.values.payloads import Unreadable
from actorflow.support.read_only import ReadOnly
from actorflow.support.safe_text import said_by

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from actorflow.state.sql.transactions import Transactions
    from actorflow.state.sql.values.payloads import Payloads

__all__ = ["ScheduleRows"]

_DEFINITION: Final = (
    "name",
    "workflow_id",
    "workflow_version",
    "cron",
    "every",
    "tz",
    "overlap",
    "catch_up",
    "missed",
    "jitter",
)
_STATE: Final = {
    "decided_until": "decided_until",
    "paused": "paused",
    "queued": "queued_at",
    "last_at": "last_at",
    "last_run_id": "last_run_id",
    "fired": "fired_count",
    "skipped": "skipped_count",
    "missed": "missed_count",
}
"""The columns of a state's fields, but for the two lists."""
_LISTS: Final = ("pending", "requested")
_MICRO: Final = 1_000_000
_T = TypeVar("_T")


class ScheduleRows:
    """Reads and writes schedules; usable from any thread.

    Args:
        reading: Runs transactions that read.
        writing: Runs transactions that write.
        payloads: Serializes inputs.
        done: Called after each transaction.
    """

    def __init__(
        self,
        reading: Transactions,
        writing: Transactions,
        payloads: Payloads,
        done: Callable[[], None],
    ) -> None:
        self._reading = reading
        self._writing = writing
        self._payloads = payloads
        self._done = done

    def _run(
        self, transactions: Transactions, work: Callable[[sa.Connection], _T], what: str
    ) -> _T:
        try:
            return transactions.run(work, what)[0]
        finally:
            self._done()

    def put(self, definition: ScheduleDefinition, now: float) -> RecordedSchedule:
        """Insert a schedule, or replace the definition of the one with this name."""
        values = self._definition_values(definition)

        def work(connection: sa.Connection) -> RecordedSchedule:
            state = ScheduleState(decided_until=now)
            # The time makes the first revision, so that a schedule that is deleted and made again
            # has other revisions than before.
            first = {**values, **_state_values(state), "revision": round(now * _MICRO)}
            connection.execute(_insert(connection.dialect.name).values(first))
            this = schedules.c.name == definition.name
            query = sa.select(schedules).where(this)
            row = connection.execute(query.with_for_update()).one()
            if any(getattr(row, name) != value for name, value in values.items()):
                stands = _state_values(self._recorded(row).redefined(definition, now))
                changed = {**values, **stands, "revision": schedules.c.revision + 1}
                connection.execute(sa.update(schedules).where(this).values(changed))
                row = connection.execute(query).one()
            return self._recorded(row)

        return self._run(self._writing, work, f"record schedule {definition.name!r}")

    def get(self, name: str) -> RecordedSchedule:
        """Return a schedule."""
        query = sa.select(schedules).where(schedules.c.name == name)
        row = self._run(self._reading, lambda it: it.execute(query).one_or_none(), "answer")
        if row is None:
            raise self._not_found(name)
        return self._recorded(row)

    def list(self) -> Sequence[RecordedSchedule]:
        """Return all schedules, by name."""
        query = sa.select(schedules).order_by(schedules.c.name)
        rows = self._run(self._reading, lambda it: it.execute(query).all(), "answer")
        return [self._recorded(row) for row in rows]

    def advance(self, name: str, revision: int, state: ScheduleState) -> bool:
        """Write a new state, if the schedule still has this revision; return whether it had."""
        this = sa.and_(schedules.c.name == name, schedules.c.revision == revision)
        values = {**_state_values(state), "revision": schedules.c.revision + 1}
        statement = sa.update(schedules).where(this).values(values)
        # A commit whose answer is lost is repeated, and then finds another revision. The caller
        # reads again and finds its own state there, which it can go on from.
        what = f"record schedule {name!r}"
        return bool(self._run(self._writing, lambda it: it.execute(statement).rowcount, what))

    def delete(self, name: str) -> None:
        """Delete a schedule."""
        statement = sa.delete(schedules).where(schedules.c.name == name)
        what = f"delete schedule {name!r}"
        if not self._run(self._writing, lambda it: it.execute(statement).rowcount, what):
            raise self._not_found(name)

    def _not_found(self, name: str) -> ScheduleNotFound:
        query = sa.select(schedules.c.name).order_by(schedules.c.name)
        known = self._run(self._reading, lambda it: it.execute(query).scalars().all(), "answer")
        return ScheduleNotFound(name, tuple(known))

    def _definition_values(self, definition: ScheduleDefinition) -> dict[str, Any]:
        # Sorted, because definitions are compared by these strings.
        inputs = dict(sorted(definition.inputs.items()))
        what = f"the input of schedule {definition.name!r}"
        return {
            **{name: getattr(definition, name) for name in _DEFINITION},
            "serializer": self._payloads.serializer.name,
            "inputs": self._payloads.dump_mapping(what, inputs),
        }

    def _recorded(self, row: Any) -> RecordedSchedule:
        definition = ScheduleDefinition(
            **{name: getattr(row, name) for name in _DEFINITION}, inputs=self._inputs(row)
        )
        lists: dict[str, Any] = {
            name: tuple(msgspec.json.decode(getattr(row, name))) for name in _LISTS
        }
        values: dict[str, Any] = {field: getattr(row, it) for field, it in _STATE.items()}
        state = ScheduleState(**values, **lists)
        return RecordedSchedule(definition=definition, state=state, revision=row.revision)

    def _inputs(self, row: Any) -> Mapping[str, Any]:
        """Return the inputs; if they are unreadable, a mapping that raises when used."""
        serializer, what = self._payloads.serializer, f"the inputs of schedule {row.name!r}"
        if row.serializer != serializer.name:
            why = f"the serializer {row.serializer!r} wrote them, not {serializer.name!r}"
            return Unreadable(NotRestorable(what, why, row.serializer))
        try:
            return ReadOnly(serializer.loads(row.inputs))
        except Exception as error:  # noqa: BLE001 - a serializer may raise anything
            why = f"they made the serializer {serializer.name!r} raise {said_by(error)}"
            return Unreadable(NotRestorable(what, why, row.serializer))


def _state_values(state: ScheduleState) -> dict[str, Any]:
    return {
        **{column: getattr(state, field) for field, column in _STATE.items()},
        **{name: msgspec.json.encode(getattr(state, name)).decode() for name in _LISTS},
    }


def _insert(dialect: str) -> Any:
    insert: Any = (sqlite.insert if dialect == "sqlite" else postgresql.insert)(schedules)
    return insert.on_conflict_do_nothing(index_elements=["name"])
