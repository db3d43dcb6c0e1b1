"""Ctrl-C and SIGTERM while a run is in progress: the first asks, the second does not wait."""

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
"""A program that a signal ended exits with this and the signal's number."""
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR: Final = b"\x1b[?25h"


class Interrupts:
    """Hears the two signals while it is entered, and restores what heard them before.

    A signal that was ignored stays ignored, as for a command in the background. Outside the
    main thread, where Python hears no signals, it does nothing.

    Args:
        first: Called at the first signal, within the signal handler: it must not block.
    """

    def __init__(self, first: Callable[[], object]) -> None:
        self._first = first
        self._before: dict[signal.Signals, Any] = {}
        self.number: int | None = None
        """The first signal that came."""

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, _frame: object) -> None:
        if self.number is None:
            self.number = number
            self._first()
        else:
            _leave(EXIT_BASE + number)


def leave_hanging_steps(statuses: Sequence[int]) -> None:
    """End the process, if a step hangs on a thread; for `atexit`, as the last of all.

    Python's own way to the exit lets such a thread be, unless it holds what Python itself needs
    there: one that reads from stdin makes it abort.

    Args:
        statuses: The exit status, once it is known.
    """
    if statuses and _a_step_hangs():
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # nobody is left to be told
                stream.flush()
        os._exit(statuses[-1])


def _a_step_hangs() -> bool:
    # An orchestrator that has shut down leaves no other thread of that name behind.
    return any(thread.name.startswith("actorflow-step") for thread in threading.enumerate())


def _leave(status: int) -> None:
    """End the process at once: whatever still runs would only hold it up."""
    # The interrupted thread may be within the streams' own locks, so they are left alone.
    if os.isatty(1):
        os.write(1, _SHOW_CURSOR)
    os.write(2, b"\nLeft at once: nothing was waited for.\n")
    os._exit(status)
