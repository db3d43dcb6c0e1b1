"""Exceptions as texts, and what comes back for them.

actorflow's own errors are values: they come back as themselves, so that a run that was cut by
its deadline still says so. Any other exception comes back as a `RecordedError`: making an object
of a program's class from a database would run code of that class.
"""

from __future__ import annotations

import traceback
from typing import Any, Final

import attrs

from actorflow.errors.base import ActorflowError
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

__all__ = ["clipped", "error_of", "told_of"]

_TEXT: Final = 10_000
_TRACEBACK: Final = 50_000
_OWN: Final[dict[str, Any]] = {
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
    """Return a text that any database can hold, or its beginning and how long it was."""
    text = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def told_of(error: BaseException) -> dict[str, Any]:
    """Return what is kept of an exception; it never raises."""
    if isinstance(error, RecordedError):
        return {"type": error.type_name, "text": error.text, "traceback": error.traceback}
    kind = type(error)
    told: dict[str, Any] = {
        "type": dotted_name(kind),
        "text": clipped(_text(error)),
        "traceback": _traceback(error),
    }
    fields = _fields(error)
    return told if fields is None else told | {"fields": fields}


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - whatever a program's own `__str__` raises
        return f"({text_of(error)}: its text is not available)"


def _traceback(error: BaseException) -> str:
    try:
        lines = traceback.format_exception(error)
    except BaseException:  # noqa: BLE001 - it asks the errors for their texts
        return ""
    text = "".join(lines)
    # The end of a traceback says what happened.
    return clipped(text if len(text) <= _TRACEBACK else f"…{text[-_TRACEBACK:]}", _TRACEBACK + 1)


def _fields(error: BaseException) -> list[Any] | None:
    """Return the fields of an error of actorflow's own, if they say all of it."""
    kind = type(error)
    if not isinstance(error, ActorflowError) or kind not in _OWN.values():
        return None
    values = [getattr(error, field.name) for field in attrs.fields(kind)]  # type: ignore[arg-type]
    return values if all(type(value) in _SIMPLE for value in values) else None


def error_of(told: dict[str, Any]) -> BaseException:
    """Return what stands for an exception that was recorded."""
    if "fields" in told:
        own = _OWN.get(told["type"].rpartition(".")[2])
        if own is not None and len(attrs.fields(own)) == len(told["fields"]):
            error: ActorflowError = own(*told["fields"])
            return error
    return RecordedError(_public(told["type"]), told["text"], told["traceback"])


def _public(name: str) -> str:
    """Return the public name of an error that an earlier version named by its module."""
    module, _, path = name.rpartition(".")
    if module.partition(".")[0] != "actorflow":
        return name
    kind = find_class(f"{module}:{path}")
    return name if kind is None else dotted_name(kind)
