"""The commands `actorflow db`, and access to databases and their runs for all commands."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from actorflow.cli.paths import exists
from actorflow.cli.terminal.exits import Problem
from actorflow.errors.storage import NotRestorable, RunNotFound, SchemaMismatch
from actorflow.state.sql import JSONSerializer, SQLStateManager
from actorflow.state.sql.options import needs_extra
from actorflow.support.suggestions import nearest
from actorflow.support.urls import masked_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import ModuleType

    from actorflow.model.records import RunSnapshot
    from actorflow.state.sql import Serializer
    from actorflow.state.sql.engines import Engines

__all__ = [
    "DATABASE",
    "Database",
    "command_line",
    "databases",
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
    return None if file is None or exists(file) else file


def no_database(file: Path, url: str) -> str:
    """Return a message that there is no database, and how to create it."""
    cure = f"To create it, type: actorflow db upgrade {shlex.quote(masked_url(url))}"
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
    return f"actorflow {command}" + ("" if known else f" --db {shlex.quote(masked_url(db))}")


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


# ── The commands ─────────────────────────────────────────────────────────────────────────────

Address = Annotated[
    str,
    typer.Argument(
        metavar="URL",
        envvar=DATABASE,
        help="For example sqlite:///runs.db or postgresql://user@host/database.",
        show_default=False,
    ),
]


def databases(reporting_errors: Callable[[], AbstractContextManager[None]]) -> typer.Typer:
    """Return the commands.

    Args:
        reporting_errors: A context manager that turns errors into messages and exit statuses.
    """
    commands = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

    @commands.callback()
    def _databases() -> None:
        """Manage the tables in which runs are kept."""

    @commands.command()
    def upgrade(url: Address) -> None:
        """Create the tables, or upgrade them."""
        with reporting_errors():
            _say(_upgrade(url))

    @commands.command()
    def current(url: Address) -> None:
        """Print the version of the tables."""
        with reporting_errors():
            _say(_current(url))

    @commands.command()
    def check(url: Address) -> None:
        """Check that this version of actorflow can use the tables.

        It exits with 1 if not.
        """
        with reporting_errors():
            message, usable = _check(url)
            _say(message)
            raise typer.Exit(not usable)

    return commands


def _say(text: str) -> None:
    typer.echo(text)


@contextlib.contextmanager
def _opened(url: str) -> Iterator[tuple[ModuleType, Engines]]:
    """Yield the module `upgrades` and connections to the database."""
    with needs_extra("actorflow db"):
        from actorflow.state.sql.engines import Engines  # noqa: PLC0415 - part of the extra
        from actorflow.state.sql.schema import upgrades  # noqa: PLC0415 - likewise

        engines = Engines.to(url)
    with engines:
        yield upgrades, engines


def _missing(url: str) -> str | None:
    """Return a message if the database file is missing; SQLite would create an empty one."""
    with needs_extra("actorflow db"):
        file = missing_file(url)
    return None if file is None else no_database(file, url)


def _upgrade(url: str) -> str:
    with _opened(url) as (upgrades, engines):
        before, after = upgrades.upgrade(engines)
    if before == after:
        return f"version {after}, already up to date"
    return f"version {after}, upgraded from {before or 'an empty database'}"


def _current(url: str) -> str:
    missing = _missing(url)
    if missing is not None:
        return f"no tables: {missing}"
    with _opened(url) as (upgrades, engines):
        found, newest = upgrades.current(engines), upgrades.newest()
    if found is None:
        return "no tables"
    return f"version {found}" + ("" if found == newest else f"; this actorflow uses {newest}")


def _check(url: str) -> tuple[str, bool]:
    missing = _missing(url)
    if missing is not None:
        return missing, False
    with _opened(url) as (upgrades, engines):
        try:
            return f"version {upgrades.check(engines)}, up to date", True
        except SchemaMismatch as fault:
            return str(fault), False
