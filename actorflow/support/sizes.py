"""An estimate of how many bytes values keep in memory, at a bounded cost.

Strings and buffers say their size, and so do arrays, which have `nbytes`. A container is as large
as itself and its items; so is an object with its attributes. An object that appears twice counts
once. Of very many items, some that are spread evenly stand for the others. Memory that an extension
allocates without telling Python is not seen.
"""

from __future__ import annotations

import itertools
import operator
import sys
from collections import deque
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

__all__ = ["SMALL", "size_of"]

_FEW: Final = 200
"""Up to how many objects of plain classes are all counted, without a look at each."""

SMALL: Final[Mapping[type, int]] = {type(None): 0, bool: 0, int: 28, float: 24, complex: 32}
"""Types whose values need no look, with the usual size in bytes."""
_SHARE: Final = 16
"""A container may use one part in so many of the looks that are left; its items use the others."""
_DEEPEST: Final = 6
"""How deep a value is looked into."""
_FLAT: Final = frozenset({type(None), bool, int, float, complex, str, bytes, bytearray})
_CONTAINERS: Final = frozenset({dict, list, tuple, set, frozenset})
_PLAIN: Final = _FLAT | _CONTAINERS
_STANDARD: Final = frozenset({"array", "builtins", "collections"})
"""The modules whose classes say their size quickly."""


def size_of(values: Iterable[object], looks: int) -> int:
    """Return the estimated size of some values together, in bytes.

    Args:
        values: The values. Of those that contain others, some are looked at if there are many.
        looks: How many objects are looked at within all of them, at most.
    """
    values = list(values)
    try:
        known = _size_of_few(values)
    except RuntimeError:  # another thread changes one of them
        known = None
    if known is not None:
        return known
    distinct = list({id(value): value for value in values}.values())
    simple = {kind for kind in set(map(type, distinct)) if _is_simple(kind)}
    look = _Look(looks)
    flat = sum(look.at(value, _DEEPEST) for value in distinct if type(value) in simple)
    return flat + look.at_all([value for value in distinct if type(value) not in simple])


def _size_of_few(values: list[object]) -> int | None:
    """Return the size of few values of plain classes; None for others.

    It goes down level by level, because one call for all objects of a level costs less than a look
    at each. Most runs are so small that such looks would cost more than one of their steps.
    """
    size, left, level = 0, _FEW, values
    seen: set[int] = set()
    for _ in range(_DEEPEST):
        left -= len(level)
        if left < 0:
            return None
        by_id = dict(zip(map(id, level), level, strict=True))
        new = by_id.keys() - seen
        seen |= new
        level = list(map(by_id.__getitem__, new))
        kinds = set(map(type, level))
        if not kinds <= _PLAIN:
            return None
        size += sum(map(sys.getsizeof, level))
        if kinds <= _FLAT:
            return size
        items = _items(level, left)
        if items is None:
            return None
        level = items
    return None


def _items(values: list[Any], most: int) -> list[Any] | None:
    """Return the items of the containers among some values; None if there are too many."""
    kinds = list(map(type, values))
    containers = list(itertools.compress(values, map(_CONTAINERS.__contains__, kinds)))
    if sum(map(len, containers)) > most:
        return None
    mappings = itertools.compress(values, map(operator.is_, kinds, itertools.repeat(dict)))
    items = list(itertools.chain.from_iterable(containers))
    items += itertools.chain.from_iterable(map(dict.values, mappings))
    return items


def _is_simple(kind: type) -> bool:
    """Return whether values of a class contain no others."""
    # Of the class, because an object may answer to any name.
    return kind in SMALL or issubclass(kind, (str, bytes, bytearray)) or hasattr(kind, "nbytes")


class _Look:
    """A look at values and at what they consist of."""

    __slots__ = ("_left", "_seen")

    def __init__(self, looks: int) -> None:
        self._left = looks
        self._seen: set[int] = set()

    def at(self, value: object, depth: int = 0) -> int:
        """Return the size of a value that has not been counted, or 0."""
        if type(value) in SMALL:
            return SMALL[type(value)]
        if id(value) in self._seen:
            return 0
        self._seen.add(id(value))
        try:
            parts = _parts(value) if depth < _DEEPEST else ()
            return _own_size(value) + sum(self.at_all(part, depth + 1) for part in parts)
        except Exception:  # noqa: BLE001 - a class of the user's may raise anything
            return 0

    def at_all(self, several: Any, depth: int = 0) -> int:
        """Return the size of the items of a collection, or an estimate from some of them."""
        most = min(self._left, max(1, self._left // _SHARE))
        if not several or not most:
            return 0
        sample = _spread(several, -(-len(several) // most))
        self._left -= len(sample)
        return sum(self.at(one, depth) for one in sample) * len(several) // len(sample)


def _spread(several: Any, step: int) -> list[Any]:
    """Return each `step`-th item of a collection."""
    if isinstance(several, list):
        return several[::step]
    return list(itertools.islice(several, 0, None, step))


def _own_size(value: Any) -> int:
    kind = type(value)
    if hasattr(kind, "nbytes"):
        return int(value.nbytes)
    # A class of an extension may take long to compute its `__sizeof__`.
    return sys.getsizeof(value) if kind.__module__ in _STANDARD else object.__sizeof__(value)


def _parts(value: Any) -> tuple[Any, ...]:
    """Return the collections of what a value consists of."""
    if _is_simple(type(value)):
        return ()
    if isinstance(value, dict):
        return value.keys(), value.values()
    if isinstance(value, (list, tuple, deque, AbstractSet)):
        return (value,)
    slots = [name for kind in type(value).__mro__ for name in _slots(kind)]
    attributes = [getattr(value, name, None) for name in slots]
    named = getattr(value, "__dict__", None)
    return (attributes, named.values()) if isinstance(named, dict) else (attributes,)


def _slots(kind: type) -> Iterable[str]:
    slots = kind.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else slots
