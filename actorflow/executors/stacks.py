"""Where another thread is, read without the danger that lies in looking.

Up to Python 3.11 the garbage collector may run wherever an object is made, and a collection may
run anybody's finalizers, which let other threads run. Two places where frames are looked at do
not bear that. `sys._current_frames` makes its objects under a lock that every thread takes when
it begins and ends, so a switch in there can freeze the process (cpython#106883). And a step
outwards, `f_back`, makes the object of a frame that its thread may meanwhile have left: that
writes into memory which is another frame's by then.

So each of the two runs in one go: with the collector off, and all of it in C, where Python
never switches threads by itself. The collector is therefore never seen switched off by another
thread, nor by a fork, and a program that has switched it off finds it so. Later versions
collect only between instructions, and what is done here changes nothing for them.
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
    """Return where the thread with this identifier is, or an empty text if it has ended."""
    # Not kept in a variable: all frames include this one, which would then keep itself alive.
    innermost: FrameType | None = _in_one_go(sys._current_frames).get(thread or 0)  # noqa: SLF001 - documented
    if innermost is None:
        return ""
    frames: list[FrameType] = _in_one_go(functools.partial(list, _outwards(innermost)))
    places = ((frame, frame.f_lineno) for frame in reversed(frames))
    return "".join(traceback.StackSummary.extract(places).format())


def _outwards(frame: FrameType) -> itertools.takewhile[FrameType]:
    """Return an iterator, all of it in C, over a frame and those that it will return to."""
    steps = itertools.accumulate(itertools.repeat("f_back"), getattr, initial=frame)
    return itertools.takewhile(bool, steps)


def _in_one_go(read: Callable[[], Any]) -> Any:
    """Return what a function gives that is written in C, and let nothing else happen meanwhile."""
    if not gc.isenabled():
        return read()
    try:
        return [*map(operator.call, (gc.disable, read, gc.enable))][1]
    except BaseException:
        gc.enable()
        raise
