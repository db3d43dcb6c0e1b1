"""Threads that begin together, and interrupt each other at almost every instruction."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading

__all__ = ["GUARD", "busy_switching", "ours", "together"]

GUARD = 60
"""Seconds after which something that should happen soon never will."""


@contextlib.contextmanager
def busy_switching():
    """Have threads switch as often as Python can, within the block."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def together(*calls):
    """Make calls on a thread each, all at the same moment; return what they return, or raise."""
    everybody, outcomes = threading.Barrier(len(calls)), [None] * len(calls)

    def make(place, call):
        everybody.wait(GUARD)
        try:
            outcomes[place] = call()
        except BaseException as error:  # noqa: BLE001 - it is raised below
            outcomes[place] = error

    threads = [
        threading.Thread(target=make, args=each, name=f"together-{each[0]}", daemon=True)
        for each in enumerate(calls)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GUARD)
    assert [] == [thread.name for thread in threads if thread.is_alive()]
    errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    if errors:
        raise errors[0]
    return outcomes


def ours():
    """Wait for the threads of actorflow's to end, and return the names of those that do not."""
    gc.collect()  # a stream that was dropped in mid-iteration
    threads = [one for one in threading.enumerate() if one.name.startswith("actorflow")]
    for thread in threads:
        thread.join(GUARD)
    return [thread.name for thread in threads if thread.is_alive()]
