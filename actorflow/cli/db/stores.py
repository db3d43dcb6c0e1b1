"""The database that a command is about, and the run in it."""

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
from actorflow.state.sql.extras import needs_extra
from actorflow.support.suggestions import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from actorflow.model.results import RunSnapshot
    from actorflow.state.sql import Serializer

__all__ = [
    "DATABASE",
    "Database",
    "find",
    "looking_at",
    "missing_file",
    "nothing_there",
    "opened",
    "store",
    "typed",
    "unread",
]

DATABASE: Final = "ACTORFLOW_DB"
"""The environment variable that names the database when nothing else does."""
_RECENT: Final = 200
"""How many of the newest runs are looked at for the one that may be meant."""

Database = Annotated[
    str,
    typer.Option(
        "--db",
        metavar="URL",
        envvar=DATABASE,
        help="Such as sqlite:///runs.db or postgresql://user@host/database.",
        show_default=False,
    ),
]


class _Readable(JSONSerializer):
    """Shows values of classes that are not there as the database has them.

    To look at a run, nobody need have the program that made it.
    """

    def loads(self, text: str, /) -> Any:
        try:
            return super().loads(text)
        except NotRestorable:
            return json.loads(text)


class _Foreign:
    """Stands for the serializer of somebody's program, which is not at hand.

    Args:
        name: What it is called.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def dumps(self, value: Any, /) -> str:
        raise TypeError(f"the serializer {self.name!r} is not at hand")

    def loads(self, _text: str, /) -> Any:
        return unread(self.name)


def unread(serializer: str | None) -> dict[str, str]:
    """Return what is shown in place of a value that only another serializer can read."""
    return {"unread": f"the serializer {serializer!r} wrote it"}


def store(url: str, serializer: Serializer | None = None) -> SQLStateManager:
    """Return what keeps runs in a database that is there.

    Args:
        url: The database.
        serializer: Reads and writes values; actorflow's own by default.

    Raises:
        Problem: When it is a file, and there is none.
        DefinitionError: When the URL is none.
        MissingExtra: When the extra `sql` is not installed.
        StoreError: When it cannot be reached, or its tables are not those of this version.
    """
    with needs_extra("--db"):
        file = missing_file(url)
    if file is not None:  # SQLite would make one, empty
        raise Problem(nothing_there(file, url))
    return SQLStateManager(url, serializer=serializer)


def missing_file(url: str) -> Path | None:
    """Return the file that a database would be in and that is not there.

    Raises:
        DefinitionError: When the URL is none.
    """
    from actorflow.state.sql.database.engines import file_of  # noqa: PLC0415 - it comes with the extra

    file = file_of(url)
    return None if file is None or file.exists() else file


def nothing_there(file: Path, url: str) -> str:
    """Say that there is no database, and what to do."""
    cure = f"To make it, type: actorflow db upgrade {shlex.quote(url)}"
    return f"there is no database {file}. {cure}"


@contextlib.contextmanager
def opened(url: str, serializer: Serializer | None = None) -> Iterator[SQLStateManager]:
    """Yield what lets one look at runs in a database, and close it afterwards; see `store`.

    Values that cannot be read are shown as something else than they are.
    """
    state = store(url, _Readable() if serializer is None else serializer)
    try:
        yield state
    finally:
        state.close()


@contextlib.contextmanager
def looking_at(run_id: str, command: str, db: str) -> Iterator[tuple[SQLStateManager, RunSnapshot]]:
    """Yield what lets one look at a run, and the run, also if another serializer wrote it.

    Args:
        run_id: The run.
        command: What was typed after `actorflow runs`, for the errors.
        db: The database.
    """
    with contextlib.ExitStack() as stack:
        state = stack.enter_context(opened(db))
        try:
            run = find(state, run_id, command, db)
        except NotRestorable as error:
            if error.serializer is None:
                raise
            state = stack.enter_context(opened(db, _Foreign(error.serializer)))
            run = find(state, run_id, command, db)
        yield state, run


def typed(command: str, db: str) -> str:
    """Return what to type for a command about the same database."""
    known = os.environ.get(DATABASE) == db
    return f"actorflow {command}" + ("" if known else f" --db {shlex.quote(db)}")


def find(state: SQLStateManager, run_id: str, command: str, db: str) -> RunSnapshot:
    """Return a run as it stands.

    Raises:
        Problem: When there is none of that id; it says which one may be meant.
    """
    try:
        return state.snapshot(run_id)
    except RunNotFound:
        pass
    page = state.list(limit=_RECENT)
    known = [run.run_id for run in page.runs]
    meant = _meant(run_id, known)
    said = f"there is no run {run_id!r}"
    if meant is not None:
        asked = typed(f"runs {command} {shlex.quote(meant)}", db)
        raise Problem(f"{said}. Did you mean: {asked}")
    if not known:
        raise Problem(f"{said}: the database holds no runs. Is it the right one?")
    raise Problem(f"{said} among {page.total:,}. For their ids, type: {typed('runs list', db)}")


def _meant(run_id: str, known: Sequence[str]) -> str | None:
    begun = [it for it in known if run_id and it.startswith(run_id)]
    return begun[0] if len(begun) == 1 else nearest(run_id, known)
