"""The commands around databases: `actorflow db upgrade`, `current` and `check`."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from actorflow.cli.db.stores import DATABASE, missing_file, nothing_there
from actorflow.errors.storage import SchemaMismatch
from actorflow.state.sql.extras import needs_extra

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from types import ModuleType

    from actorflow.state.sql.database.engines import Engines

__all__ = ["databases"]

Address = Annotated[
    str,
    typer.Argument(
        metavar="URL",
        envvar=DATABASE,
        help="Such as sqlite:///runs.db or postgresql://user@host/database.",
        show_default=False,
    ),
]


def databases(told: Callable[[], AbstractContextManager[None]]) -> typer.Typer:
    """Return the commands.

    Args:
        told: Entered around each, to turn what goes wrong into a text and an exit status.
    """
    commands = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

    @commands.callback()
    def _databases() -> None:
        """Look after the tables in which runs are kept."""

    @commands.command()
    def upgrade(url: Address) -> None:
        """Make the tables, or bring them up to date."""
        with told():
            _say(_upgrade(url))

    @commands.command()
    def current(url: Address) -> None:
        """Print the version of the tables."""
        with told():
            _say(_current(url))

    @commands.command()
    def check(url: Address) -> None:
        """Say whether this version of actorflow can use the tables; exit with 1 if not."""
        with told():
            said, usable = _check(url)
            _say(said)
            raise typer.Exit(not usable)

    return commands


def _say(text: str) -> None:
    typer.echo(text)


@contextlib.contextmanager
def _opened(url: str) -> Iterator[tuple[ModuleType, Engines]]:
    """Yield what migrates, and connections to the database."""
    with needs_extra("actorflow db"):
        from actorflow.state.sql.database.engines import Engines  # noqa: PLC0415 - likewise
        from actorflow.state.sql.schema import upgrades as migrating  # noqa: PLC0415 - it comes with the extra

        engines = Engines.to(url)
    with engines:
        yield migrating, engines


def _missing(url: str) -> str | None:
    """Say that there is no database, before SQLite makes an empty one of it."""
    with needs_extra("actorflow db"):
        file = missing_file(url)
    return None if file is None else nothing_there(file, url)


def _upgrade(url: str) -> str:
    with _opened(url) as (migrating, engines):
        before, after = migrating.upgrade(engines)
    if before == after:
        return f"version {after}, nothing to do"
    return f"version {after}, was {before or 'empty'}"


def _current(url: str) -> str:
    missing = _missing(url)
    if missing is not None:
        return f"no tables: {missing}"
    with _opened(url) as (migrating, engines):
        found, newest = migrating.current(engines), migrating.newest()
    if found is None:
        return "no tables"
    return f"version {found}" + ("" if found == newest else f", this actorflow makes {newest}")


def _check(url: str) -> tuple[str, bool]:
    missing = _missing(url)
    if missing is not None:
        return missing, False
    with _opened(url) as (migrating, engines):
        try:
            return f"version {migrating.check(engines)}, as it should be", True
        except SchemaMismatch as fault:
            return str(fault), False
