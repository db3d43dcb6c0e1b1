"""One group of changes, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import sqlalchemy as sa

from actorflow.model.lifecycle import RunStatus, StepStatus
from actorflow.model.results import RunRecord
from actorflow.state.folding import RunFold
from actorflow.state.sql.ownership.keys import Reservations
from actorflow.state.sql.ownership.leases import nobodys
from actorflow.state.sql.schema.tables import STAYS, events, runs, steps
from actorflow.state.sql.values.errors import clipped
from actorflow.state.sql.writing.bulk import Part, bulk, insert_into, moment
from actorflow.state.sql.writing.run_rows import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy.engine import Connection, Dialect

    from actorflow.state.folding import StepFold
    from actorflow.state.sql.writing.entries import Take
    from actorflow.state.sql.writing.run_rows import Batch, Change

__all__ = ["Statements"]

NOBODY: Final = ""
"""The owner of a run that waits for one."""
PARKED: Final = "it waits for an orchestrator that knows its workflow in this version"
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
    """Writes batches as their owner.

    Args:
        dialect: The dialect of a database that has been connected to.
        owner: Who writes.
        serializer: The name of the serializer that wrote the texts.
    """

    def __init__(self, dialect: Dialect, owner: str, serializer: str) -> None:
        self._owner = owner
        self._serializer = serializer
        parts = {
            "moved": _update_of_runs(),
            "created": insert_into(dialect, runs),
            "steps": insert_into(dialect, steps, _overwriting),
            "events": insert_into(dialect, events),
        }
        self._all = bulk(dialect, parts, guard="moved")
        self.reserve: Callable[[Connection, Batch], dict[str, str]] = Reservations(dialect).reserve
        self._nobodys = nobodys(dialect.name)
        self._taking = {
            "owner": owner,
            "fence": runs.c.fence + 1,
            "parked": None,
            # A run that was to be cancelled, has ended, and is resumed, is to go on.
            "cancel_asked": sa.case((runs.c.finished_at.is_(None), runs.c.cancel_asked)),
        }

    def write(self, connection: sa.Connection, batch: Batch) -> bool:
        """Write a batch; return False when not all of its runs belong to this owner any more."""
        rows = {
            "moved": [_moved(run_id, it) for run_id, it in batch.items() if it.created is None],
            "created": [self._created(it) for it in batch.values() if it.created is not None],
            "steps": list(_steps(batch)),
            "events": list(_events(batch)),
        }
        return self._all.run(connection, rows)

    def _created(self, change: Change) -> dict[str, Any]:
        entry, page = change.created, change.page
        record: RunRecord = page.fold.record
        return {
            **{name: getattr(record, name) for name in _ACCEPTED},
            **(entry.texts if entry is not None else {}),
            **_folded(page),
            "created_at": moment(record.created_at),
            "step_ids": _json(list(record.step_ids)).decode(),
            "last_steps": _json(list(record.last_steps)).decode(),
            "serializer": self._serializer,
            "last_event": page.last_event,
            "owner": self._owner if entry is None or entry.owned else NOBODY,
            "fence": page.fence,
            "parked": None,
        }

    def standing(
        self, connection: sa.Connection, run_ids: Iterable[str]
    ) -> dict[str, tuple[str, int, int]]:
        """Return owner, fence and last event of the runs that are there."""
        columns = (runs.c.run_id, runs.c.owner, runs.c.fence, runs.c.last_event)
        query = sa.select(*columns).where(runs.c.run_id.in_(list(run_ids)), STAYS)
        return {
            run_id: (owner, fence, last) for run_id, owner, fence, last in connection.execute(query)
        }

    def is_written(self, connection: sa.Connection, batch: Batch) -> bool:
        """Return whether a batch is there: a commit whose answer was lost may have happened."""
        standing = self.standing(connection, batch)
        return all(
            run_id in standing
            if it.created is not None and not it.created.owned
            else standing.get(run_id) == (self._owner, it.page.fence, it.page.last_event)
            for run_id, it in batch.items()
        )

    def strangers(self, connection: sa.Connection, batch: Batch) -> set[str]:
        """Return the runs of a batch that do not stand as this owner has left them."""
        standing = self.standing(connection, batch)
        return {
            run_id
            for run_id, it in batch.items()
            if it.created is None
            and standing.get(run_id) != (self._owner, it.page.fence, it.before)
        }

    def is_there(self, connection: sa.Connection, run_id: str) -> bool:
        """Return whether there is such a run, whosesoever it is."""
        return bool(self.standing(connection, [run_id]))

    def claim(self, connection: sa.Connection, run_id: str) -> Page | None:
        """Make a run this owner's; return it as it stands, or None when it may not be."""
        free = (runs.c.finished_at.is_not(None), runs.c.owner == self._owner, self._nobodys)
        mine = sa.update(runs).where(runs.c.run_id == run_id, STAYS, sa.or_(*free))
        mine = mine.values(self._taking)
        if connection.execute(mine).rowcount != 1:
            return None
        return self._pages(connection, [run_id])[run_id]

    def hand_back(self, connection: sa.Connection, run_id: str, parked: str | None) -> None:
        """Make a run in progress nobody's that is this owner's."""
        mine = (runs.c.run_id == run_id, runs.c.owner == self._owner, runs.c.finished_at.is_(None))
        says = None if parked is None else clipped(parked)
        free = {"owner": NOBODY, "fence": runs.c.fence + 1, "parked": says}
        connection.execute(sa.update(runs).where(*mine).values(free))

    def take(self, connection: sa.Connection, wanted: Take) -> dict[str, Page]:
        """Make runs of nobody this owner's, the most urgent first; return them as they stand."""
        chosen = (
            sa.select(runs.c.run_id)
            .where(
                runs.c.finished_at.is_(None),
                sa.tuple_(runs.c.workflow_id, runs.c.workflow_version).in_(list(wanted.known)),
                runs.c.run_id.not_in(list(wanted.besides)),
                sa.or_(runs.c.owner == self._owner, self._nobodys),
            )
            .order_by(runs.c.priority.desc(), runs.c.created_at, runs.c.run_id)
            .limit(wanted.limit)
            .with_for_update(skip_locked=True)
        )
        found = list(connection.execute(chosen).scalars()) if wanted.known else []
        if found:
            mine = sa.update(runs).where(runs.c.run_id.in_(found))
            connection.execute(mine.values(self._taking))
        pages = self._pages(connection, found)
        return {run_id: pages[run_id] for run_id in found}

    def park(self, connection: sa.Connection, wanted: Take) -> list[str]:
        """Say of runs of nobody that their workflows are not known; return those it was new of."""
        known = sa.tuple_(runs.c.workflow_id, runs.c.workflow_version).in_(list(wanted.known))
        unknown = [~known] if wanted.known else []
        nobodys = (runs.c.finished_at.is_(None), runs.c.parked.is_(None), self._nobodys)
        query = sa.select(runs.c.run_id).where(*nobodys, *unknown)
        found = list(connection.execute(query.with_for_update(skip_locked=True)).scalars())
        if found:
            parked = sa.update(runs).where(runs.c.run_id.in_(found)).values(parked=PARKED)
            connection.execute(parked)
        return found

    def _pages(self, connection: sa.Connection, run_ids: Sequence[str]) -> dict[str, Page]:
        if not run_ids:
            return {}
        known: dict[str, list[Any]] = {run_id: [] for run_id in run_ids}
        for step in connection.execute(sa.select(steps).where(steps.c.run_id.in_(run_ids))):
            known[step.run_id].append(step)
        rows = connection.execute(sa.select(runs).where(runs.c.run_id.in_(run_ids)))
        return {
            it.run_id: Page(_fold(it, known[it.run_id]), it.fence, it.last_event) for it in rows
        }


def _overwriting(insert: Any) -> Any:
    """Have the row of a step take the place of an earlier one."""
    values = {name: insert.excluded[name] for name in _STEP}
    return insert.on_conflict_do_update(index_elements=["run_id", "step_id"], set_=values)


def _update_of_runs() -> Part:
    """Return the UPDATE of runs, each as it was left by its owner."""
    columns: dict[str, Any] = {name: runs.c[name].type for name in (*_FOLDED, "last_event")}
    guards = {"of_run": "run_id", "of_fence": "fence", "of_event": "last_event"}

    def update(given: sa.FromClause) -> sa.Update:
        as_left = (runs.c[of] == given.c[name] for name, of in guards.items())
        values = {name: given.c[name] for name in columns}
        return sa.update(runs).where(*as_left).values(values)

    return Part(columns | {name: runs.c[of].type for name, of in guards.items()}, update)


def _folded(page: Page) -> dict[str, Any]:
    fold = page.fold
    return {
        "status": fold.status,
        "started_at": moment(fold.started_at),
        "finished_at": moment(fold.finished_at),
        "error": fold.error,
        "failed_step": fold.failed_step,
        "reason": fold.reason,
        "compensations": _json(list(fold.compensations)).decode(),
    }


def _moved(run_id: str, change: Change) -> dict[str, Any]:
    page = change.page
    return {
        **_folded(page),
        "last_event": page.last_event,
        "of_run": run_id,
        "of_fence": page.fence,
        "of_event": change.before,
    }


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
    for change in batch.values():
        for event, data in change.lines:
            number, kind, run_id, step_id, attempt, time, _ = event
            yield {
                "run_id": run_id,
                "number": number,
                "kind": kind,
                "step_id": step_id,
                "attempt": attempt,
                "time": moment(time),
                "data": data,
            }


def _fold(row: Any, known: Iterable[Any]) -> RunFold:
    """Return the fold of a run as its rows have it."""
    record = RunRecord(
        step_ids=msgspec.json.decode(row.step_ids),
        last_steps=msgspec.json.decode(row.last_steps),
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
