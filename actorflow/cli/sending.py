"""The command `actorflow runs send`."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from actorflow.cli.databases import Database, opened_run
from actorflow.cli.inputs import read_text
from actorflow.cli.terminal.exits import Problem, exit_statuses
from actorflow.errors.running import RunEnded
from actorflow.model.mail import checked_message
from actorflow.support.clock import SystemClock

__all__ = ["send"]


def send(
    run_id: Annotated[str, typer.Argument(metavar="RUN_ID", help="The run's id.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the message.")],
    payload: Annotated[
        str,
        typer.Argument(
            metavar="[JSON]",
            help="What comes with it: JSON, @ and the path of a file, or - for stdin.",
            show_default=False,
        ),
    ] = "null",
    *,
    db: Database,
    id_: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="TEXT",
            help="Send it once: nothing happens if the run was sent this name with this id.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Send a message to a run, for a step that waits for it."""
    with exit_statuses():
        checked = checked_message(name, id_)
        value = _value(payload)
        clock = SystemClock()
        with opened_run(run_id, "send", db) as (state, _):
            try:
                state.send_message(run_id, checked[0], value, checked[1], clock.wall(clock.now()))
            except RunEnded as error:
                raise Problem(str(error)) from None
        sys.stdout.write(f"run {run_id}: message {name!r} is recorded\n")


def _value(text: str) -> Any:
    try:
        return json.loads(read_text(text, "the payload"))
    except (ValueError, RecursionError) as error:
        cure = "A string is JSON in double quotes: '\"yes\"'"
        raise Problem(f"the payload is not JSON: {error}. {cure}") from None
