"""Reading runs from the database, each within one transaction."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from actorflow.definition.arguments import is_storable
from actorflow.errors.running import ActorCrashed, StepTimeout
from actorflow.errors.storage import NotRestorable, RunNotFound, StoreUnavailable
from actorflow.model.events import NO_DATA, Event
from actorflow.model.filters import next_cursor
from actorflow.model.lifecycle import EventKind, RunStatus, StepStatus
from actorflow.model.records import RunOwner, RunPage, RunSnapshot
from actorflow.model.results import RECENT_RUNS, StepResult, medians
from actorflow.state.folding import with_attempts
from actorflow.state.sql.attributes import load_attributes
from actorflow.state.sql.engines import transaction
from actorflow.state.sql.finding import Found, found_owners
from actorflow.state.sql.records import WITH_OWNER, read_records, with_owners
from actorflow.state.sql.schema.tables import NOT_PURGED, batches, runs, seconds_of, steps
from actorflow.state.sql.transactions import describe
from actorflow.state.sql.values.parents import parent_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from actorflow.model.filters import RunQuery
    from actorflow.state.sql.engines import Engines
    from actorflow.state.sql.health import Owner
    from actorflow.state.sql.records import Record
    from actorflow.state.sql.values.payloads import Payloads

__all__ = ["Reader"]

_T = TypeVar("_T")
Recorded: TypeAlias = "tuple[int, list[Any]]"
"""An event's number, and its kind, step, attempt, time and data as recorded."""

_COPIED: Final = (
    "run_id",
    "workflow_id",
    "workflow_version",
    "priority",
    "timeout",
    "failed_step",
    "reason",
    "created_at",
    "started_at",
    "finished_at",
    "trace_id",
    "correlation_id",
    "business_id",
    "parked",
    "parked_since",
    "deadline_at",
    "takeovers",
    "start_at",
)
_IN_PROGRESS: Final = ("waiting", "waiting_since", "paused", "paused_since")
"""What means nothing for a run that has ended."""
_STEPS_PER_QUERY: Final = 500
_RUNS_PER_QUERY: Final = 500
_LARGEST: Final = 2**63 - 1
"""The largest integer of a database."""
_decode: Final = msgspec.json.Decoder().decode
_BETWEEN_ATTEMPTS: Final = frozenset(
    {StepStatus.PENDING, StepStatus.READY, StepStatus.RETRYING, StepStatus.CANCELLED}
)
"""The statuses that a step may have, or get, while it waits for another attempt."""


class Reader:
    """Reads runs; usable from any thread.

    Args:
        engines: Where it connects.
        payloads: Restores values.
    """

    def __init__(self, engines: Engines, payloads: Payloads) -> None:
        self._engines = engines
        self._payloads = payloads
        self.closed = False
        """Whether to close connections after each use, because the manager is closed."""

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        try:
            with transaction(self._engines.reading) as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StoreUnavailable("answer", describe(error)) from error
        finally:
            if self.closed:  # by now, and with it the pool
                self._engines.dispose()

    def read(self, query: Callable[[sa.Connection], _T]) -> _T:
        """Return what `query` reads, in one transaction."""
        with self._transaction() as connection:
            return query(connection)

    def snapshot(self, run_id: str) -> RunSnapshot:
        """Return a run with its steps."""
        _check_id(run_id)
        with self._transaction() as connection:
            run = connection.execute(
                _where_run(run_id, WITH_OWNER.select_from(with_owners(runs)))
            ).one_or_none()
            if run is None:
                raise RunNotFound(run_id)
            rows = connection.execute(sa.select(steps).where(steps.c.run_id == run_id)).all()
        return self._snapshot(run, rows)

    def records(self, run_ids: Collection[str]) -> dict[str, tuple[RunSnapshot, Sequence[Event]]]:
        """Return runs with their events, without those that cannot be read."""
        found: dict[str, tuple[RunSnapshot, Sequence[Event]]] = {}
        wanted = [run_id for run_id in run_ids if is_storable(run_id)]
        for start in range(0, len(wanted), _RUNS_PER_QUERY):
            with self._transaction() as connection:
                records = read_records(connection, wanted[start : start + _RUNS_PER_QUERY])
            for run_id, it in records.items():
                with contextlib.suppress(NotRestorable):
                    found[run_id] = self._record(it)
        return found

    def _record(self, record: Record) -> tuple[RunSnapshot, Sequence[Event]]:
        run = record.run
        snapshot = self._snapshot(run, record.steps, with_retries=False)
        outputs = {step.step_id: step.output for step in record.steps}
        ids = run.run_id, run.workflow_id
        decoded = (it for row in record.batches for it in _events_in(row))
        events = [self._event(ids, it, outputs) for it in decoded]
        if any(map(_may_have_been_retried, snapshot.steps.values())):
            snapshot = with_attempts(snapshot, events)
        return snapshot, events

    def _snapshot(self, run: Any, rows: Sequence[Any], *, with_retries: bool = True) -> RunSnapshot:
        run_id, by_id = run.run_id, {row.step_id: row for row in rows}
        self._payloads.check_serializer(run_id, run.serializer)
        results = {it: self._step(it, by_id.get(it)) for it in msgspec.json.decode(run.step_ids)}
        inputs = self._payloads.load_mapping(run_id, "inputs", run.inputs)
        metadata = self._payloads.load_mapping(run_id, "metadata", run.metadata)
        known = self._run(run, inputs, metadata, results)
        if with_retries and any(map(_may_have_been_retried, results.values())):
            known = with_attempts(known, self.events(run_id, 0, run.last_event))
        return known

    def _summary(self, run: Any) -> RunSnapshot:
        """Return a run without its steps, even if its inputs or metadata cannot be read."""
        known = run.run_id, run.serializer
        inputs = self._payloads.load_or_placeholder(*known, "inputs", run.inputs)
        metadata = self._payloads.load_or_placeholder(*known, "metadata", run.metadata)
        return self._run(run, inputs, metadata, {})

    def _run(
        self,
        run: Any,
        inputs: Mapping[str, Any],
        metadata: Mapping[str, Any],
        results: Mapping[str, StepResult],
    ) -> RunSnapshot:
        return RunSnapshot(
            **{name: getattr(run, name) for name in _COPIED},
            **({} if run.finished_at else {it: getattr(run, it) for it in _IN_PROGRESS}),
            frozen=bool(run.frozen and run.paused is not None and run.finished_at is None),
            key=run.run_key,
            status=RunStatus(run.status),
            inputs=inputs,
            metadata=metadata,
            steps=results,
            last_steps=tuple(msgspec.json.decode(run.last_steps)),
            error=self._payloads.load_error(run.error),
            compensations=tuple(msgspec.json.decode(run.compensations)),
            parent=parent_of(run),
            owner=_owner(run),
            attributes=load_attributes(run.attributes),
        )

    def _step(self, step_id: str, row: Any) -> StepResult:
        if row is None:
            return StepResult(step_id=step_id, status=StepStatus.PENDING)
        return StepResult(
            step_id=step_id,
            status=StepStatus(row.status),
            output=self._payloads.load_output(row.run_id, step_id, row.output),
            error=self._payloads.load_error(row.error),
            attempts=row.attempts,
            started_at=row.started_at,
            finished_at=row.finished_at,
        )

    def events(self, run_id: str, after: int, limit: int | None) -> list[Event]:
        """Return a run's events."""
        _check_id(run_id)
        after = max(after, 0)
        with self._transaction() as connection:
            query_of_run = _where_run(run_id, sa.select(runs.c.serializer, runs.c.workflow_id))
            run = connection.execute(query_of_run).one_or_none()
            if run is None:
                raise RunNotFound(run_id)
            rows = [] if limit == 0 else connection.execute(_batches(run_id, after, limit)).all()
            wanted = slice(None, limit)
            recorded = [it for row in rows for it in _events_in(row) if it[0] > after][wanted]
            outputs = _outputs(connection, run_id, recorded)
        self._payloads.check_serializer(run_id, run.serializer)
        ids = run_id, run.workflow_id
        return [self._event(ids, it, outputs) for it in recorded]

    def _event(
        self, ids: tuple[str, str], recorded: Recorded, outputs: Mapping[str, str | None]
    ) -> Event:
        run_id, workflow_id = ids
        number, (name, step_id, attempt, time, encoded) = recorded
        kind = EventKind(name)
        data = self._payloads.load_event_data(kind, encoded)
        if kind is EventKind.STEP_COMPLETED:
            data["output"] = self._payloads.load_output(run_id, step_id, outputs.get(step_id))
        at = seconds_of(time)
        return Event(number, kind, run_id, step_id, attempt, at, data or NO_DATA, workflow_id)

    def durations(self, workflow_id: str) -> dict[str, float]:
        """Return the median seconds of each step over the last completed runs of a workflow."""
        completed = runs.c.status == RunStatus.COMPLETED.value
        recent = (
            sa.select(runs.c.run_id)
            .where(runs.c.workflow_id == workflow_id, completed, NOT_PURGED)
            .order_by(runs.c.created_at.desc(), runs.c.run_id)
            .limit(RECENT_RUNS)
        )
        query = sa.select(steps.c.step_id, steps.c.started_at, steps.c.finished_at).where(
            steps.c.run_id.in_(recent), steps.c.status == StepStatus.COMPLETED.value
        )
        with self._transaction() as connection:
            rows = connection.execute(query).all()
        return medians((row.step_id, row.finished_at - row.started_at) for row in rows)

    def list(self, query: RunQuery) -> RunPage:
        """Return summaries of the matching runs, newest first, ties by run id.

        Inputs and metadata that this process cannot read are `Unreadable` placeholders.
        """
        with self._transaction() as connection:
            found = Found(query, connection.dialect.name)
            total = connection.execute(found.total()).scalar_one()
            rows = connection.execute(found.page()).all() if query.limit else []
        page = tuple(map(self._summary, rows[: query.limit]))
        more = len(rows) > query.limit
        return RunPage(runs=page, total=total, next_cursor=next_cursor(page, more=more))

    def count(self, columns: Sequence[str], query: RunQuery) -> dict[tuple[Any, ...], int]:
        """Return the numbers of the matching runs, by the values of some columns."""
        groups: Counter[tuple[Any, ...]] = Counter()
        with self._transaction() as connection:
            found = Found(query, connection.dialect.name)
            for statement, sign in found.counts(columns):
                for *key, count in connection.execute(statement):
                    groups[tuple(map(_public, columns, key))] += sign * count
        return {key: count for key, count in groups.items() if count}

    def owners(self) -> Sequence[Owner]:
        """Return the owners and how many runs each has in progress."""
        with self._transaction() as connection:
            return found_owners(connection)


def _check_id(run_id: str) -> None:
    """Refuse an id that no run can have, and that a database would not even take."""
    if not is_storable(run_id):
        raise RunNotFound(run_id)


def _batches(run_id: str, after: int, limit: int | None) -> sa.Select[Any]:
    """Select the batches that hold the events after a number, at most `limit` of them."""
    own = batches.c.run_id == run_id
    # The batch with the next event, found by the key; there may be very many before it.
    begin = sa.select(sa.func.max(batches.c.first)).where(own, batches.c.first <= after + 1)
    query = sa.select(batches.c.first, batches.c.events).where(
        own, batches.c.first >= sa.func.coalesce(begin.scalar_subquery(), 0)
    )
    if limit is not None:
        query = query.where(batches.c.first <= min(after + limit, _LARGEST))
    return query.order_by(batches.c.first)


def _events_in(row: Any) -> Iterator[Recorded]:
    return enumerate(_decode(row.events), row.first)


def _outputs(
    connection: sa.Connection, run_id: str, recorded: Sequence[Recorded]
) -> Mapping[str, str | None]:
    """Return the outputs, serialized, of the steps whose completion is among these events."""
    completed = [it[1] for _, it in recorded if it[0] == EventKind.STEP_COMPLETED]
    found: dict[str, str | None] = {}
    for start in range(0, len(completed), _STEPS_PER_QUERY):
        some = steps.c.step_id.in_(completed[start : start + _STEPS_PER_QUERY])
        query = sa.select(steps.c.step_id, steps.c.output).where(steps.c.run_id == run_id, some)
        found.update((step_id, output) for step_id, output in connection.execute(query))
    return found


def _where_run(run_id: str, query: sa.Select[Any]) -> sa.Select[Any]:
    return query.where(runs.c.run_id == run_id, NOT_PURGED)


def _public(column: str, value: Any) -> Any:
    return RunStatus(value) if column == "status" else value


def _owner(run: Any) -> RunOwner | None:
    """Return the owner of a run from its row in `WITH_OWNER`."""
    if run.lease_until is None:
        return None
    return RunOwner(
        id=run.owner,
        host=run.owner_host,
        pid=run.owner_pid,
        since=run.owned_since,
        lease_until=run.lease_until,
    )


def _may_have_been_retried(step: StepResult) -> bool:
    """Return whether only events may tell when and how each attempt of a step ended.

    A step with one attempt may have settled after it, while it waited for another.
    """
    if step.status in _BETWEEN_ATTEMPTS or isinstance(step.error, (StepTimeout, ActorCrashed)):
        return step.attempts > 0
    return step.attempts > 1
