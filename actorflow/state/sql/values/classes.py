"""Classes whose instances consist of their fields: dataclasses, attrs classes, named tuples.

A class is stored by its public name (see `support.class_names`). It is looked up only in modules
that are already loaded, and an instance is built from its fields without calling any code of the
class: reading a database imports nothing and runs nothing.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import sys
from typing import Any, Final

import attrs

from actorflow.errors.storage import NotRestorable
from actorflow.support.class_names import find_class, public_name

__all__ = ["build", "class_named", "fields_of", "is_value_class", "name_of"]

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
    raise NotRestorable(f"an object of class {name!r}", _why_missing(*name.split(":", 1)))


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
    for name in _names(kind):
        if name in fields:
            # This bypasses frozen classes, as copying does.
            object.__setattr__(value, name, fields[name])
    return value
