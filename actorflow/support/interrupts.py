"""Ctrl-C, and what only looks like it."""

from __future__ import annotations

import threading

__all__ = ["is_for_the_program"]


def is_for_the_program(error: BaseException) -> bool:
    """Return whether an error is meant for the program, and by chance hit this thread here.

    Python interrupts the main thread only: on any other a `KeyboardInterrupt` is what somebody
    has raised himself, an error like all the others.
    """
    on_main = threading.current_thread() is threading.main_thread()
    return isinstance(error, KeyboardInterrupt) and on_main
