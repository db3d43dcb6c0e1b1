"""Classes whose objects are their fields: dataclasses, attrs classes, named tuples.

A class is stored by its public name (see `support.class_names`). It is looked up only in modules
that are loaded already, and an object is made from its fields without calling anything of the
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

__all__ = ["class_named", "fields_of", "is_value_class", "made_of", "name_of"]

_ABSENT: Final = object()


@functools.lru_cache(maxsize=1024)
def is_value_class(kind: Any) -> bool:
    """Return whether an object of the class is its fields, and nothing else is known of it."""
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
    """Return an object's fields by name; one that was never set is left out."""
    kind: Any = type(value)
    found = {name: getattr(value, name, _ABSENT) for name in _names(kind)}
    return {name: field for name, field in found.items() if field is not _ABSENT}


@functools.lru_cache(maxsize=1024)
def name_of(kind: Any) -> str | None:
    """Return the name under which the class is found again; None when it is not."""
    name = public_name(kind)
    return name if find_class(name) is kind else None


def class_named(name: str) -> Any:
    """Return the class of that name.

    Raises:
        NotRestorable: When its module is not loaded, or it is no class whose objects are values.
    """
    found = find_class(name)
    is_enum = isinstance(found, type) and issubclass(found, enum.Enum)
    if is_enum or (isinstance(found, type) and is_value_class(found)):
        return found
    raise NotRestorable(f"an object of class {name!r}", _lacking(*name.split(":", 1)))


def _lacking(module: str, path: str) -> str:
    if module == "__main__":
        return (
            "the program that stored it defined that in its main file, which this one does not "
            "have. Define it in a module that both of them import"
        )
    why = f"has no class {path!r} of fields" if module in sys.modules else "is not loaded"
    return f"module {module!r} {why}. Import the module that defines it first"


def made_of(kind: Any, fields: dict[str, Any]) -> Any:
    """Return an object with these fields; fields that the class has lost are left out."""
    if _is_named_tuple(kind):
        return tuple.__new__(kind, [fields.get(name) for name in _names(kind)])
    value = object.__new__(kind)
    for name in _names(kind):
        if name in fields:
            # As a copy is made: frozen classes are frozen to their users only.
            object.__setattr__(value, name, fields[name])
    return value
