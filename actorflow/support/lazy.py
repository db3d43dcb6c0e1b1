"""Names of a package that are imported when they are first used (PEP 562)."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["home_of", "lazy_names"]

_HOMES: Final[dict[str, dict[str, str]]] = {}
"""The defining module of each lazy name, by package."""


def lazy_names(
    package: str, homes: Mapping[str, Iterable[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and the `__dir__` of a package.

    Type checkers do not see what these provide. Import the same names once more under
    `TYPE_CHECKING`.

    Args:
        package: The package's `__name__`.
        homes: The names to provide, by the module that defines them.
    """
    home = {name: module for module, names in homes.items() for name in names}
    _HOMES[package] = home

    def get(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(home[name]), name)
        setattr(sys.modules[package], name, value)  # found without this function from now on
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home})

    return get, names


def home_of(package: str, name: str) -> str | None:
    """Return the module that defines a lazy name of a package, or None; this imports nothing."""
    return _HOMES.get(package, {}).get(name)
