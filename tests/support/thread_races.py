"""Threads that start at the same moment and switch at almost every instruction."""

from __future__ import annotations

import contextlib
import gc
import random
import sys
import threading
import time
from pathlib import Path

import actorflow

__all__ = ["GUARD", "busy_switching", "remaining_threads", "together"]

_OURS = str(Path(actorflow.__file__).parent)

GUARD = 60
"""Seconds after which something that should happen soon never will."""


@contextlib.contextmanager
def busy_switching(often=0.01):
    """Have threads switch as often as Python can within the block, and at any line of ours.

    A thread that wants its turn asks for it after a microsecond, which on most machines takes
    fifty, and most races are over by then. So now and then a thread stops in mid-function, for
    as long as it takes the others to get somewhere. Those that have begun before are spared.

    Args:
        often: The share of lines at which a thread does so.
    """

    def stumble(frame, _event, _argument):
        return at_a_line if _OURS in frame.f_code.co_filename else None

    def at_a_line(_frame, event, _argument):
        if event == "line" and random.random() < often:
            time.sleep(1e-6)
        return at_a_line

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threading.settrace(stumble)
    sys.settrace(stumble)
    try:
        yield
    finally:
        sys.settrace(None)
        threading.settrace(None)
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


def remaining_threads():
    """Wait for the threads of actorflow's to end, and return the names of those that do not."""
    gc.collect()  # a stream that was dropped in mid-iteration
    threads = [one for one in threading.enumerate() if one.name.startswith("actorflow")]
    for thread in threads:
        thread.join(GUARD)
    return [thread.name for thread in threads if thread.is_alive()]
