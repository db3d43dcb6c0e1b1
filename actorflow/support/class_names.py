"""Names of classes in records: where a class is public, not the module that defines it.

Databases and replay files outlive the layout of the package. A class of actorflow itself is
therefore written as `actorflow:StepTimeout`, wherever it is defined. Names written before this
rule (`actorflow.errors:StepTimeout`), and names of modules that have moved, are still found.

A name may come from a database that others write to. Looking it up therefore runs no code: neither
a module's `__getattr__` nor a property. It finds classes only, and imports at most the modules of
actorflow that define values.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any, Final

from actorflow.support.lazy import home_of

__all__ = ["dotted_name", "find_class", "public_name"]

_PORCHES: Final = ("actorflow", "actorflow.state.sql", "actorflow.testing")
"""The modules that publish names, in the order in which they are searched."""
_ROOMS_OF_VALUES: Final = ("actorflow.definition.", "actorflow.errors.", "actorflow.model.")
"""The packages whose modules are imported for a name in a record."""
_names_of_module: Final = vars(types.ModuleType)["__dict__"].__get__
_names_of_class: Final = vars(type)["__dict__"].__get__
# Subclasses of these may have a `__dict__` that is a property.


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
    """Return the class of that name, or None; modules of other packages must be loaded already."""
    module, _, path = name.partition(":")
    found = _at(sys.modules.get(module), path)
    if found is not None or not _is_own(module):
        return found
    published = (_published(porch, path) for porch in _PORCHES)
    return next((kind for kind in published if kind is not None), None) or _moved(path)


def _is_own(module: str) -> bool:
    return module.partition(".")[0] == "actorflow"


def _published(porch: str, path: str) -> Any:
    module, name = sys.modules.get(porch), path.partition(".")[0]
    if name not in getattr(module, "__all__", ()):
        return None
    home = home_of(porch, name)
    if home is None:
        return _at(module, path)
    if home.startswith(_ROOMS_OF_VALUES):
        importlib.import_module(home)
    return _at(sys.modules.get(home), path)


def _at(found: Any, path: str) -> Any:
    """Return the class at a path of attributes that leads through classes only, or None."""
    if not issubclass(type(found), types.ModuleType):  # `isinstance` would ask for its `__class__`
        return None
    names = _names_of_module(found)
    for part in path.split("."):
        found = names.get(part)
        if not issubclass(type(found), type):
            return None
        names = _names_of_class(found)
    return found


def _moved(path: str) -> Any:
    """Return a class that is not public from the module that defines it now."""
    for name, module in list(sys.modules.items()):
        found = _at(module, path) if _is_own(name) else None
        if found is not None and found.__module__ == name:
            return found
    return None
