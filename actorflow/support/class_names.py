"""Names of classes in records: where a class is public, not the module that defines it.

Databases and replay files outlive the layout of the package. A class of actorflow itself is
therefore written as `actorflow:StepTimeout`, wherever it is defined. Names written before this
rule (`actorflow.errors:StepTimeout`), and names of modules that have moved, are still found.
"""

from __future__ import annotations

import sys
from typing import Any, Final

__all__ = ["dotted_name", "find_class", "public_name"]

_PORCHES: Final = ("actorflow", "actorflow.state.sql", "actorflow.testing")
"""The modules that publish names, in the order in which they are searched."""


def public_name(kind: type) -> str:
    """Return the name that finds a class again, such as `actorflow:RetryPolicy`.

    A class of another package, or one that actorflow does not publish, is named by its module and
    qualified name.
    """
    if _is_own(kind.__module__):
        for porch in _PORCHES:
            if _published(porch, kind.__qualname__) is kind:
                return f"{porch}:{kind.__qualname__}"
    return f"{kind.__module__}:{kind.__qualname__}"


def dotted_name(kind: type) -> str:
    """Return the same name as tracebacks write it, such as `builtins.ValueError`."""
    return public_name(kind).replace(":", ".", 1)


def find_class(name: str) -> Any:
    """Return the class of that name, or None. Modules of other packages must be loaded already."""
    module, _, path = name.partition(":")
    found = _at(sys.modules.get(module), path)
    if found is None and _is_own(module):
        found = next(filter(None, (_published(porch, path) for porch in _PORCHES)), None)
    return _moved(path) if found is None and _is_own(module) else found


def _is_own(module: str) -> bool:
    return module.partition(".")[0] == "actorflow"


def _published(porch: str, path: str) -> Any:
    module = sys.modules.get(porch)
    return _at(module, path) if path.partition(".")[0] in getattr(module, "__all__", ()) else None


def _at(found: Any, path: str) -> Any:
    for part in path.split("."):
        found = getattr(found, part, None)
    return found


def _moved(path: str) -> Any:
    """Return a class that is not public from the module that defines it now."""
    for name, module in list(sys.modules.items()):
        found = _at(module, path) if _is_own(name) else None
        if isinstance(found, type) and found.__module__ == name:
            return found
    return None
