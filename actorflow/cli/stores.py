"""The database that a command is about, and the run in it."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from actorflow.cli.problems import Problem
from actorflow.errors import NotRestorable, RunNotFound
from actorflow.spelling import nearest
from actorflow.state.sql import JSONSerializer, SQLStateManager
from actorflow.state.sql.extras import needs_extra

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorflow.results import RunSnapshot

__all__ = ["Database", "find", "opened", "store", "typed"]

_VARIABLE: Final = "ACTORFLOW_DB"
_RECENT: Final = 200
"""How many of the newest runs are looked at for the one that may be meant."""

Database = Annotated[
    str,
    typer.Option(
        "--db",
        metavar="URL",
        envvar=_VARIABLE,
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


def store(url: str, *, only_to_look: bool = False) -> SQLStateManager:
    """Return what keeps runs in a database that is there.

    Args:
        url: The database.
        only_to_look: Whether values may be shown as something else than they are.

    Raises:
        Problem: When it is a file, and there is none.
        DefinitionError: When the URL is none.
        MissingExtra: When the extra `sql` is not installed.
        StoreError: When it cannot be reached, or its tables are not those of this version.
    """
    with needs_extra("--db"):
        from actorflow.state.sql.engines import file_of  # noqa: PLC0415 - it comes with the extra

        file = file_of(url)
    if file is not None and not file.exists():  # SQLite would make one, empty
        cure = f"To make it, type: actorflow db upgrade {shlex.quote(url)}"
        raise Problem(f"there is no database {file}. {cure}")
    return SQLStateManager(url, serializer=_Readable() if only_to_look else None)


@contextlib.contextmanager
def opened(url: str) -> Iterator[SQLStateManager]:
    """Yield what lets one look at runs in a database, and close it afterwards; see `store`."""
    state = store(url, only_to_look=True)
    try:
        yield state
    finally:
        state.close()


def typed(command: str, db: str) -> str:
    """Return what to type for a command about the same database."""
    known = os.environ.get(_VARIABLE) == db
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
