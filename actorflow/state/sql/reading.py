"""Runs as they stand in the database, each read within one instant."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from actorflow.errors.storage import RunNotFound, StoreUnavailable
from actorflow.model.events import NO_DATA, Event
from actorflow.model.lifecycle import EventKind, RunStatus, StepStatus
from actorflow.model.results import RunPage, RunSnapshot, StepResult
from actorflow.state.sql.database.engines import beginning
from actorflow.state.sql.database.refusals import why
from actorflow.state.sql.schema.tables import GOES, STAYS, events, runs, steps

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actorflow.state.sql.values.payloads import Payloads

__all__ = ["Reader"]

_SAME: Final = (
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


class Reader:
    """Reads runs; from any thread."""

    def __init__(self, engine: sa.Engine, payloads: Payloads) -> None:
        self._engine = engine
        self._payloads = payloads
        self.resting = False
        """Whether connections are closed after use, because there is not much to come."""

    @contextlib.contextmanager
    def _instant(self) -> Iterator[sa.Connection]:
        try:
            with beginning(self._engine) as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StoreUnavailable("answer", why(error)) from error
        finally:
            if self.resting:
                self._engine.dispose()

    def snapshot(self, run_id: str) -> RunSnapshot:
        """Return a run, with its steps."""
        with self._instant() as connection:
            run = connection.execute(_of(run_id, sa.select(runs))).one_or_none()
            if run is None:
                raise RunNotFound(run_id)
            rows = connection.execute(sa.select(steps).where(steps.c.run_id == run_id)).all()
        known = {row.step_id: row for row in rows}
        self._payloads.check(run_id, run.serializer)
        results = {it: self._step(it, known.get(it)) for it in msgspec.json.decode(run.step_ids)}
        inputs = self._payloads.mapping(run_id, "inputs", run.inputs)
        metadata = self._payloads.mapping(run_id, "metadata", run.metadata)
        return self._run(run, inputs, metadata, results)

    def _summary(self, run: Any) -> RunSnapshot:
        """Return a run without its steps, also where what it was given cannot be read."""
        known = run.run_id, run.serializer
        inputs = self._payloads.shown(*known, "inputs", run.inputs)
        metadata = self._payloads.shown(*known, "metadata", run.metadata)
        return self._run(run, inputs, metadata, {})

    def _run(
        self,
        run: Any,
        inputs: Mapping[str, Any],
        metadata: Mapping[str, Any],
        results: Mapping[str, StepResult],
    ) -> RunSnapshot:
        return RunSnapshot(
            **{name: getattr(run, name) for name in _SAME},
            status=RunStatus(run.status),
            inputs=inputs,
            metadata=metadata,
            steps=results,
            last_steps=tuple(msgspec.json.decode(run.last_steps)),
            error=self._payloads.error(run.error),
            compensations=tuple(msgspec.json.decode(run.compensations)),
        )

    def _step(self, step_id: str, row: Any) -> StepResult:
        if row is None:
            return StepResult(step_id=step_id, status=StepStatus.PENDING)
        return StepResult(
            step_id=step_id,
            status=StepStatus(row.status),
            output=self._payloads.value(row.run_id, step_id, row.output),
            error=self._payloads.error(row.error),
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
        with self._instant() as connection:
            named = _of(run_id, sa.select(runs.c.serializer))
            wrote = connection.execute(named).scalar_one_or_none()
            if wrote is None:
                raise RunNotFound(run_id)
            rows = [] if limit == 0 else connection.execute(query).all()
        self._payloads.check(run_id, wrote)
        return [self._event(row) for row in rows]

    def _event(self, row: Any) -> Event:
        kind = EventKind(row.kind)
        data = self._payloads.event_data(row, kind)
        return Event(
            row.number, kind, row.run_id, row.step_id, row.attempt, row.time, data or NO_DATA
        )

    def list(self, wanted: Mapping[str, str | None], limit: int, offset: int) -> RunPage:
        """Return summaries of the runs that match, the newest first, ties by run id.

        What a run was given and cannot be read here is an `Unread`.
        """
        match = [runs.c[it] == wanted[it] for it in _FILTERS if wanted[it] is not None]
        # Two counts of indexes: whether a run is being purged stands in the rows themselves.
        count = _count(*match) - _count(*match, GOES)
        page = (
            sa.select(runs)
            .where(*match, STAYS)
            .order_by(runs.c.created_at.desc(), runs.c.run_id)
            .limit(limit)
            .offset(offset)
        )
        with self._instant() as connection:
            total = connection.execute(sa.select(count)).scalar_one()
            rows = connection.execute(page).all() if limit else []
        return RunPage(runs=tuple(map(self._summary, rows)), total=total)


def _of(run_id: str, query: sa.Select[Any]) -> sa.Select[Any]:
    return query.where(runs.c.run_id == run_id, STAYS)


def _count(*match: Any) -> sa.ScalarSelect[int]:
    return sa.select(sa.func.count()).select_from(runs).where(*match).scalar_subquery()
