"""A mapping that cannot be changed by accident."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["NOTHING", "ReadOnly", "merged"]


class ReadOnly(Mapping[str, Any]):
    """A read-only copy of a mapping; unlike a `MappingProxyType` it can be pickled."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a name, or the default, without the exception of `Mapping.get`."""
        return self._values.get(name, default)

    def __repr__(self) -> str:
        return repr(self._values)


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the items of both; for a name in both, the value of `other`."""
    # A dictionary is copied in one operation, any other mapping item by item.
    values = one._values if isinstance(one, ReadOnly) else one  # noqa: SLF001 - own class
    return {**values, **other}


NOTHING: Final = ReadOnly({})
