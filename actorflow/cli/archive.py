"""The commands around recorded runs: `actorflow runs list`, `show`, `events` and the others."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from actorflow.cli import records
from actorflow.cli.problems import Problem
from actorflow.clock import SystemClock
from actorflow.lifecycle import RunStatus
from actorflow.once import Once, settle
from actorflow.orchestrator.filters import count, run_status
from actorflow.orchestrator.withdrawal import cancelled
from actorflow.state.sql import SQLStateManager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    _Told = Callable[[], AbstractContextManager[None]]

__all__ = ["Database", "archive", "opened"]

Database = Annotated[
    str,
    typer.Option(
        "--db",
        metavar="URL",
        envvar="ACTORFLOW_DB",
        help="Where runs are recorded, such as sqlite:///runs.db.",
    ),
]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="The id of a run.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")]
Filter = Annotated[str | None, typer.Option(metavar="TEXT", show_default=False)]
Age = Annotated[str | None, typer.Option(metavar="AGE", show_default=False)]

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


@contextlib.contextmanager
def opened(url: str, *, create: bool = False) -> Iterator[SQLStateManager]:
    """Yield the state manager of a database."""
    with contextlib.closing(SQLStateManager(url, create=create)) as state:
        yield state


def archive(told: _Told, resume: Callable[[str, str, str], int]) -> typer.Typer:
    """Return the commands.

    Args:
        told: Entered around each, to turn what goes wrong into a text and an exit status.
        resume: Lets a run go on, given the database, its id and where its workflow is.
    """
    commands = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

    @commands.callback()
    def _runs() -> None:
        """Look at recorded runs, and look after them."""

    _add_list(commands, told)
    _add_looks(commands, told)
    _add_cares(commands, told, resume)
    return commands


def _add_list(commands: typer.Typer, told: _Told) -> None:
    @commands.command("list")
    def _list(
        *,
        db: Database,
        status: Filter = None,
        workflow: Filter = None,
        trace_id: Filter = None,
        correlation_id: Filter = None,
        business_id: Filter = None,
        limit: int = 50,
        offset: int = 0,
        as_json: AsJson = False,
    ) -> None:
        """List runs, the newest first."""
        with told(), opened(db) as state:
            page = state.list(
                status=None if status is None else run_status(status),
                workflow_id=workflow,
                trace_id=trace_id,
                correlation_id=correlation_id,
                business_id=business_id,
                limit=count("limit", limit),
                offset=count("offset", offset),
            )
            if as_json:
                runs = [records.run_as_json(run) for run in page.runs]
                _print_json({"runs": runs, "total": page.total})
            else:
                _print(records.listing(page, offset))


def _add_looks(commands: typer.Typer, told: _Told) -> None:
    @commands.command()
    def show(run: RunId, *, db: Database, as_json: AsJson = False) -> None:
        """Show a run: its steps as a tree, and its time as a chart."""
        with told(), opened(db) as state:
            snapshot = state.snapshot(run)
            if as_json:
                _print_json(records.run_as_json(snapshot))
            else:
                columns = shutil.get_terminal_size().columns
                _print(records.portrait(snapshot, state.events(run), columns))

    @commands.command()
    def events(
        run: RunId,
        *,
        db: Database,
        after: Annotated[int, typer.Option(metavar="N", help="Only those after number N.")] = 0,
        as_json: AsJson = False,
    ) -> None:
        """Print what has happened in a run; as JSON, an object a line."""
        with told(), opened(db) as state:
            found = state.events(run, after=after)
            if as_json:
                _print(json.dumps(records.event_as_json(event)) for event in found)
            else:
                _print(records.event_lines(state.snapshot(run), found))


def _add_cares(commands: typer.Typer, told: _Told, resume: Callable[[str, str, str], int]) -> None:
    @commands.command("resume")
    def _resume(
        run: RunId,
        target: Annotated[
            str, typer.Argument(metavar="FILE[:FLOW]", help="Where its workflow stands.")
        ],
        *,
        db: Database,
    ) -> None:
        """Let a run go on here: one that has failed, was cancelled, or was left behind."""
        with told():
            status = resume(db, run, target)
        raise typer.Exit(status)

    @commands.command()
    def cancel(
        run: RunId,
        *,
        db: Database,
        reason: Annotated[str, typer.Option(metavar="TEXT")] = "cancelled by its owner",
    ) -> None:
        """Cancel a run that nobody runs: one that waits in a queue, is parked, or was left behind.

        A run in progress is cancelled by its own orchestrator.
        """
        with told(), opened(db) as state:
            _cancel(state, run, reason)
            _print([f"{run} is cancelled"])

    @commands.command()
    def purge(
        *,
        db: Database,
        older_than: Age = None,
        keep: Annotated[int | None, typer.Option(metavar="N", show_default=False)] = None,
        keys_older_than: Age = None,
    ) -> None:
        """Delete runs that have ended, by age (such as 30d or 12h), by count, or both."""
        with told(), opened(db) as state:
            purged = state.purge(
                older_than=_seconds(older_than),
                keep=keep,
                keys_older_than=_seconds(keys_older_than),
            )
            _print([f"{purged.runs} runs and {purged.keys} idempotency keys are deleted"])


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")


def _print_json(value: Any) -> None:
    _print([json.dumps(value, indent=2)])


def _seconds(age: str | None) -> float | None:
    """Return what an age such as `30d` comes to."""
    if age is None:
        return None
    read = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", age)
    if read is None:
        raise Problem(f"{age!r} is no age. Write a number and a unit: 90s, 15m, 12h or 30d.")
    return float(read[1]) * _UNITS[read[2] or "s"]


def _cancel(state: SQLStateManager, run_id: str, reason: str) -> None:
    """Take up a run, and record its end."""
    snapshot = state.snapshot(run_id)
    if not snapshot.status.terminal:
        snapshot = state.claim(run_id)
    if snapshot.status not in {RunStatus.PENDING, RunStatus.RUNNING}:
        hint = "let it finish that with resume" if not snapshot.status.terminal else "it has ended"
        raise Problem(f"run {run_id!r} is {snapshot.status.value}: {hint}.")
    clock = SystemClock()
    recorded = len(state.events(run_id))
    done: Once[None] = Once()
    events = cancelled(snapshot, recorded, clock.wall(clock.now()), reason)
    if state.record(events, lambda error: settle(done, error)):
        done.set(None)
    done.result()
