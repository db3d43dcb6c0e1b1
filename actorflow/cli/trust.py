"""The limits on what a saved schedule may do: a replay file is data, but it names code to run."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Final

from actorflow.cli.paths import exists
from actorflow.cli.terminal.exits import Problem
from actorflow.views.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec

__all__ = ["check_real", "check_target", "options_of"]

_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})
"""Folders of installed packages, which may lie within a working directory."""


def check_target(target: str, path: Path) -> None:
    """Refuse a workflow that a file names outside the working directory; nothing is imported.

    Args:
        target: The workflow, as the file names it.
        path: The file.

    Raises:
        Problem: When only `--flow` may name it.
    """
    if not _is_trusted(target):
        typed = f"actorflow replay {shlex.quote(str(path))} --flow {shlex.quote(target)}"
        raise Problem(
            f"{path} names the workflow {printable(target)}, which is outside the working "
            "directory, and loading it would run its code. If you trust it, type: "
            f"{printable(typed)}"
        )


def options_of(target: str, real_steps: Sequence[str]) -> str:
    """Return the options that a replay needs, with a space before each."""
    flow = "" if _is_trusted(target) else f" --flow {shlex.quote(target)}"
    return flow + (" --real" if real_steps else "")


def _is_trusted(target: str) -> bool:
    source = target if exists(target) else target.rpartition(":")[0] or target
    is_path = source.endswith(".py") or len(Path(source).parts) > 1 or exists(source)
    place = Path(source) if is_path else _place_of(source)
    return place is not None and _is_here(place)


def _is_here(place: Path) -> bool:
    """Return whether a path is in the working directory, perhaps through a link that is there."""
    here = Path.cwd()
    written = place.absolute() if ".." not in place.parts else place.resolve()
    return any(
        it.is_relative_to(here) and _INSTALLED.isdisjoint(it.relative_to(here).parts)
        for it in (written, place.resolve())
    )


def _place_of(module: str) -> Path | None:
    """Return where a module is, without importing it or its packages; None if there is none."""
    first, *rest = module.split(".")
    spec = _spec_of(first)
    name = first
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        name = f"{name}.{part}"
        spec = PathFinder.find_spec(name, list(spec.submodule_search_locations))
    if spec is None:
        return Path(first)  # there is no such module; the error about that comes from the import
    if spec.has_location and spec.origin is not None:
        return Path(spec.origin)
    return next(map(Path, spec.submodule_search_locations or ()), None)


def _spec_of(name: str) -> ModuleSpec | None:
    here = PathFinder.find_spec(name, [str(Path.cwd())])
    if here is not None and name not in sys.modules:
        return here
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):  # a module without a spec, such as `__main__`
        return None


def check_real(steps: Sequence[str], command: str) -> None:
    """Ask, or refuse, before the functions of steps are called with the inputs of a file.

    Args:
        steps: The ids of the steps; nothing happens when there are none.
        command: The command line so far.

    Raises:
        Problem: When stdin is no terminal, or the answer is not yes.
    """
    if not steps:
        return
    names = ", ".join(map(repr, steps))
    what = f"this replay calls the functions of steps {names} with the inputs in the file"
    if sys.stdin.isatty() and sys.stderr.isatty():
        sys.stderr.write(f"{what[0].upper()}{what[1:]}.\nCall them? [y/N] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() in {"y", "yes"}:
            return
    raise Problem(f"{what}. If you trust the file, type: {command} --real")
