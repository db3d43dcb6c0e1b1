"""The commands `actorflow runs list`, `show`, `events`, `resume`, `cancel` and `purge`."""

from __future__ import annotations

import json
import re
import shlex
import sys
from typing import TYPE_CHECKING, Annotated, Final

import attrs
import typer
from rich.console import Console

from actorflow.cli.databases import Database, command_line, find, opened, opened_run, store
from actorflow.cli.loading import AsJson, Svg, Target, Workers, load_flow
from actorflow.cli.reports import (
    check_svg,
    describe_run,
    event_as_json,
    listing,
    rendered,
    run_as_json,
    summary_as_json,
    write_svg,
)
from actorflow.cli.running import Order, print_json, show
from actorflow.cli.terminal.exits import Problem, exit_statuses
from actorflow.cli.terminal.values import as_json as to_json
from actorflow.errors.definition import DefinitionError
from actorflow.errors.storage import NotRestorable
from actorflow.model.lifecycle import RunStatus
from actorflow.orchestrator.powers import powers_of
from actorflow.orchestrator.remote_cancel import Fate, cancel_unattended
from actorflow.support.clock import SystemClock
from actorflow.views import draw_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.model.events import Event
    from actorflow.model.results import RunPage, RunSnapshot
    from actorflow.state.sql import SQLStateManager

__all__ = ["cancel", "runs"]

_PAGE: Final = 1000
_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}

RunId = Annotated[str, typer.Argument(metavar="RUN_ID", help="The run's id.")]
Filter = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="Only runs started with this id.", show_default=False),
]
Limit = Annotated[int, typer.Option(min=0, metavar="N", help="The maximum number to show.")]


runs: typer.Typer = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@runs.callback()
def _runs() -> None:
    """List, show, resume, cancel and delete runs in a database."""


@runs.command("list")
def list_(
    *,
    db: Database,
    status: Annotated[
        RunStatus | None,
        typer.Option(help="Only runs with this status.", case_sensitive=False, show_default=False),
    ] = None,
    workflow: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Only runs of this workflow.", show_default=False),
    ] = None,
    trace_id: Filter = None,
    correlation_id: Filter = None,
    business_id: Filter = None,
    limit: Limit = 50,
    offset: Annotated[int, typer.Option(min=0, metavar="N", help="The number to skip.")] = 0,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first."""
    with exit_statuses(), opened(db) as state:
        page = state.list(
            status=status,
            workflow_id=workflow,
            trace_id=trace_id,
            correlation_id=correlation_id,
            business_id=business_id,
            limit=limit,
            offset=offset,
        )
        if as_json:
            _dump({"total": page.total, "runs": [summary_as_json(run) for run in page.runs]})
            return
        if page.runs:
            _print(rendered(listing(page.runs), Console()))
        sys.stderr.writelines(f"{line}\n" for line in _remaining(page, offset))


@runs.command("show")
def show_(
    run_id: RunId,
    *,
    db: Database,
    flow: Annotated[
        str | None,
        typer.Option(
            metavar="FILE[:FLOW]",
            help="The run's workflow, to show its steps as a tree.",
            show_default=False,
        ),
    ] = None,
    svg: Svg = None,
    as_json: AsJson = False,
) -> None:
    """Show a run: its steps, their outputs and errors, and a chart of when each ran."""
    with exit_statuses(), opened_run(run_id, "show", db) as (state, run):
        check_svg(svg)
        write_svg(svg, state.events(run_id) if svg else ())
        if as_json:
            _dump(run_as_json(run))
            return
        plan = None if flow is None else _plan(flow, run, db)
        _print(describe_run(run, state.events(run_id), plan, Console()))


@runs.command("events")
def events_(
    run_id: RunId,
    *,
    db: Database,
    after: Annotated[
        int, typer.Option(min=0, metavar="N", help="Only events with a number greater than N.")
    ] = 0,
    limit: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="The maximum number to print.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the events of a run, one per line."""
    with exit_statuses(), opened_run(run_id, "events", db) as (state, run):
        events = _events(state, run_id, after, limit)
        _print(_events_as_json(events) if as_json else _lines(events, run.created_at))


@runs.command()
def resume(
    run_id: RunId,
    target: Target,
    *,
    db: Database,
    workers: Workers = 10,
    as_json: AsJson = False,
) -> None:
    """Resume a failed, cancelled or interrupted run in this process.

    Completed steps do not run again. Ctrl-C cancels the run; pressed twice, it exits at once.
    """
    with exit_statuses():
        with opened(db) as state:
            _check_resumable(state, run_id, db)

        def order() -> Order:
            flow = load_flow(target, _command_prefix(f"runs resume {shlex.quote(run_id)}", db))
            return Order(
                flow=flow,
                inputs={},
                workers=workers,
                timeout=None,
                state=store(db),
                resumed=run_id,
            )

        status = print_json(order) if as_json else show(order)
    raise typer.Exit(status)


@runs.command()
def cancel(
    run_id: RunId,
    *,
    db: Database,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="The reason, recorded with the run.")
    ] = "cancelled from the command line",
    compensate: Annotated[
        bool, typer.Option("--compensate", help="Also compensate the steps that completed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Cancel a run, or ask its owner to cancel it."""
    with exit_statuses(), opened_run(run_id, "cancel", db) as (state, run):
        message = _cancel_recorded(state, run, reason, compensate=compensate, db=db)
        if as_json:
            _dump(run_as_json(state.snapshot(run_id)))
        else:
            _print([f"run {run_id}: {message}"])


@runs.command()
def purge(
    *,
    db: Database,
    older_than: Annotated[
        str | None,
        typer.Option(
            metavar="AGE",
            help="Delete runs that ended longer ago: seconds, or for example 90m, 12h, 30d, 4w.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Delete all but the N most recently ended runs.",
            show_default=False,
        ),
    ] = None,
    keys_older_than: Annotated[
        str, typer.Option(metavar="AGE", help="Also delete older idempotency keys of deleted runs.")
    ] = "30d",
    as_json: AsJson = False,
) -> None:
    """Permanently delete ended runs that exceed at least one of the limits."""
    with exit_statuses():
        if older_than is None and keep is None:
            raise Problem("purge needs a limit, such as --older-than 30d or --keep 1000.")
        age = None if older_than is None else _age("--older-than", older_than)
        keys = _age("--keys-older-than", keys_older_than)
        with opened(db) as state:
            report = state.purge(older_than=age, keep=keep, keys_older_than=keys)
        if as_json:
            _dump(to_json(report))
        else:
            counts = attrs.asdict(report).items()
            _print(["deleted " + ", ".join(_counted(name, count) for name, count in counts)])


def _print(lines: Iterator[str] | list[str]) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")


def _remaining(page: RunPage, offset: int) -> Iterator[str]:
    shown = offset + len(page.runs)
    if not page.total:
        yield "no runs"
    elif offset >= page.total:
        yield f"no runs beyond the first {page.total:,}"
    elif not page.runs:
        yield f"{page.total - shown:,} more; to see them, raise --limit"
    elif shown < page.total:
        yield f"{page.total - shown:,} more; to see them, add --offset {shown}"


def _dump(value: object) -> None:
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")


def _command_prefix(command: str, db: str) -> str:
    """Return the start of a command line for the same database, up to its workflow."""
    return command_line(command, db).removeprefix("actorflow ")


def _plan(target: str, run: RunSnapshot, db: str) -> WorkflowPlan:
    show = _command_prefix(f"runs show {shlex.quote(run.run_id)}", db)
    plan = load_flow(target, f"{show} --flow").plan()
    if set(plan.by_id) != set(run.steps):
        problem = f"its steps differ from those of run {run.run_id!r} of {run.workflow_id!r}"
        raise DefinitionError(plan.workflow_id, problem, "Omit --flow, or name the right workflow")
    return plan


def _events(state: SQLStateManager, run_id: str, after: int, limit: int | None) -> Iterator[Event]:
    """Yield events, loading one page at a time."""
    while limit is None or limit > 0:
        page = state.events(run_id, after=after, limit=min(_PAGE, limit or _PAGE))
        yield from page
        if not page:
            return
        after = page[-1].number
        limit = None if limit is None else limit - len(page)


def _lines(events: Iterator[Event], accepted_at: float) -> Iterator[str]:
    for event in events:
        yield draw_line(event, accepted_at)


def _events_as_json(events: Iterator[Event]) -> Iterator[str]:
    """Yield the lines of a JSON array, one event per line."""
    before = "["
    for event in events:
        yield before + json.dumps(event_as_json(event))
        before = ","
    yield "[]" if before == "[" else "]"


def _check_resumable(state: SQLStateManager, run_id: str, db: str) -> None:
    try:
        run = find(state, run_id, "resume", db)
    except NotRestorable as error:
        if error.serializer is None:
            raise
        problem = f"run {run_id!r} was written by the serializer {error.serializer!r}"
        raise Problem(
            f"{problem}. Resume it from a program with that serializer, by orchestrator.resume()"
        ) from None
    if run.status is RunStatus.COMPLETED:
        cure = f"To see it, type: {command_line(f'runs show {shlex.quote(run.run_id)}', db)}"
        raise Problem(f"run {run.run_id!r} has completed and cannot be resumed. {cure}")


def _counted(things: str, count: int) -> str:
    return f"{count:,} {things if count != 1 else things.removesuffix('s')}"


def _age(option: str, text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw]?)", text.strip())
    if found is None:
        raise Problem(f"{option} {text!r} is not an age. Type seconds, or 90m, 12h, 30d or 4w")
    return float(found[1]) * _UNITS[found[2]]


def _cancel_recorded(
    state: SQLStateManager, run: RunSnapshot, reason: str, *, compensate: bool, db: str
) -> str:
    """Cancel a run, or request it; return a message about the outcome.

    Compensation needs the run's workflow, so it is always left to the run's owner, current or
    future.

    Raises:
        Problem: When there is nothing to cancel.
    """
    _check(run, db)
    powers, clock = powers_of(state), SystemClock()
    fate = cancel_unattended(powers, run.run_id, clock, reason, compensate=compensate)
    if fate is Fate.ASKED:
        see = command_line(f"runs show {shlex.quote(run.run_id)}", db)
        return (
            "asked its owner to cancel it; the owner hears of the request within a moment, or at "
            f"the latest when it next renews its lease. To see it, type: {see}"
        )
    if fate is Fate.KEPT:
        resume = command_line(f"runs resume {shlex.quote(run.run_id)} FILE[:FLOW]", db)
        return f"it has no owner now; to compensate it with its workflow, type: {resume}"
    if fate is Fate.NOTHING:  # it has just ended
        _check(state.snapshot(run.run_id), db)
    return f"{RunStatus.CANCELLED.value}; it had no owner"


def _check(run: RunSnapshot, db: str) -> None:
    if run.status.terminal:
        raise Problem(f"run {run.run_id!r} has already ended ({run.status.value}).")
    if run.status is RunStatus.COMPENSATING:
        resume = command_line(f"runs resume {shlex.quote(run.run_id)} FILE[:FLOW]", db)
        raise Problem(
            f"run {run.run_id!r} is already being compensated, which cannot be cancelled. If it "
            f"has no owner, type: {resume}"
        )
