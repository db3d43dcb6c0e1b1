"""The commands `actorflow runs`: list, show, resume, cancel, pause, send, purge and the like."""

from __future__ import annotations

import json
import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import attrs
import typer
from rich.console import Console

from actorflow.cli.bulk import (
    Bulk,
    DryRun,
    Yes,
    act_on_all,
    cancellable,
    one_or_all,
    resumable,
    resume_all,
)
from actorflow.cli.databases import Database, command_line, find, opened, opened_run, store
from actorflow.cli.families import children_as_json, describe_family
from actorflow.cli.filters import Filters, age, takes_filters
from actorflow.cli.following import followed, recorded
from actorflow.cli.loading import AsJson, Svg, Workers, load_flow
from actorflow.cli.pausing import pause, unpause
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
from actorflow.cli.sending import send
from actorflow.cli.stats import Stats
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
    from actorflow.model.records import RunPage, RunSnapshot
    from actorflow.state.sql import SQLStateManager

__all__ = ["cancel", "runs"]

RunId = Annotated[str, typer.Argument(metavar="RUN_ID", help="The run's id.")]
Limit = Annotated[int, typer.Option(min=0, metavar="N", help="The maximum number to show.")]


runs: typer.Typer = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@runs.callback()
def _runs() -> None:
    """List, show, change and delete runs in a database."""


runs.command()(send)


@runs.command("list")
@takes_filters
def list_(
    *,
    db: Database,
    filters: Filters,
    limit: Limit = 50,
    offset: Annotated[int, typer.Option(min=0, metavar="N", help="The number to skip.")] = 0,
    cursor: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Continue after the page that printed it (`next_cursor` of --json).",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first."""
    with exit_statuses(), opened(db) as state:
        page = state.list(**filters.asked(), limit=limit, offset=offset, cursor=cursor)
        if as_json:
            listed = [summary_as_json(run) for run in page.runs]
            _dump({"total": page.total, "next_cursor": page.next_cursor, "runs": listed})
            return
        if page.runs:
            _print(rendered(listing(page.runs), Console()))
        remaining = _remaining(page, offset) if cursor is None else _following(page)
        sys.stderr.writelines(f"{line}\n" for line in remaining)


@runs.command("stats")
@takes_filters
def stats_(*, db: Database, filters: Filters, as_json: AsJson = False) -> None:
    """Count runs; show what is stuck, and who owns runs."""
    with exit_statuses(), opened(db) as state:
        stats = Stats.of(state, filters)
        if as_json:
            _dump(stats.as_json())
            return
        for part in stats.lines():
            _print(rendered(part, Console()))


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
    """Show a run: its steps, outputs, errors, chart and children."""
    with exit_statuses(), opened_run(run_id, "show", db) as (state, run):
        check_svg(svg)
        write_svg(svg, state.events(run_id) if svg else ())
        if as_json:
            _dump(run_as_json(run) | {"children": children_as_json(state, run.run_id)})
            return
        plan = None if flow is None else _plan(flow, run, db)
        clock = SystemClock()
        now = clock.wall(clock.now())
        _print(describe_run(run, state.events(run_id), plan, Console(), now))
        _print(describe_family(state, run))


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
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print further events until the run has ended.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the events of a run, one per line."""
    with exit_statuses(), opened_run(run_id, "events", db) as (state, run):
        events = (followed if follow else recorded)(state, run_id, after, limit)
        _print(_events_as_json(events) if as_json else _lines(events, run.created_at))


@runs.command()
@takes_filters
def resume(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="[RUN_ID] FILE[:FLOW]",
            help="The run's id, unless there are filters, and the workflow.",
        ),
    ],
    *,
    db: Database,
    filters: Filters,
    dry_run: DryRun = False,
    yes: Yes = False,
    workers: Workers = 10,
    as_json: AsJson = False,
) -> None:
    """Resume failed, cancelled or interrupted runs in this process.

    Resumes one run by its id, or all runs of the workflow that the filters find: failed and
    cancelled ones, unless --status says otherwise. Completed steps do not run again. Ctrl-C cancels
    what runs; pressed twice, it exits at once.
    """
    with exit_statuses():
        run_id, target = one_or_all(names, filters)
        if run_id is not None:
            status = _resume_one(run_id, target, db, workers, as_json=as_json)
        else:
            flow = load_flow(target, _command_prefix("runs resume", db))
            with opened(db) as state:
                found = resumable(state, filters, flow)
            bulk = Bulk(verb="resume", runs=found, dry_run=dry_run, yes=yes, as_json=as_json)
            status = resume_all(bulk, flow, db, workers) if bulk.agreed() else 0
    raise typer.Exit(status)


def _resume_one(run_id: str, target: str, db: str, workers: int, *, as_json: bool) -> int:
    with opened(db) as state:
        _checkresumable(state, run_id, db)

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

    return print_json(order) if as_json else show(order)


@runs.command()
@takes_filters
def cancel(
    run_id: Annotated[
        str | None,
        typer.Argument(metavar="[RUN_ID]", help="The run's id, unless there are filters."),
    ] = None,
    *,
    db: Database,
    filters: Filters,
    dry_run: DryRun = False,
    yes: Yes = False,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="The reason, recorded with the run.")
    ] = "cancelled from the command line",
    compensate: Annotated[
        bool, typer.Option("--compensate", help="Also compensate the steps that completed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Cancel a run, or all runs that the filters find.

    A run that another process owns is cancelled by that process, which is asked to.
    """

    def cancel_recorded(state: SQLStateManager, run: RunSnapshot) -> str:
        return _cancel_recorded(state, run, reason, compensate=compensate, db=db)

    with exit_statuses():
        if (run_id is not None) == filters.given:
            cure = "Name the run, or type filters such as --workflow ID"
            raise Problem(f"cancel takes a run's id or filters, one of the two. {cure}")
        if run_id is None:
            with opened(db) as state:
                found = cancellable(state, filters)
                bulk = Bulk(verb="cancel", runs=found, dry_run=dry_run, yes=yes, as_json=as_json)
                if bulk.agreed():
                    act_on_all(bulk, state, db, cancel_recorded)
            return
        with opened_run(run_id, "cancel", db) as (state, run):
            message = cancel_recorded(state, run)
            if as_json:
                _dump(run_as_json(state.snapshot(run_id)))
            else:
                _print([f"run {run_id}: {message}"])


runs.command()(pause)
runs.command()(unpause)


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
    """Delete ended runs permanently.

    A run is deleted if it exceeds at least one of the limits.
    """
    with exit_statuses():
        if older_than is None and keep is None:
            raise Problem("purge needs a limit, such as --older-than 30d or --keep 1000.")
        oldest = None if older_than is None else age("--older-than", older_than)
        keys = age("--keys-older-than", keys_older_than)
        with opened(db) as state:
            report = state.purge(older_than=oldest, keep=keep, keys_older_than=keys)
        if as_json:
            _dump(to_json(report))
        else:
            counts = attrs.asdict(report).items()
            _print(["deleted " + ", ".join(_counted(name, count) for name, count in counts)])


def _print(lines: Iterator[str] | list[str]) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()  # a line may be followed by a wait


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


def _following(page: RunPage) -> Iterator[str]:
    if not page.runs:
        yield "no further runs"
    elif page.next_cursor is not None:
        yield f"there are more; to see them, add --cursor {page.next_cursor}"


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


def _lines(events: Iterator[Event], accepted_at: float) -> Iterator[str]:
    for event in events:
        yield draw_line(event, accepted_at)


def _events_as_json(events: Iterator[Event]) -> Iterator[str]:
    """Yield the lines of a JSON array, one event per line; Ctrl-C ends the array as well."""
    before, interrupted = "[", None
    try:
        for event in events:
            yield before + json.dumps(event_as_json(event))
            before = ","
    except KeyboardInterrupt as stop:
        interrupted = stop
    yield "[]" if before == "[" else "]"
    if interrupted is not None:
        raise interrupted


def _checkresumable(state: SQLStateManager, run_id: str, db: str) -> None:
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
