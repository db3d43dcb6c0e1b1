"""The standard streams of a command."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["forgiving", "only_for_the_result", "silence", "whole_lines"]


# Each has to differ from the others: a chart tells one thing from another by them alone.
_PLAINLY: Final = dict(zip("█▓▒░╌·│├└┌─━✓✗●○↻↷⊘↶…", "#=x/-.||`,--+x*o~>-<.", strict=True))


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """Write what an encoding does not have as something like it, or else as `?`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAINLY.get(char, "?") for char in lacking), error.end


codecs.register_error("actorflow.plainly", _plainly)


@contextlib.contextmanager
def forgiving(stream: TextIO) -> Iterator[None]:
    """Let a stream write something plain for what its encoding does not have, and not raise."""
    if not isinstance(stream, io.TextIOWrapper):
        yield
        return
    before = stream.errors
    stream.reconfigure(errors="actorflow.plainly")
    try:
        yield
    finally:
        stream.reconfigure(errors=before)


@contextlib.contextmanager
def only_for_the_result() -> Iterator[TextIO]:
    """Yield the real stdout, and send what is written to stdout meanwhile to stderr.

    That holds for the whole process and for the programs it starts, unless stdout is no file:
    then it holds for Python's own `sys.stdout`.
    """
    real = sys.stdout
    real.flush()
    with contextlib.redirect_stdout(sys.stderr):
        try:
            descriptor, elsewhere = real.fileno(), sys.stderr.fileno()
        except OSError:
            yield real
            return
        with _kept(descriptor) as kept, open(kept, "w", encoding="utf-8", closefd=False) as stream:
            os.dup2(elsewhere, descriptor)
            yield stream


@contextlib.contextmanager
def _kept(descriptor: int) -> Iterator[int]:
    """Yield a copy of a descriptor, and put it back in its place afterwards."""
    copy = os.dup(descriptor)
    try:
        yield copy
    finally:
        os.dup2(copy, descriptor)
        os.close(copy)


class _WholeLines:
    """A stream that passes on whole lines, so that those of several threads do not mix.

    `print` writes a line in several pieces. Each thread's pieces are kept until their line is
    complete, or until somebody flushes.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._pieces: dict[int, str] = {}
        # A signal handler may print while its thread is within `write`.
        self._lock = threading.RLock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        thread = threading.get_ident()
        with self._lock:
            lines, newline, rest = (self._pieces.pop(thread, "") + text).rpartition("\n")
            if rest:
                self._pieces[thread] = rest
            if newline:
                self._stream.write(lines + newline)
        return len(text)

    def flush(self) -> None:
        with self._lock:
            rest = self._pieces.pop(threading.get_ident(), "")
            if rest:
                self._stream.write(rest)
            self._stream.flush()

    def close_lines(self) -> None:
        """Pass on what is left of every thread."""
        with self._lock:
            rest = "".join(self._pieces.values())
            self._pieces.clear()
            if rest:
                self._stream.write(rest)


@contextlib.contextmanager
def whole_lines() -> Iterator[None]:
    """Keep the lines apart that different threads write to stdout and to stderr meanwhile."""
    out, err = _WholeLines(sys.stdout), _WholeLines(sys.stderr)
    try:
        with (
            contextlib.redirect_stdout(cast("TextIO", out)),
            contextlib.redirect_stderr(cast("TextIO", err)),
        ):
            yield
    finally:
        out.close_lines()
        err.close_lines()


def silence() -> None:
    """Let stdout go nowhere: its reader has gone, and Python would complain at the exit."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
