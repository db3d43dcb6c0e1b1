"""Ctrl-C just before a chosen instruction of the main thread.

CPython hears signals between some instructions and not between others; where a lock is taken,
that makes all the difference. So nothing is imitated here: a signal is made to arrive just
before one chosen instruction of the main thread, and Python hears it when it would. A test can
go through all instructions, in the same order every time, instead of hoping for a signal at the
right moment.
"""

from __future__ import annotations

import ctypes
import dis
import itertools
import signal
import sys
import threading

from tests.support.soak_factor import SOAK

_CALLS = frozenset(code for name, code in dis.opmap.items() if name.startswith("CALL"))


def _tracer(name):
    """A function of C's, to be called by the tracer: one of Python's would hear the signal."""
    function = ctypes.PyDLL(None)[name]
    function.argtypes = [ctypes.py_object] * 3
    function.restype = None
    return function


_ARRIVE, _NOTHING = _tracer("PyErr_SetInterrupt"), _tracer("Py_IsInitialized")


def _spared(frame):
    """Return whether a thread is being started, which Python does not do safely itself."""
    while frame is not None and frame.f_code is not threading.Thread.start.__code__:
        frame = frame.f_back
    return frame is not None


def instants(apart=19):
    """Numbers of instructions, without an end: some way apart, or for a soak one by one."""
    return itertools.count(1, max(1, apart // SOAK))


class Interrupt:
    """Has Ctrl-C arrive once while it is entered: after so many instructions of this thread.

    Calls do not count: the next instruction of the same frame comes when they have returned.

    Args:
        after: How many.
        entering: Called with the name of each Python function that is entered before that.
        swallowed: Called when Python hears it where it can pass on no exception.
    """

    def __init__(self, after, entering, swallowed):
        self._left = after
        self._entering = entering
        self._swallowed = swallowed
        self._over = False
        self._held = self._enter  # the interpreter may let go of it while it calls it
        self._raised = False

    def __enter__(self):
        self._handler = signal.signal(signal.SIGINT, self._hear)
        self._hook, sys.unraisablehook = sys.unraisablehook, self._swallow
        sys.settrace(self._held)
        return self

    def __exit__(self, *_error):
        sys.settrace(None)
        self._over = True
        sys.unraisablehook = self._hook
        signal.signal(signal.SIGINT, self._handler)

    @property
    def came(self):
        """Whether there were as many instructions."""
        return self._left <= 0

    def _hear(self, _number, _frame):
        if not self._raised and not self._over:
            self._raised = True
            raise KeyboardInterrupt

    def _swallow(self, unraisable):
        if unraisable.exc_type is KeyboardInterrupt:
            self._swallowed()
        else:
            self._hook(unraisable)

    def _enter(self, frame, _event, _argument):
        if _spared(frame):
            return None
        self._entering(frame.f_code.co_name)
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        return self._count

    def _count(self, frame, event, _argument):
        if event != "opcode" or frame.f_code.co_code[frame.f_lasti] in _CALLS:
            return self._count
        self._left -= 1
        return self._count if self._left else self._arm(frame)

    def _arm(self, frame):
        """Have the signal arrive before this frame's next instruction, and trace no more."""
        sys.settrace(_NOTHING)
        while (frame := frame.f_back) is not None:
            if frame.f_trace is not None:
                frame.f_trace = _NOTHING
        return _ARRIVE
