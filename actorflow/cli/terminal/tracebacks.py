"""Tracebacks that start in the user's code.

Between the interpreter and a step are frames of actorflow and of the executor. They are the same
for every step and say nothing about the failure.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from traceback import StackSummary, TracebackException
from typing import TYPE_CHECKING, Final

from actorflow.errors.base import ActorflowError
from actorflow.errors.storage import RecordedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from traceback import FrameSummary

__all__ = ["traceback_of"]

_PACKAGE: Final = str(Path(__file__).parents[2]) + os.sep
_STDLIB: Final = str(Path(threading.__file__).parent) + os.sep
_OURS: Final = (_PACKAGE, "<attrs generated")
_RUNNERS: Final = (
    *_OURS,
    "<frozen importlib",
    *(f"{_STDLIB}{name}" for name in ("asyncio", "concurrent", "importlib", "multiprocessing")),
    f"{_STDLIB}threading.py",
)
_SELF_EXPLAINING: Final = (ActorflowError, SyntaxError)


def traceback_of(error: BaseException) -> str:
    """Return the traceback of an error and its causes, as Python would print it.

    Frames before the user's code are left out, and so are frames within actorflow that lead to an
    error that actorflow itself raised. An error that never passed through the user's code keeps all
    frames, because it may be a defect of actorflow, unless the text of its class suffices. An error
    read from a database has its recorded traceback.
    """
    if isinstance(error, RecordedError) and error.traceback:
        return error.traceback.rstrip()
    formatted = TracebackException.from_exception(error)
    for part, original in _chain(formatted, error):
        part.stack = StackSummary.from_list(_cut(part.stack, original))
    return "".join(formatted.format()).rstrip()


def _chain(
    formatted: TracebackException, error: BaseException
) -> Iterator[tuple[TracebackException, BaseException]]:
    pairs = [(formatted, error)]
    while pairs:
        part, original = pairs.pop()
        yield part, original
        if part.__cause__ is not None and original.__cause__ is not None:
            pairs.append((part.__cause__, original.__cause__))
        if part.__context__ is not None and original.__context__ is not None:
            pairs.append((part.__context__, original.__context__))
        if part.exceptions and isinstance(original, BaseExceptionGroup):
            pairs.extend(zip(part.exceptions, original.exceptions, strict=False))


def _cut(frames: Sequence[FrameSummary], error: BaseException) -> list[FrameSummary]:
    users = [index for index, frame in enumerate(frames) if not frame.filename.startswith(_RUNNERS)]
    if not users:
        return [] if isinstance(error, _SELF_EXPLAINING) else list(frames)
    kept = list(frames[users[0] :])
    while isinstance(error, ActorflowError) and kept[-1].filename.startswith(_OURS):
        del kept[-1]
    return kept
