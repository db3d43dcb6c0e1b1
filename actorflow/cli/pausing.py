"""The commands `actorflow runs pause` and `actorflow runs unpause`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from actorflow.cli.bulk import Bulk, DryRun, Yes, act_on_all
from actorflow.cli.databases import Database, opened, opened_run
from actorflow.cli.filters import Filters, takes_filters
from actorflow.cli.loading import AsJson  # noqa: TC001 - typer reads it
from actorflow.cli.reports import run_as_json
from actorflow.cli.terminal.exits import Problem, exit_statuses
from actorflow.errors.running import RunEnded
from actorflow.model.pausing import Pause
from actorflow.support.clock import SystemClock
from actorflow.views.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actorflow.model.records import RunSnapshot
    from actorflow.state.sql import SQLStateManager

    Act = Callable[[SQLStateManager, RunSnapshot], str]

__all__ = ["pause", "unpause"]

_RunId = Annotated[
    str | None, typer.Argument(metavar="[RUN_ID]", help="The run's id, unless there are filters.")
]


@takes_filters
def pause(
    run_id: _RunId = None,
    *,
    db: Database,
    filters: Filters,
    dry_run: DryRun = False,
    yes: Yes = False,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="The reason, recorded with the run.")
    ] = "paused from the command line",
    freeze: Annotated[
        bool, typer.Option("--freeze", help="Let the clocks of the run stand still as well.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Pause a run, or all runs that the filters find.

    What runs goes on to its end. A run that another process owns is paused by that process.
    """
    wanted = Pause(reason=reason, freeze=freeze)

    def act(state: SQLStateManager, run: RunSnapshot) -> str:
        return _pause(state, run, wanted)

    def found(state: SQLStateManager) -> Iterable[RunSnapshot]:
        runs = filters.found(state)
        return [run for run in runs if not run.status.terminal and run.paused is None]

    with exit_statuses():
        command = _Command("pause", run_id, db, dry_run=dry_run, yes=yes, as_json=as_json)
        command.follow(filters, found, act)


@takes_filters
def unpause(
    run_id: _RunId = None,
    *,
    db: Database,
    filters: Filters,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Let a paused run go on, or all paused runs that the filters find."""
    with exit_statuses():
        command = _Command("unpause", run_id, db, dry_run=dry_run, yes=yes, as_json=as_json)
        command.follow(filters, lambda state: list(filters.found(state, paused=True)), _unpause)


class _Command:
    """A command for one run or several, as it was typed."""

    def __init__(
        self, verb: str, run_id: str | None, db: str, *, dry_run: bool, yes: bool, as_json: bool
    ) -> None:
        self._verb = verb
        self._run_id = run_id
        self._db = db
        self._options = {"dry_run": dry_run, "yes": yes, "as_json": as_json}

    def follow(
        self,
        filters: Filters,
        found: Callable[[SQLStateManager], Iterable[RunSnapshot]],
        act: Act,
    ) -> None:
        """Act on the run, or on those that the filters find.

        Raises:
            Problem: When neither a run is named nor a filter given, or both.
        """
        if (self._run_id is not None) == filters.given:
            cure = "Name the run, or type filters such as --workflow ID"
            raise Problem(f"{self._verb} takes a run's id or filters, one of the two. {cure}")
        if self._run_id is not None:
            self._one(self._run_id, act)
            return
        with opened(self._db) as state:
            bulk = Bulk(verb=self._verb, runs=[*found(state)], **self._options)
            if bulk.agreed():
                act_on_all(bulk, state, self._db, act)

    def _one(self, run_id: str, act: Act) -> None:
        with opened_run(run_id, self._verb, self._db) as (state, run):
            try:
                message = act(state, run)
            except RunEnded as ended:
                raise Problem(str(ended)) from None
            if self._options["as_json"]:
                typer.echo(json.dumps(run_as_json(state.snapshot(run_id)), indent=2))
            else:
                typer.echo(f"run {printable(run_id)}: {message}")


def _pause(state: SQLStateManager, run: RunSnapshot, wanted: Pause) -> str:
    """Pause a run; return a message about the outcome."""
    clock = SystemClock()
    state.pause_run(run.run_id, wanted, clock.wall(clock.now()))
    if run.paused is not None:
        return f"it was paused already: {printable(run.paused)}"
    return f"paused; {_heard(run)}"


def _unpause(state: SQLStateManager, run: RunSnapshot) -> str:
    """Let a run go on; return a message about the outcome."""
    state.unpause_run(run.run_id)
    return "it was not paused" if run.paused is None else f"unpaused; {_heard(run)}"


def _heard(run: RunSnapshot) -> str:
    if run.owner is None:
        return "it has no owner"
    return "its owner hears of it within a moment, or at the latest when it next renews its lease"
