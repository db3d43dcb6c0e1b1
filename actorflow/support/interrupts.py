"""Ctrl-C, and errors that only look like it."""

from __future__ import annotations

import threading

__all__ = ["is_for_the_program"]


def is_for_the_program(error: BaseException) -> bool:
    """Return whether an error is a Ctrl-C that is meant for the program as a whole.

    Python interrupts the main thread only. On any other thread, user code raised the
    `KeyboardInterrupt`, and it is an error like any other.
    """
    on_main = threading.current_thread() is threading.main_thread()
    return isinstance(error, KeyboardInterrupt) and on_main
