"""Changes to the standard streams during a command."""

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

__all__ = ["replacing_unencodable", "silence", "stdout_for_result", "whole_lines"]


# All replacements differ, because charts distinguish things by these characters alone.
_REPLACEMENTS: Final = dict(zip("█▓▒░╌·│├└┌─━✓✗●○↻↷⊘↶…", "#=x/-.||`,--+x*o~>-<.", strict=True))


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that an encoding lacks with similar ones, or else with `?`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(_REPLACEMENTS.get(char, "?") for char in missing), error.end


codecs.register_error("actorflow.replace", _replace)


@contextlib.contextmanager
def replacing_unencodable(stream: TextIO) -> Iterator[None]:
    """Let a stream replace characters that its encoding lacks, instead of raising."""
    if not isinstance(stream, io.TextIOWrapper):
        yield
        return
    before = stream.errors
    stream.reconfigure(errors="actorflow.replace")
    try:
        yield
    finally:
        stream.reconfigure(errors=before)


@contextlib.contextmanager
def stdout_for_result() -> Iterator[TextIO]:
    """Yield the real stdout, and redirect everything else written to stdout to stderr.

    This covers the whole process and its child processes. If stdout has no file descriptor, it
    covers only `sys.stdout`.
    """
    real = sys.stdout
    real.flush()
    with contextlib.redirect_stdout(sys.stderr):
        try:
            descriptor, elsewhere = real.fileno(), sys.stderr.fileno()
        except OSError:
            yield real
            return
        with (
            _restored(descriptor) as kept,
            open(kept, "w", encoding="utf-8", closefd=False) as stream,
        ):
            os.dup2(elsewhere, descriptor)
            yield stream


@contextlib.contextmanager
def _restored(descriptor: int) -> Iterator[int]:
    """Yield a copy of a descriptor, and restore the descriptor from it afterwards."""
    copy = os.dup(descriptor)
    try:
        yield copy
    finally:
        os.dup2(copy, descriptor)
        os.close(copy)


class _WholeLines:
    """A stream that forwards whole lines, so that the output of several threads does not mix.

    `print` writes a line in several pieces. The pieces of each thread are kept until the line is
    complete or the stream is flushed.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._pieces: dict[int, str] = {}
        # Reentrant: a signal handler may print while its thread is in `write`.
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
        """Forward the incomplete lines of all threads."""
        with self._lock:
            rest = "".join(self._pieces.values())
            self._pieces.clear()
            if rest:
                self._stream.write(rest)


@contextlib.contextmanager
def whole_lines() -> Iterator[None]:
    """Keep lines that different threads write to stdout and stderr from mixing."""
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
    """Discard further output to a stdout whose reader has gone; Python would complain at exit."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
