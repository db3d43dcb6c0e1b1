"""The stack of another thread, read without the risks of doing so.

Up to Python 3.11, the garbage collector may run whenever an object is created, and a collection may
run arbitrary finalizers, which let other threads run. Two operations on frames do not tolerate
this. `sys._current_frames` creates its objects while holding a lock that every thread takes when it
starts and ends, so a thread switch at that point can freeze the process (cpython#106883). And
reading `f_back` creates the object of a frame that its thread may have left in the meantime, which
writes into memory that belongs to another frame by then.

Both operations therefore run with the collector disabled and entirely in C, where Python does not
switch threads by itself. No other thread and no fork ever observes the collector disabled, and a
program that has disabled it finds it disabled afterwards. Later versions of Python collect only
between instructions, and for them this changes nothing.
"""

from __future__ import annotations

import functools
import gc
import itertools
import operator
import sys
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["stack_of"]


def stack_of(thread: int | None) -> str:
    """Return the stack of the thread with this identifier; empty if it has ended."""
    # Not kept in a variable: the frames include this one, which would then keep itself alive.
    innermost: FrameType | None = _without_collector(sys._current_frames).get(thread or 0)  # noqa: SLF001 - documented
    if innermost is None:
        return ""
    frames: list[FrameType] = _without_collector(functools.partial(list, _callers(innermost)))
    places = ((frame, frame.f_lineno) for frame in reversed(frames))
    return "".join(traceback.StackSummary.extract(places).format())


def _callers(frame: FrameType) -> itertools.takewhile[FrameType]:
    """Return an iterator, entirely in C, over a frame and its callers, innermost first."""
    steps = itertools.accumulate(itertools.repeat("f_back"), getattr, initial=frame)
    return itertools.takewhile(bool, steps)


def _without_collector(read: Callable[[], Any]) -> Any:
    """Call a function that is written in C, with the garbage collector disabled."""
    if not gc.isenabled():
        return read()
    try:
        return [*map(operator.call, (gc.disable, read, gc.enable))][1]
    except BaseException:
        gc.enable()
        raise
