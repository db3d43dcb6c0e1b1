"""The commands `actorflow db upgrade`, `current` and `check`."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from actorflow.cli.db.stores import DATABASE, missing_file, no_database
from actorflow.errors.storage import SchemaMismatch
from actorflow.state.sql.options import needs_extra

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from types import ModuleType

    from actorflow.state.sql.engines import Engines

__all__ = ["databases"]

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
        """Check that this version of actorflow can use the tables; exit with 1 if not."""
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
