"""Copies of the values that steps get, to tell whether a step has changed them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["changed", "snapshot"]

_UNKNOWN: Final = object()
_SIMPLE: Final = (type(None), bool, int, float, complex, str, bytes, type)


def snapshot(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return copies of the arguments that can be copied and compare equal to the copy."""
    copies = {name: _copy(value) for name, value in _parts(arguments)}
    return {name: kept for name, kept in copies.items() if kept is not _UNKNOWN}


def _copy(value: Any) -> Any:
    try:
        # Inside the try: isinstance() may run code of a proxy, which raises when it is unbound.
        if isinstance(value, _SIMPLE):
            return _UNKNOWN
        kept = copy.deepcopy(value)
        return kept if _same(kept, value, set()) else _UNKNOWN
    except Exception:  # noqa: BLE001 - a user's value may fail in any way
        return _UNKNOWN


def changed(before: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[str]:
    """Return the names of the arguments that have changed."""
    return [
        name
        for name, value in _parts(arguments)
        if name in before and not _still(before[name], value)
    ]


def _still(before: Any, now: Any) -> bool:
    try:
        return _same(before, now, set())
    except Exception:  # noqa: BLE001 - it compared without an error before
        return False


def _parts(arguments: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the arguments by name, with the mapping `inputs` item by item."""
    for name, value in arguments.items():
        if name == "inputs" and isinstance(value, Mapping):
            yield from value.items()
        elif name != "ctx":
            yield name, value


def _same(one: Any, other: Any, seen: set[tuple[int, int]]) -> bool:
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, _SIMPLE):
        return bool(one == other) or one != one  # noqa: PLR0124 - a NaN counts as unchanged
    if (id(one), id(other)) in seen:
        return True
    seen.add((id(one), id(other)))
    return _same_inside(one, other, seen)


def _same_inside(one: Any, other: Any, seen: set[tuple[int, int]]) -> bool:
    if isinstance(one, Mapping):
        return list(one) == list(other) and all(_same(one[key], other[key], seen) for key in one)
    if isinstance(one, (list, tuple)):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(_same(*pair, seen) for pair in pairs)
    if isinstance(one, AbstractSet) or _has_equality(type(one)):
        return bool(one == other)
    return _same(_state(one), _state(other), seen)


def _has_equality(kind: type[Any]) -> bool:
    return any("__eq__" in vars(base) for base in kind.__mro__ if base is not object)


def _state(value: Any) -> dict[str, Any]:
    """Return the attributes of an object whose class does not define equality."""
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    held = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return held | getattr(value, "__dict__", {})
