"""Reading runs from the database, each within one transaction."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from actorflow.errors.running import ActorCrashed, StepTimeout
from actorflow.errors.storage import RunNotFound, StoreUnavailable
from actorflow.model.events import NO_DATA, Event
from actorflow.model.lifecycle import EventKind, RunStatus, StepStatus
from actorflow.model.results import RECENT_RUNS, RunPage, RunSnapshot, StepResult, medians
from actorflow.state.folding import with_attempts
from actorflow.state.sql.engines import transaction
from actorflow.state.sql.schema.tables import NOT_PURGED, PURGED, events, runs, steps
from actorflow.state.sql.transactions import describe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actorflow.state.sql.values.payloads import Payloads

__all__ = ["Reader"]

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
)
_FILTERS: Final = ("status", "workflow_id", "trace_id", "correlation_id", "business_id")
_BETWEEN_ATTEMPTS: Final = frozenset({StepStatus.READY, StepStatus.RETRYING, StepStatus.CANCELLED})
"""The statuses that a step may have, or get, while it waits for another attempt."""


class Reader:
    """Reads runs; usable from any thread."""

    def __init__(self, engine: sa.Engine, payloads: Payloads) -> None:
        self._engine = engine
        self._payloads = payloads
        self.closed = False
        """Whether to close connections after each use, because the manager is closed."""

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        try:
            with transaction(self._engine) as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StoreUnavailable("answer", describe(error)) from error
        finally:
            if self.closed:
                self._engine.dispose()

    def snapshot(self, run_id: str) -> RunSnapshot:
        """Return a run with its steps."""
        with self._transaction() as connection:
            run = connection.execute(_where_run(run_id, sa.select(runs))).one_or_none()
            if run is None:
                raise RunNotFound(run_id)
            rows = connection.execute(sa.select(steps).where(steps.c.run_id == run_id)).all()
        by_id = {row.step_id: row for row in rows}
        self._payloads.check_serializer(run_id, run.serializer)
        results = {it: self._step(it, by_id.get(it)) for it in msgspec.json.decode(run.step_ids)}
        inputs = self._payloads.load_mapping(run_id, "inputs", run.inputs)
        metadata = self._payloads.load_mapping(run_id, "metadata", run.metadata)
        known = self._run(run, inputs, metadata, results)
        if any(map(_may_have_been_retried, results.values())):
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
            status=RunStatus(run.status),
            inputs=inputs,
            metadata=metadata,
            steps=results,
            last_steps=tuple(msgspec.json.decode(run.last_steps)),
            error=self._payloads.load_error(run.error),
            compensations=tuple(msgspec.json.decode(run.compensations)),
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
        completed = events.c.kind == EventKind.STEP_COMPLETED.value
        same_step = sa.and_(steps.c.run_id == events.c.run_id, steps.c.step_id == events.c.step_id)
        query = (
            sa.select(events, steps.c.output)
            .select_from(events.outerjoin(steps, sa.and_(completed, same_step)))
            .where(events.c.run_id == run_id, events.c.number > after)
            .order_by(events.c.number)
            .limit(limit)
        )
        with self._transaction() as connection:
            query_of_serializer = _where_run(run_id, sa.select(runs.c.serializer))
            serializer = connection.execute(query_of_serializer).scalar_one_or_none()
            if serializer is None:
                raise RunNotFound(run_id)
            rows = [] if limit == 0 else connection.execute(query).all()
        self._payloads.check_serializer(run_id, serializer)
        return [self._event(row) for row in rows]

    def _event(self, row: Any) -> Event:
        kind = EventKind(row.kind)
        data = self._payloads.load_event_data(row, kind)
        return Event(
            row.number, kind, row.run_id, row.step_id, row.attempt, row.time, data or NO_DATA
        )

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

    def list(self, wanted: Mapping[str, str | None], limit: int, offset: int) -> RunPage:
        """Return summaries of the matching runs, newest first, ties by run id.

        Inputs and metadata that this process cannot read are `Unreadable` placeholders.
        """
        match = [runs.c[it] == wanted[it] for it in _FILTERS if wanted[it] is not None]
        # A difference of two index-only counts: only the rows say whether a run is being purged.
        count = _count(*match) - _count(*match, PURGED)
        page = (
            sa.select(runs)
            .where(*match, NOT_PURGED)
            .order_by(runs.c.created_at.desc(), runs.c.run_id)
            .limit(limit)
            .offset(offset)
        )
        with self._transaction() as connection:
            total = connection.execute(sa.select(count)).scalar_one()
            rows = connection.execute(page).all() if limit else []
        return RunPage(runs=tuple(map(self._summary, rows)), total=total)


def _where_run(run_id: str, query: sa.Select[Any]) -> sa.Select[Any]:
    return query.where(runs.c.run_id == run_id, NOT_PURGED)


def _count(*match: Any) -> sa.ScalarSelect[int]:
    return sa.select(sa.func.count()).select_from(runs).where(*match).scalar_subquery()


def _may_have_been_retried(step: StepResult) -> bool:
    """Return whether only events may tell when and how each attempt of a step ended.

    A step with one attempt may have settled after it, while it waited for another.
    """
    if step.status in _BETWEEN_ATTEMPTS or isinstance(step.error, (StepTimeout, ActorCrashed)):
        return step.attempts > 0
    return step.attempts > 1
