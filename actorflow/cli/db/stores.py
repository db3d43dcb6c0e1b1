"""Access to the database, and to a run in it, for commands."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from actorflow.cli.terminal.exits import Problem
from actorflow.errors.storage import NotRestorable, RunNotFound
from actorflow.state.sql import JSONSerializer, SQLStateManager
from actorflow.state.sql.options import needs_extra
from actorflow.support.suggestions import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from actorflow.model.results import RunSnapshot
    from actorflow.state.sql import Serializer

__all__ = [
    "DATABASE",
    "Database",
    "command_line",
    "find",
    "missing_file",
    "no_database",
    "opened",
    "opened_run",
    "store",
    "unreadable",
]

DATABASE: Final = "ACTORFLOW_DB"
"""The environment variable with the database's URL, used when no option is given."""
_RECENT: Final = 200
"""How many of the newest runs are searched for a similar run id."""

Database = Annotated[
    str,
    typer.Option(
        "--db",
        metavar="URL",
        envvar=DATABASE,
        help="For example sqlite:///runs.db or postgresql://user@host/database.",
        show_default=False,
    ),
]


class _PlainFallback(JSONSerializer):
    """Reads values as plain JSON when their classes are not available.

    Showing a run does not require the program that recorded it.
    """

    def loads(self, text: str, /) -> Any:
        try:
            return super().loads(text)
        except NotRestorable:
            return json.loads(text)


class _UnavailableSerializer:
    """Stands in for a custom serializer that is not available here.

    Args:
        name: The name of that serializer.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def dumps(self, value: Any, /) -> str:
        raise TypeError(f"the serializer {self.name!r} is not available")

    def loads(self, _text: str, /) -> Any:
        return unreadable(self.name)


def unreadable(serializer: str | None) -> dict[str, str]:
    """Return the placeholder for a value that only another serializer can read."""
    return {"unread": f"the serializer {serializer!r} wrote it"}


def store(url: str, serializer: Serializer | None = None) -> SQLStateManager:
    """Return a state manager for an existing database.

    Args:
        url: The database.
        serializer: Reads and writes values; actorflow's own by default.

    Raises:
        Problem: When the database is a file that does not exist.
        DefinitionError: When the URL is invalid.
        MissingExtra: When the extra `sql` is not installed.
        StoreError: When it cannot be reached, or its tables have another version.
    """
    with needs_extra("--db"):
        file = missing_file(url)
    if file is not None:  # SQLite would create an empty one
        raise Problem(no_database(file, url))
    return SQLStateManager(url, serializer=serializer)


def missing_file(url: str) -> Path | None:
    """Return the file of a database if it does not exist.

    Raises:
        DefinitionError: When the URL is invalid.
    """
    from actorflow.state.sql.engines import file_of  # noqa: PLC0415 - part of the extra

    file = file_of(url)
    return None if file is None or file.exists() else file


def no_database(file: Path, url: str) -> str:
    """Return a message that there is no database, and how to create it."""
    cure = f"To create it, type: actorflow db upgrade {shlex.quote(url)}"
    return f"there is no database {file}. {cure}"


@contextlib.contextmanager
def opened(url: str, serializer: Serializer | None = None) -> Iterator[SQLStateManager]:
    """Yield a state manager to read runs with, and close it afterwards; see `store`.

    Values that cannot be read are shown in a simplified form.
    """
    state = store(url, _PlainFallback() if serializer is None else serializer)
    try:
        yield state
    finally:
        state.close()


@contextlib.contextmanager
def opened_run(run_id: str, command: str, db: str) -> Iterator[tuple[SQLStateManager, RunSnapshot]]:
    """Yield a state manager and a run, even if another serializer wrote the run.

    Args:
        run_id: The run.
        command: The subcommand of `actorflow runs`, for error texts.
        db: The database.
    """
    with contextlib.ExitStack() as stack:
        state = stack.enter_context(opened(db))
        try:
            run = find(state, run_id, command, db)
        except NotRestorable as error:
            if error.serializer is None:
                raise
            state = stack.enter_context(opened(db, _UnavailableSerializer(error.serializer)))
            run = find(state, run_id, command, db)
        yield state, run


def command_line(command: str, db: str) -> str:
    """Return a command line for the same database."""
    known = os.environ.get(DATABASE) == db
    return f"actorflow {command}" + ("" if known else f" --db {shlex.quote(db)}")


def find(state: SQLStateManager, run_id: str, command: str, db: str) -> RunSnapshot:
    """Return the current state of a run.

    Raises:
        Problem: When there is no such run; the text suggests a similar id.
    """
    try:
        return state.snapshot(run_id)
    except RunNotFound:
        pass
    page = state.list(limit=_RECENT)
    known = [run.run_id for run in page.runs]
    similar = _similar(run_id, known)
    said = f"there is no run {run_id!r}"
    if similar is not None:
        asked = command_line(f"runs {command} {shlex.quote(similar)}", db)
        raise Problem(f"{said}. Did you mean: {asked}")
    if not known:
        raise Problem(f"{said}: the database has no runs. Is it the right one?")
    raise Problem(
        f"{said} among {page.total:,}. For their ids, type: {command_line('runs list', db)}"
    )


def _similar(run_id: str, known: Sequence[str]) -> str | None:
    with_prefix = [it for it in known if run_id and it.startswith(run_id)]
    return with_prefix[0] if len(with_prefix) == 1 else nearest(run_id, known)
