"""Conversion of errors into messages and exit statuses."""

from __future__ import annotations

import contextlib
import signal
import sys
import warnings
from typing import TYPE_CHECKING, Final, TextIO

import attrs
import typer

from actorflow.cli.terminal.interrupts import EXIT_BASE
from actorflow.cli.terminal.streams import replacing_unencodable, silence
from actorflow.errors.base import ActorflowError
from actorflow.errors.definition import DefinitionError, UnknownExecutor
from actorflow.errors.storage import MissingExtra, RunNotFound, StoreError
from actorflow.support.warnings import ActorflowWarning

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Problem", "exit_statuses", "warnings_as_text"]


@attrs.define(slots=False)
class Problem(ActorflowError):
    """Raised when a command cannot be carried out as typed; not raised for a run that fails."""

    text: str
    _text = "{text}"


_BAD_USAGE: Final = 2
_REPORTED: Final = (
    *(MissingExtra, Problem, DefinitionError),
    *(RunNotFound, StoreError, UnknownExecutor),
)


@contextlib.contextmanager
def exit_statuses() -> Iterator[None]:
    """Turn the errors of a command into a message on stderr and an exit status."""
    with (
        replacing_unencodable(sys.stdout),
        replacing_unencodable(sys.stderr),
        warnings_as_text(),
        _errors_reported(),
    ):
        yield
        sys.stdout.flush()


@contextlib.contextmanager
def _errors_reported() -> Iterator[None]:
    try:
        yield
    except _REPORTED as problem:
        sys.stderr.write(f"Error: {problem}\n")
        raise typer.Exit(_BAD_USAGE) from None
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_BASE + signal.SIGINT) from None
    except BrokenPipeError:
        silence()
        raise typer.Exit(EXIT_BASE + signal.SIGPIPE) from None


@contextlib.contextmanager
def warnings_as_text() -> Iterator[None]:
    """Print actorflow's own warnings without the source line, which would not help."""
    shown_before = warnings.showwarning

    def show(  # noqa: PLR0917 - Python's own signature
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, ActorflowWarning):
            sys.stderr.write(f"Warning: {message}\n")
        else:
            shown_before(message, category, filename, lineno, file, line)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown_before
