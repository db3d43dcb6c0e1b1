"""Values as plain JSON, from which each comes back unchanged.

JSON has null, booleans, numbers, strings, lists, and objects with strings as names. These represent
themselves. Every other value becomes an object with the name `"$"`, which holds its type:

    {"$": "datetime", "of": "2026-01-31T08:00:00+00:00"}
    {"$": "tuple", "of": [1, 2]}
    {"$": "object", "class": "shop.orders:Order", "of": {"id": 7}}

A value that has no such form is rejected with the path to it; nothing is converted to something
similar. Only the exact types are accepted: a subclass of `dict` may carry more than its items, and
its type would be lost.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import inspect
import math
import pathlib
import sys
import uuid
from typing import TYPE_CHECKING, Any, Final

import attrs

from actorflow.errors.storage import NotRestorable
from actorflow.model.results import StepResults
from actorflow.support.class_names import find_class, public_name
from actorflow.support.read_only import ReadOnly

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "TAG",
    "Unstorable",
    "build",
    "class_named",
    "fields_of",
    "from_plain",
    "is_value_class",
    "name_of",
    "to_plain",
]

TAG: Final = "$"
_MAX_DEPTH: Final = 100
"""How deep values may be nested: shallow enough to be read back on any thread. Python needs about
four calls per level and allows a thousand."""


class Unstorable(Exception):
    """Raised inside a value that cannot be stored; it collects the path on its way out."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.steps: list[str] = []

    @property
    def path(self) -> str:
        """The path to the part at fault, from the outside in."""
        return "".join(reversed(self.steps)) or "it"


def to_plain(value: Any, room: int = _MAX_DEPTH) -> Any:
    """Return a value in a form that JSON can hold.

    Args:
        value: The value to convert.
        room: How many more levels of nesting are allowed.

    Raises:
        Unstorable: When it cannot be converted.
    """
    kind: Any = type(value)
    if kind in _UNCHANGED:
        return value
    found = _WRITERS.get(kind)
    if found is not None:
        return found(value)
    if not room:
        raise Unstorable(f"is nested more than {_MAX_DEPTH} levels deep, or contains itself")
    nested = _NESTED.get(kind)
    if nested is not None:
        return nested(value, room - 1)
    if isinstance(value, enum.Enum):
        return _enum(value, room - 1)
    if is_value_class(kind):
        fields = _dict(fields_of(value), room - 1, ".{}")
        return {TAG: "object", "class": _class_name(kind), "of": fields}
    if inspect.iscoroutine(value):
        raise Unstorable("is a coroutine that was not awaited: write `await` before the call")
    raise Unstorable(f"is a {kind.__module__}.{kind.__qualname__}")


def _float(value: float) -> Any:
    return value if math.isfinite(value) else {TAG: "float", "of": repr(value)}


def _list(values: Any, room: int) -> list[Any]:
    index = -1
    try:
        items = []
        for index, value in enumerate(values):  # noqa: B007 - used in the error's path
            items.append(value if type(value) in _UNCHANGED else to_plain(value, room))
    except Unstorable as error:
        error.steps.append(f"[{index}]")
        raise
    return items


def _dict(values: dict[Any, Any], room: int, step: str = "[{!r}]") -> dict[str, Any]:
    name: Any = None
    items: dict[str, Any] = {}
    try:
        for name, value in values.items():
            items[name] = value if type(value) in _UNCHANGED else to_plain(value, room)
    except Unstorable as error:
        error.steps.append(step.format(name))
        raise
    return items


def _mapping(values: dict[Any, Any], room: int) -> dict[str, Any]:
    if TAG not in values and all(type(name) is str for name in values):
        return _dict(values, room)
    pairs = [[to_plain(name, room), to_plain(value, room)] for name, value in values.items()]
    return {TAG: "dict", "of": pairs}


def _sequence(kind: str) -> Callable[[Any, int], Any]:
    return lambda values, room: {TAG: kind, "of": _list(values, room)}


def _text(kind: str, write: Callable[[Any], str]) -> Callable[[Any], Any]:
    return lambda value: {TAG: kind, "of": write(value)}


def _bytes(value: bytes | bytearray) -> str:
    return base64.b64encode(value).decode("ascii")


def _timedelta(value: dt.timedelta) -> Any:
    return {TAG: "timedelta", "of": [value.days, value.seconds, value.microseconds]}


def _moment(value: Any) -> Any:
    written: dict[str, Any] = {TAG: type(value).__name__, "of": value.isoformat()}
    if value.fold:
        written["fold"] = value.fold
    if value.tzinfo is not None and type(value.tzinfo) is not dt.timezone:
        written["zone"] = _zone(value.tzinfo)
    return written


def _zone(zone: dt.tzinfo) -> str:
    key = getattr(zone, "key", None)
    if type(zone).__module__ != "zoneinfo" or key is None:
        raise Unstorable(f"has a time zone of class {type(zone).__qualname__}")
    return str(key)


def _enum(member: enum.Enum, room: int) -> Any:
    return {TAG: "enum", "class": _class_name(type(member)), "of": to_plain(member.value, room)}


def _class_name(kind: type) -> str:
    name = name_of(kind)
    if name is None:
        raise Unstorable(
            f"is of class {kind.__qualname__}, which cannot be found under that name in "
            f"module {kind.__module__}"
        )
    return name


# Integers of any size are included: neither JSON nor msgspec limits them.
_UNCHANGED: Final = frozenset({str, int, bool, type(None)})
_NESTED: Final[dict[type, Callable[[Any, int], Any]]] = {
    list: _list,
    dict: _mapping,
    ReadOnly: lambda values, room: _mapping(dict(values), room),
    StepResults: lambda values, room: _mapping(dict(values), room),
    tuple: _sequence("tuple"),
    set: _sequence("set"),
    frozenset: _sequence("frozenset"),
}
_WRITERS: Final[dict[type, Callable[[Any], Any]]] = {
    float: _float,
    bytes: _text("bytes", _bytes),
    bytearray: _text("bytearray", _bytes),
    complex: _text("complex", repr),
    decimal.Decimal: _text("decimal", str),
    uuid.UUID: _text("uuid", str),
    pathlib.PosixPath: _text("path", str),
    dt.date: _text("date", dt.date.isoformat),
    dt.datetime: _moment,
    dt.time: _moment,
    dt.timedelta: _timedelta,
}


# ── Back ─────────────────────────────────────────────────────────────────────────────────────


def from_plain(value: Any) -> Any:
    """Return the value that was passed to `to_plain`.

    Raises:
        NotRestorable: When a class no longer exists.
    """
    if type(value) is list:
        return [from_plain(item) for item in value]
    if type(value) is not dict:
        return value
    kind = value.get(TAG)
    if kind is None:
        return {name: from_plain(item) for name, item in value.items()}
    if kind not in _READERS:
        raise NotRestorable("a value", f"its type {kind!r} is unknown to this version")
    return _READERS[kind](value)


def _items(value: dict[str, Any]) -> list[Any]:
    return [from_plain(item) for item in value["of"]]


def _in_zone(value: dict[str, Any], read: Callable[[str], Any]) -> Any:
    moment = read(value["of"]).replace(fold=value.get("fold", 0))
    if "zone" not in value:
        return moment
    import zoneinfo  # noqa: PLC0415 - rarely needed

    return moment.replace(tzinfo=zoneinfo.ZoneInfo(value["zone"]))


_READERS: Final[dict[str, Callable[[dict[str, Any]], Any]]] = {
    "float": lambda value: float(value["of"]),
    "dict": lambda value: {from_plain(name): from_plain(item) for name, item in value["of"]},
    "tuple": lambda value: tuple(_items(value)),
    "set": lambda value: set(_items(value)),
    "frozenset": lambda value: frozenset(_items(value)),
    "bytes": lambda value: base64.b64decode(value["of"]),
    "bytearray": lambda value: bytearray(base64.b64decode(value["of"])),
    "complex": lambda value: complex(value["of"]),
    "decimal": lambda value: decimal.Decimal(value["of"]),
    "uuid": lambda value: uuid.UUID(value["of"]),
    "path": lambda value: pathlib.Path(value["of"]),
    "date": lambda value: dt.date.fromisoformat(value["of"]),
    "datetime": lambda value: _in_zone(value, dt.datetime.fromisoformat),
    "time": lambda value: _in_zone(value, dt.time.fromisoformat),
    "timedelta": lambda value: dt.timedelta(*value["of"]),
    "enum": lambda value: class_named(value["class"])(from_plain(value["of"])),
    "object": lambda value: build(
        class_named(value["class"]), {name: from_plain(it) for name, it in value["of"].items()}
    ),
}


_ABSENT: Final = object()


@functools.lru_cache(maxsize=1024)
def is_value_class(kind: Any) -> bool:
    """Return whether an instance of the class is fully described by its fields."""
    if issubclass(kind, BaseException):
        return False
    return dataclasses.is_dataclass(kind) or attrs.has(kind) or _is_named_tuple(kind)


def _is_named_tuple(kind: type) -> bool:
    return issubclass(kind, tuple) and hasattr(kind, "_fields")


@functools.lru_cache(maxsize=1024)
def _names(kind: Any) -> tuple[str, ...]:
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    if attrs.has(kind):
        return tuple(field.name for field in attrs.fields(kind))
    names: tuple[str, ...] = kind._fields
    return names


def fields_of(value: Any) -> dict[str, Any]:
    """Return an object's fields by name, without those that were never set."""
    kind: Any = type(value)
    found = {name: getattr(value, name, _ABSENT) for name in _names(kind)}
    return {name: field for name, field in found.items() if field is not _ABSENT}


@functools.lru_cache(maxsize=1024)
def name_of(kind: Any) -> str | None:
    """Return the name by which the class can be looked up; None when it cannot."""
    name = public_name(kind)
    return name if find_class(name) is kind else None


def class_named(name: str) -> Any:
    """Return the class with that name.

    Raises:
        NotRestorable: When its module is not loaded, or it is not a value class or an enum.
    """
    found = find_class(name)
    is_enum = isinstance(found, type) and issubclass(found, enum.Enum)
    if is_enum or (isinstance(found, type) and is_value_class(found)):
        return found
    raise NotRestorable(f"an object of class {name!r}", _why_missing(*name.partition(":")[::2]))


def _why_missing(module: str, path: str) -> str:
    if module == "__main__":
        return (
            "the program that stored it defined that class in its main module, which this program "
            "does not have. Define it in a module that both programs import"
        )
    why = f"has no value class {path!r}" if module in sys.modules else "is not loaded"
    return f"module {module!r} {why}. Import the module that defines it first"


def build(kind: Any, fields: dict[str, Any]) -> Any:
    """Return an instance with these fields; fields that the class no longer has are dropped."""
    if _is_named_tuple(kind):
        return tuple.__new__(kind, [fields.get(name) for name in _names(kind)])
    value = object.__new__(kind)
    fields = _defaults(kind) | fields
    for name in _names(kind):
        if name in fields:
            # This bypasses frozen classes, as copying does.
            object.__setattr__(value, name, fields[name])
    return value


@functools.lru_cache(maxsize=1024)
def _defaults(kind: Any) -> dict[str, Any]:
    """Return the defaults of an attrs class of actorflow, which may have gained fields since."""
    if not attrs.has(kind) or kind.__module__.partition(".")[0] != "actorflow":
        return {}
    defaults = {field.name: field.default for field in attrs.fields(kind)}
    return {
        name: default
        for name, default in defaults.items()
        if default is not attrs.NOTHING and not isinstance(default, attrs.Factory)  # type: ignore[arg-type] # a class at run time
    }
