"""Exceptions as strings, and the errors that are read back for them.

actorflow's own errors are values and come back as themselves, so that a run that exceeded its
deadline still says so. Any other exception comes back as a `RecordedError`: creating an instance of
a user's class from the database would run code of that class.
"""

from __future__ import annotations

import contextlib
import traceback
from typing import Any, Final

import attrs

from actorflow.errors import ActorflowError
from actorflow.errors.running import (
    ActorCrashed,
    CompensationCut,
    DeadlineExceeded,
    Deadlock,
    GiveUp,
    RetryAfter,
    StepCancelled,
    StepTimeout,
    TooManyAbandoned,
)
from actorflow.errors.storage import (
    LeaseLost,
    NotStorable,
    RecordedError,
    StoreOverloaded,
    StoreUnavailable,
    TooLarge,
)
from actorflow.support.class_names import dotted_name, find_class
from actorflow.support.safe_text import text_of

__all__ = ["clipped", "describe_error", "restore_error"]

_TEXT: Final = 10_000
_TRACEBACK: Final = 50_000
_OWN_ERRORS: Final[dict[str, Any]] = {
    kind.__name__: kind
    for kind in (
        ActorCrashed,
        CompensationCut,
        DeadlineExceeded,
        Deadlock,
        GiveUp,
        LeaseLost,
        NotStorable,
        RetryAfter,
        StepCancelled,
        StepTimeout,
        StoreOverloaded,
        StoreUnavailable,
        TooLarge,
        TooManyAbandoned,
    )
}
_SIMPLE: Final = frozenset({str, int, float, bool, type(None)})


def clipped(text: str, limit: int = _TEXT) -> str:
    """Return a string that any database can hold; a long one is cut, and its length appended."""
    text = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def describe_error(error: BaseException) -> dict[str, Any]:
    """Return what is recorded of an exception; never raises."""
    if isinstance(error, RecordedError):
        return {"type": error.type_name, "text": error.text, "traceback": error.traceback}
    kind = type(error)
    recorded: dict[str, Any] = {
        "type": dotted_name(kind),
        "text": clipped(_text(error)),
        "traceback": _traceback(error),
    }
    fields = _fields(error)
    return recorded if fields is None else recorded | {"fields": fields}


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - a user-defined `__str__` may raise anything
        return f"({text_of(error)}: its text is not available)"


def _traceback(error: BaseException) -> str:
    try:
        lines = traceback.format_exception(error)
    except BaseException:  # noqa: BLE001 - formatting calls `__str__` of user-defined errors
        return ""
    text = "".join(lines)
    # Keep the end of a long traceback, which says what happened.
    return clipped(text if len(text) <= _TRACEBACK else f"…{text[-_TRACEBACK:]}", _TRACEBACK + 1)


def _fields(error: BaseException) -> list[Any] | None:
    """Return the fields of one of actorflow's own errors, if all of them are plain values."""
    kind = type(error)
    if not isinstance(error, ActorflowError) or kind not in _OWN_ERRORS.values():
        return None
    values = [getattr(error, field.name) for field in attrs.fields(kind)]  # type: ignore[arg-type]
    return values if all(type(value) in _SIMPLE for value in values) else None


def restore_error(recorded: dict[str, Any]) -> BaseException:
    """Return the error that represents a recorded exception."""
    own = _OWN_ERRORS.get(recorded["type"].rpartition(".")[2])
    if own is not None and "fields" in recorded:
        # The fields may be those of another version, in which they have another meaning.
        with contextlib.suppress(Exception):
            if len(attrs.fields(own)) == len(recorded["fields"]):
                error: ActorflowError = own(*recorded["fields"])
                str(error)
                return error
    return RecordedError(_public(recorded["type"]), recorded["text"], recorded["traceback"])


def _public(name: str) -> str:
    """Return the public name of an error that an earlier version recorded by its module."""
    module, _, path = name.rpartition(".")
    if module.partition(".")[0] != "actorflow":
        return name
    kind = find_class(f"{module}:{path}")
    return name if kind is None else dotted_name(kind)
