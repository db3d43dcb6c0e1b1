"""Ctrl-C and SIGTERM during a command: the first requests an end, the second exits at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["EXIT_BASE", "Interrupts", "leave_hanging_steps"]

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
