"""Conversion of any value to JSON and to text, without raising."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import decimal
import enum
import itertools
import math
import pprint
import reprlib
import uuid
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import PurePath
from typing import Any, Final

import attrs

from actorflow.cli.terminal.tracebacks import traceback_of
from actorflow.errors.storage import RecordedError
from actorflow.views.text import cells, fitted, printable

__all__ = ["as_json", "error_as_json", "in_full", "in_one_line"]

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
    """Yield the lines of the value's `repr`; a string of several lines is yielded as it is."""
    if isinstance(value, str) and "\n" in value:
        yield from value.rstrip().splitlines()
        return
    try:
        yield from pprint.pformat(value, width=width, sort_dicts=False).splitlines()
    except Exception:  # noqa: BLE001 - the value's `__repr__` is broken
        yield _repr(value)
