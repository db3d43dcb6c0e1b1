"""Conversion of any value to JSON and to text, without raising."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import decimal
import enum
import itertools
import math
import os
import pprint
import reprlib
import threading
import uuid
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path, PurePath
from traceback import StackSummary, TracebackException
from typing import TYPE_CHECKING, Any, Final

import attrs

from actorflow.errors import ActorflowError
from actorflow.errors.storage import RecordedError
from actorflow.views.text import cells, fitted, printable, printable_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from traceback import FrameSummary

__all__ = ["as_json", "error_as_json", "in_full", "in_one_line", "traceback_of"]

_AS_TEXT: Final = (PurePath, uuid.UUID, decimal.Decimal)
_LONGEST_INT: Final = 10_000
"""In bits."""
_TIMES: Final = (dt.date, dt.time)


def as_json(value: object) -> Any:
    """Return `value` in a form that JSON can hold.

    Mappings, attrs classes and dataclasses become objects; a key that is not a string becomes its
    `repr`. Lists, tuples and sets become arrays, enums their values, dates and times ISO 8601,
    paths, UUIDs and decimals strings, exceptions objects with `type`, `message` and `traceback`.
    All other values, including bytes and numbers such as `nan`, become their `repr`.
    """
    try:
        return _converted(value, frozenset())
    except RecursionError:
        return _repr(value)


def error_as_json(error: BaseException | None) -> dict[str, str] | None:
    """Return an exception as a JSON object."""
    if error is None:
        return None
    name, message = type(error).__name__, ""
    if isinstance(error, RecordedError):
        name, message = error.type_name.rpartition(".")[2], error.text
    return {"type": name, "message": message or _message(error), "traceback": traceback_of(error)}


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an error with a broken `__str__` is reported all the same
        return _repr(error)


def _converted(value: Any, around: frozenset[int]) -> Any:
    plain = _plain(value)
    if plain is not NotImplemented:
        return plain
    if id(value) in around:
        return "(circular)"
    try:
        return _opened(value, around | {id(value)})
    except RecursionError:
        raise
    except Exception:  # noqa: BLE001 - a container that cannot be read
        return _repr(value)


def _opened(value: Any, inside: frozenset[int]) -> Any:
    """Return the JSON form of a value that may contain others."""
    fields = _fields(value)
    if fields is not None:
        return {_key(key): _converted(item, inside) for key, item in fields.items()}
    if isinstance(value, (list, tuple, AbstractSet)):
        return [_converted(item, inside) for item in value]
    return error_as_json(value) if isinstance(value, BaseException) else _repr(value)


def _plain(value: Any) -> Any:
    """Return the JSON form of a value that contains no others, or NotImplemented."""
    if isinstance(value, enum.Enum):
        value = value.value
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        # Python refuses to convert longer ones to decimal.
        return value if value.bit_length() < _LONGEST_INT else hex(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else _repr(value)
    if isinstance(value, _TIMES):
        return value.isoformat()
    return str(value) if isinstance(value, _AS_TEXT) else NotImplemented


def _fields(value: Any) -> Mapping[Any, Any] | None:
    if isinstance(value, Mapping):
        return value
    if isinstance(value, (type, BaseException)):
        return None
    if attrs.has(type(value)):
        return {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def _key(key: object) -> str:
    return key if isinstance(key, str) else _repr(key)


def _repr(value: object) -> str:
    with contextlib.suppress(Exception):
        return repr(value)
    return f"<{type(value).__name__} whose repr fails>"


class _Short(reprlib.Repr):
    """A `repr` that stops early, so that a huge value is as cheap as a small one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.maxstring = self.maxother = width
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = width

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        """Keep the order of the items, which the inherited method would sort."""
        if level <= 0:
            return "{...}"
        pairs = itertools.islice(x.items(), self.maxlist)
        shown = (
            f"{self.repr1(key, level - 1)}: {self.repr1(item, level - 1)}" for key, item in pairs
        )
        return f"{{{', '.join(shown)}}}"


def in_one_line(value: object, width: int) -> str:
    """Return the start of the value's `repr`, at most `width` columns wide."""
    try:
        text = printable(_Short(width).repr(value))
    except Exception:  # noqa: BLE001 - the value's `__repr__` is broken
        text = _repr(value)
    return fitted(text, width) if cells(text) > width else text


def in_full(value: object, width: int) -> Iterator[str]:
    """Yield the lines of the value's `repr`, or of a string of several lines; all printable."""
    if isinstance(value, str) and "\n" in value:
        yield from map(printable_lines, value.rstrip().splitlines())
        return
    try:
        shown = pprint.pformat(value, width=width, sort_dicts=False)
    except Exception:  # noqa: BLE001 - the value's `__repr__` is broken
        shown = _repr(value)
    yield from map(printable_lines, shown.splitlines())


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
