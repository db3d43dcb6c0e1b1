"""Pauses of runs: kept in the run's row by whoever asks, heard by the run's owner.

`paused`, `paused_since` and `frozen` say what is wanted. `pause_heard` says what the owner has
recorded: it is true from its event `run.paused` to `run.unpaused`. While the two differ, the owner
is told again and again. A request therefore needs no answer, and is lost neither when it comes
while another one is being recorded, nor with the process of an owner: the next one reads the row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from actorflow.errors.running import RunEnded
from actorflow.errors.storage import RunNotFound
from actorflow.model.lifecycle import EventKind
from actorflow.state.sql.channels import announce
from actorflow.state.sql.schema.tables import NOT_PURGED, PAUSE_UNHEARD, Moment, runs
from actorflow.state.sql.values.errors import clipped

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actorflow.model.pausing import Pause
    from actorflow.state.sql.writing.open_runs import Change

__all__ = [
    "FREEZE",
    "PAUSE",
    "UNPAUSE",
    "change_pause",
    "may_be_taken",
    "note_pauses",
    "pause_kept",
    "unheard_pauses",
]

UNPAUSE: Final = "unpause"
PAUSE: Final = "pause"
FREEZE: Final = "freeze"
_NONE: Final[dict[str, Any]] = {"paused": None, "paused_since": None}


def may_be_taken(now: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """Return the condition that a run is not paused, or has to end nevertheless.

    Args:
        now: The time of the database.
    """
    has_overrun = sa.and_(
        runs.c.deadline_at <= now, sa.not_(sa.func.coalesce(runs.c.frozen, sa.false()))
    )
    return sa.or_(runs.c.paused.is_(None), runs.c.cancel_asked.is_not(None), has_overrun)


def change_pause(
    connection: sa.Connection, run_id: str, pause: Pause | None, now: sa.ColumnElement[Any]
) -> None:
    """Pause a run, or end its pause, whoever owns it.

    Args:
        connection: A connection in a transaction.
        run_id: The run.
        pause: The pause; None to end it.
        now: The time of the database.

    Raises:
        RunNotFound: When there is no such run.
        RunEnded: When it has ended.
    """
    this = sa.update(runs).where(runs.c.run_id == run_id, runs.c.finished_at.is_(None), NOT_PURGED)
    if pause is None:
        _postpone(connection, run_id, now)
        change = this.where(runs.c.paused.is_not(None)).values(_NONE)
    else:
        values = {
            "paused": clipped(pause.reason),
            "paused_since": now,
            # The owner may not have heard of the end of the pause before, which then goes on.
            "frozen": sa.case(
                (runs.c.pause_heard.is_(None), sa.literal(pause.freeze)), else_=runs.c.frozen
            ),
        }
        change = this.where(runs.c.paused.is_(None)).values(values)
    if connection.execute(change).rowcount:
        announce(connection)
        return
    query = sa.select(runs.c.status, runs.c.finished_at).where(runs.c.run_id == run_id, NOT_PURGED)
    known = connection.execute(query).one_or_none()
    if known is None:
        raise RunNotFound(run_id)
    if known.finished_at is not None:
        raise RunEnded(run_id, known.status, "unpaused" if pause is None else "paused")


def _postpone(connection: sa.Connection, run_id: str, now: sa.ColumnElement[Any]) -> None:
    """Move the deadline that an eviction has recorded, if the clocks of the run stand still."""
    frozen = (runs.c.paused.is_not(None), runs.c.frozen.is_(True), runs.c.deadline_at.is_not(None))
    this = (runs.c.run_id == run_id, runs.c.finished_at.is_(None), *frozen)
    clocks = sa.select(runs.c.deadline_at, runs.c.paused_since, sa.type_coerce(now, Moment))
    known = connection.execute(clocks.where(*this).with_for_update()).one_or_none()
    if known is not None:
        deadline_at, since, moment = known
        later = deadline_at + max(0.0, moment - since)
        connection.execute(sa.update(runs).where(*this).values(deadline_at=later))


def note_pauses(connection: sa.Connection, changes: Iterable[Change]) -> None:
    """Note that owners have recorded pauses and their ends, with what else has changed."""
    noted = [event for change in changes if change.pauses for event in change.pauses]
    for event in noted:
        heard = True if event.kind is EventKind.RUN_PAUSED else None
        values: dict[str, Any] = {"pause_heard": heard}
        if event.data.get("cancelled"):  # no `unpause` has asked for the end of the pause
            values |= _NONE
        this = sa.update(runs).where(runs.c.run_id == event.run_id)
        connection.execute(this.values(values))
    if noted:
        announce(connection)  # what was asked for may have changed since the owner heard of it


def unheard_pauses(owner: str) -> sa.Select[Any]:
    """Select the pauses of an owner's runs that it has not recorded: run id, kind and reason."""
    kind = sa.case(
        (runs.c.paused.is_(None), UNPAUSE), (runs.c.frozen.is_(True), FREEZE), else_=PAUSE
    )
    pending = (runs.c.owner == owner, runs.c.finished_at.is_(None), PAUSE_UNHEARD)
    return sa.select(runs.c.run_id, kind, sa.func.coalesce(runs.c.paused, "")).where(*pending)


def pause_kept() -> dict[str, Any]:
    """Return the values with which a claim keeps the pause of a run, unless the run had ended."""
    columns = (runs.c.paused, runs.c.paused_since, runs.c.frozen, runs.c.pause_heard)
    return {it.name: sa.case((runs.c.finished_at.is_(None), it)) for it in columns}
