"""What every command is carried out within: what goes wrong becomes a text and an exit status."""

from __future__ import annotations

import contextlib
import signal
import sys
from typing import TYPE_CHECKING, Final

import typer

from actorflow.cli.interrupts import EXIT_BASE
from actorflow.cli.problems import Problem, warnings_as_text
from actorflow.cli.streams import forgiving, silence
from actorflow.errors import (
    DefinitionError,
    MissingExtra,
    RunNotFound,
    StoreError,
    UnknownExecutor,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["exit_statuses"]

_BAD_USAGE: Final = 2
_TOLD: Final = (
    *(MissingExtra, Problem, DefinitionError),
    *(RunNotFound, StoreError, UnknownExecutor),
)


@contextlib.contextmanager
def exit_statuses() -> Iterator[None]:
    """Turn what can go wrong with a command into a text on stderr and an exit status."""
    with forgiving(sys.stdout), forgiving(sys.stderr), warnings_as_text(), _problems_told():
        yield
        sys.stdout.flush()


@contextlib.contextmanager
def _problems_told() -> Iterator[None]:
    try:
        yield
    except _TOLD as problem:
        sys.stderr.write(f"Error: {problem}\n")
        raise typer.Exit(_BAD_USAGE) from None
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_BASE + signal.SIGINT) from None
    except BrokenPipeError:
        silence()
        raise typer.Exit(EXIT_BASE + signal.SIGPIPE) from None
