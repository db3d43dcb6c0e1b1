"""Conversion of errors into messages and exit statuses."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any, Final, Self, TextIO

import attrs
import typer

from actorflow.cli.terminal.streams import replacing_unencodable, silence
from actorflow.errors import ActorflowError
from actorflow.errors.definition import DefinitionError
from actorflow.errors.storage import MissingExtra, RunNotFound, ScheduleNotFound, StoreError
from actorflow.support.urls import masked_text
from actorflow.support.warnings import ActorflowWarning
from actorflow.views.text import printable_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = [
    "EXIT_BASE",
    "Interrupts",
    "Problem",
    "bad_value",
    "exit_statuses",
    "leave_hanging_steps",
    "warnings_as_text",
]


@attrs.define(slots=False)
class Problem(ActorflowError):
    """Raised when a command cannot be carried out as typed; not raised for a run that fails."""

    text: str
    _text = "{text}"


_WRITTEN_BY_PYDANTIC: Final = (
    (r"Value error, (.*)", r"\1"),
    (
        r"(Input should be a valid number|'.*' is not a valid float).*",
        "it takes {number}, such as 5",
    ),
    (
        r"(Input should be a valid integer|'.*' is not a valid int).*",
        "it takes a whole number, such as 5",
    ),
    (r"Input should be greater than or equal to (.*)", r"it takes a number, \1 or more"),
)
"""Patterns of the messages that typer takes from pydantic, and what is said instead."""


def bad_value(message: str, metavar: str | None) -> str:
    """Return the message for a value that an option cannot take.

    Args:
        message: The message of typer.
        metavar: The option's metavar, which says whether it takes seconds.
    """
    number = "seconds" if metavar == "SECONDS" else "a number"
    for pattern, said in _WRITTEN_BY_PYDANTIC:
        found = re.fullmatch(pattern, message, re.DOTALL)
        if found is not None:
            return found.expand(said).replace("{number}", number)
    return message


_BAD_USAGE: Final = 2
_REPORTED: Final = (
    MissingExtra,
    Problem,
    DefinitionError,
    RunNotFound,
    ScheduleNotFound,
    StoreError,
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
        sys.stderr.write(f"Error: {printable_lines(masked_text(str(problem)))}\n")
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
            sys.stderr.write(f"Warning: {printable_lines(str(message))}\n")
        else:
            shown_before(message, category, filename, lineno, file, line)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown_before


EXIT_BASE: Final = 128
"""A process ended by a signal exits with this plus the signal's number."""
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR: Final = b"\x1b[?25h"


class Interrupts:
    """Handles the two signals while it is entered, and restores the earlier handlers.

    A signal that was ignored stays ignored, as for a background command. Outside the main thread,
    where Python cannot install handlers, it does nothing.

    Args:
        first: Called in the signal handler at the first signal; it must not block.
    """

    def __init__(self, first: Callable[[], object]) -> None:
        self._first = first
        self._before: dict[signal.Signals, Any] = {}
        self.number: int | None = None
        """The first signal that arrived."""

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: object) -> None:
        if self.number is None:
            self.number = number
            self._first()
        else:
            _exit(EXIT_BASE + number)


def leave_hanging_steps(statuses: Sequence[int]) -> None:
    """Exit the process if a step still hangs on a thread; registered to run last at exit.

    Python's normal exit ignores such a thread, unless the thread holds a lock that the exit itself
    needs: a thread that reads from stdin makes Python abort.

    Args:
        statuses: The exit status, once it is known.
    """
    if statuses and _step_hangs():
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # there is nowhere left to report it
                stream.flush()
        os._exit(statuses[-1])


def _step_hangs() -> bool:
    # An orchestrator that has shut down leaves no other threads with this name.
    return any(thread.name.startswith("actorflow-step") for thread in threading.enumerate())


def _exit(status: int) -> None:
    """Exit the process at once, without waiting for anything."""
    # The interrupted thread may hold the streams' own locks, so the streams are not used.
    if os.isatty(1):
        os.write(1, _SHOW_CURSOR)
    os.write(2, b"\nExited at once, without waiting for the run to end.\n")
    os._exit(status)
