"""The commands `actorflow schedules list`, `pause`, `unpause`, `trigger`, `backfill`, `delete`."""

from __future__ import annotations

import contextlib
import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from actorflow.cli.databases import Database, opened
from actorflow.cli.loading import AsJson  # noqa: TC001 - typer reads the annotations
from actorflow.cli.reports import rendered
from actorflow.cli.terminal.exits import Problem, exit_statuses
from actorflow.cli.terminal.lines import table
from actorflow.errors.storage import MissingExtra, NotRestorable
from actorflow.schedules.book import ScheduleBook, next_time
from actorflow.schedules.firing import local_time
from actorflow.schedules.times import zone_of
from actorflow.support.clock import SystemClock
from actorflow.views.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.model.schedules import RecordedSchedule, ScheduleDefinition
    from actorflow.state.sql import SQLStateManager

__all__ = ["schedules"]

Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]

schedules: typer.Typer = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@schedules.callback()
def _schedules() -> None:
    """Manage the schedules in a database."""


@schedules.command("list")
def list_(*, db: Database, as_json: AsJson = False) -> None:
    """List schedules: when they fire next, and what they have fired."""
    with exit_statuses(), opened(db) as state:
        recorded = state.list_schedules()
        if as_json:
            _dump([_as_json(each) for each in recorded])
        elif recorded:
            _print(rendered(table([_row(each) for each in recorded], 6), Console()))
        else:
            sys.stderr.write("no schedules\n")


@schedules.command()
def pause(name: Name, *, db: Database) -> None:
    """Stop a schedule from firing until it is unpaused.

    Runs in progress go on. Nominal times that pass during the pause count as skipped.
    """
    with exit_statuses(), opened(db) as state:
        _book(state).pause(name)
        _print([f"schedule {printable(name)}: paused"])


@schedules.command()
def unpause(name: Name, *, db: Database) -> None:
    """Let a paused schedule fire again.

    Nominal times that passed during the pause do not fire later.
    """
    with exit_statuses(), opened(db) as state:
        recorded = _book(state).unpause(name)
        _print([f"schedule {printable(name)}: next {_next(recorded) or 'unknown'}"])


@schedules.command()
def trigger(name: Name, *, db: Database) -> None:
    """Ask for a run now.

    An orchestrator that has the workflow starts it within seconds, also while the schedule is
    paused.
    """
    with exit_statuses(), opened(db) as state:
        book = _book(state)
        recorded = book.request(name, [book.wall()])
        _print([f"schedule {printable(name)}: asked for a run of {_workflow(recorded.definition)}"])


@schedules.command()
def backfill(
    name: Name,
    start: Annotated[
        str,
        typer.Argument(metavar="START", help="For example 2026-01-31T08:00."),
    ],
    end: Annotated[str, typer.Argument(metavar="END", help="Now or earlier.")],
    *,
    db: Database,
) -> None:
    """Ask for the runs of a period that has passed.

    There is one for each nominal time from START on and before END. An orchestrator that has the
    workflow starts them within seconds.

    Times without an offset are in the schedule's timezone. Nominal times that have fired already
    are not started again.
    """
    with exit_statuses(), opened(db) as state:
        book = _book(state)
        definition = state.get_schedule(name).definition
        times = book.nominal(definition, _time(start, definition), _time(end, definition))
        book.request(name, times)
        runs = f"{len(times):,} run{'s' * (len(times) != 1)}"
        _print([f"schedule {printable(name)}: asked for {runs} of {_workflow(definition)}"])


@schedules.command()
def delete(name: Name, *, db: Database) -> None:
    """Delete a schedule. Its runs stay."""
    with exit_statuses(), opened(db) as state:
        state.delete_schedule(name)
        _print([f"schedule {printable(name)}: deleted"])


def _book(state: SQLStateManager) -> ScheduleBook:
    clock = SystemClock()
    return ScheduleBook(state, lambda: clock.wall(clock.now()))


def _time(text: str, definition: ScheduleDefinition) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Problem(f"{text!r} is not a time. Type for example 2026-01-31T08:00") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=zone_of(definition.tz))


def _workflow(definition: ScheduleDefinition) -> str:
    return f"{printable(definition.workflow_id)} {printable(definition.workflow_version)}"


def _when(definition: ScheduleDefinition) -> str:
    if definition.every is not None:
        return f"every {definition.every:g} s"
    return f"{definition.cron} {definition.tz}"


def _next(recorded: RecordedSchedule) -> str | None:
    with contextlib.suppress(MissingExtra):  # the rest can be shown without it
        at = next_time(recorded)
        return None if at is None else local_time(recorded.definition, at)
    return None


def _row(recorded: RecordedSchedule) -> tuple[Text, ...]:
    definition, state = recorded.definition, recorded.state
    following = "paused" if state.paused else f"next {_next(recorded) or 'unknown'}"
    counts = f"{state.fired:,} fired, {state.skipped:,} skipped, {state.missed:,} missed"
    last = "" if state.last_run_id is None else f"last run {printable(state.last_run_id)}"
    return (
        Text(printable(definition.name)),
        Text(_workflow(definition)),
        Text(printable(_when(definition))),
        Text(following, "dim" if state.paused else ""),
        Text(counts),
        Text(last, "dim"),
    )


def _as_json(recorded: RecordedSchedule) -> dict[str, Any]:
    from actorflow.cli.terminal.values import as_json as to_json  # noqa: PLC0415 - rarely needed

    definition, state = recorded.definition, recorded.state
    document: dict[str, Any] = {
        name: getattr(definition, name)
        for name in ("name", "workflow_id", "workflow_version", "cron", "every", "tz")
    }
    try:
        document["inputs"] = to_json(dict(definition.inputs))
    except NotRestorable as error:
        document["inputs"] = {"unread": error.why}
    document |= {name: getattr(definition, name) for name in ("overlap", "catch_up", "jitter")}
    last = None if state.last_at is None else local_time(definition, state.last_at)
    return document | {
        "missed_policy": definition.missed,
        "paused": state.paused,
        "next_at": _next(recorded),
        "last_at": last,
        "last_run_id": state.last_run_id,
        "fired": state.fired,
        "skipped": state.skipped,
        "missed": state.missed,
        "waiting": len(state.pending) + len(state.requested) + (state.queued is not None),
    }


def _print(lines: Iterator[str] | list[str]) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")


def _dump(value: object) -> None:
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")
