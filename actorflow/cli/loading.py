"""Loading the workflow that `FILE[:FLOW]` names."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import attrs
import typer

from actorflow.cli.paths import exists, is_dir, is_file
from actorflow.cli.terminal.exits import Problem
from actorflow.cli.terminal.values import traceback_of
from actorflow.definition.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

__all__ = ["AsJson", "Loaded", "Svg", "Target", "Workers", "load", "load_flow"]


@attrs.frozen
class Loaded:
    """A workflow and the module that defines it."""

    flow: Workflow
    source: str
    """The file or module as given on the command line."""
    namespace: Mapping[str, Any]
    """The global names of the module."""

    @property
    def place(self) -> str:
        """The target by which the workflow can be loaded again."""
        known = (name for name, value in self.namespace.items() if value is self.flow)
        return f"{self.source}:{next(known)}"


def load_flow(target: str, command: str) -> Workflow:
    """Return the workflow that `target` names, as `load` finds it."""
    return load(target, command).flow


def load(target: str, command: str) -> Loaded:
    """Import `target` and return its workflow.

    As Python does for a script, the file's folder becomes the first entry of `sys.path` and stays
    there, because steps may import from it when they run. The file becomes a module named after its
    stem, so that what it defines can be pickled.

    Args:
        target: `flows.py`, `flows.py:flow`, `package.module` or `package.module:flow`, where the
            part after the colon is a global name or a workflow's id.
        command: The command, for error texts.

    Raises:
        Problem: When there is no such workflow, or more than one.
    """
    source, name = _split(target)
    namespace = vars(_imported(source, command))
    offer = _Candidates(namespace, source, command)
    return Loaded(offer.only() if name is None else offer.named(name), source, namespace)


def _split(target: str) -> tuple[str, str | None]:
    source, colon, name = target.rpartition(":")
    if not colon or exists(target):
        return target, None
    return source, name or None


# ── Modules ──────────────────────────────────────────────────────────────────────────────────


def _imported(source: str, command: str) -> ModuleType:
    path = Path(source)
    if is_dir(path):
        raise Problem(f"{source} is a folder. {_hint(path, 'flow.py', command)}")
    if is_file(path):
        return _import_file(path, source)
    if path.suffix == ".py" or len(path.parts) > 1:
        raise Problem(f"there is no file {source}. {_hint(path.parent, path.name, command)}")
    return _import_module(source, command)


def _hint(folder: Path, wanted: str, command: str) -> str:
    """Suggest what to type instead of a path that does not exist."""
    there = sorted(path.name for path in folder.glob("*.py")) if is_dir(folder) else []
    close = difflib.get_close_matches(wanted, there, n=1) or there[: len(there) == 1]
    if close:
        return f"Did you mean: actorflow {command} {folder / close[0]}"
    return f"Type: actorflow {command} PATH/TO/FILE.py"


def _import_file(path: Path, source: str) -> ModuleType:
    folder, name = str(path.resolve().parent), path.stem
    _refuse_a_taken_name(name, path, source)
    if folder not in sys.path[:1]:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise Problem(f"{source} is not a Python file. Give it the suffix .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _broken(source, error) from error
    return module


def _refuse_a_taken_name(name: str, path: Path, source: str) -> None:
    known = sys.modules.get(name)
    file = getattr(known, "__file__", None)
    if known is not None and (file is None or Path(file).resolve() != path.resolve()):
        raise Problem(f"{source} would hide the module {name!r}, which is in use. Rename the file.")


def _import_module(name: str, command: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            said = f"there is neither a file nor a module {name}. "
            raise Problem(said + _hint(Path(), f"{name}.py", command)) from error
        raise _broken(name, error) from error
    except (Exception, SystemExit) as error:
        raise _broken(name, error) from error


def _broken(source: str, error: BaseException) -> Problem:
    guard = ""
    if isinstance(error, SystemExit):
        guard = ' Put what only a script should do under `if __name__ == "__main__":`.'
    elif isinstance(error, ImportError) and "relative import" in str(error):
        guard = " Name it as a module of its package, such as package.module:flow."
    return Problem(f"{source} could not be imported.{guard}\n\n{traceback_of(error)}")


# ── Workflows ────────────────────────────────────────────────────────────────────────────────


class _Candidates:
    """The workflows of a module, and the errors for a wrong choice."""

    def __init__(self, namespace: Mapping[str, Any], source: str, command: str) -> None:
        self._namespace = namespace
        self._source = source
        self._typed = f"actorflow {command} {source}"
        # By global name; of several names of one workflow, the first.
        self._flows: dict[str, Workflow] = {}
        for name, value in namespace.items():
            if isinstance(value, Workflow) and value not in self._flows.values():
                self._flows[name] = value

    def only(self) -> Workflow:
        """Return the workflow, if there is exactly one."""
        if not self._flows:
            raise Problem(
                f"{self._source} defines no workflow. Define one as a global variable, "
                'such as: flow = Workflow("my-flow")'
            )
        if len(self._flows) > 1:
            count = len(self._flows)
            raise Problem(f"{self._source} defines {count} workflows. {self._choices()}")
        return next(iter(self._flows.values()))

    def named(self, name: str) -> Workflow:
        """Return the workflow with this global name or id."""
        value = self._namespace.get(name)
        if isinstance(value, Workflow):
            return value
        with_id = [flow for flow in self._flows.values() if flow.id == name]
        if len(with_id) == 1:
            return with_id[0]
        raise Problem(f"{self._refusal(name, value, len(with_id))} {self._choices()}".rstrip())

    def _refusal(self, name: str, value: object, with_id: int) -> str:
        if with_id:
            return f"{self._source} defines {with_id} workflows with the id {name!r}."
        if value is None:
            return f"{self._source} has no workflow {name!r}."
        builder = " Call .build() on a builder." if hasattr(value, "build") else ""
        return f"{name} in {self._source} is a {type(value).__name__}, not a Workflow.{builder}"

    def _choices(self) -> str:
        if not self._flows:
            return ""
        head = "Type one of these:" if len(self._flows) > 1 else "Type:"
        return "\n".join([head, *(f"  {self._typed}:{name}" for name in self._flows)])


Target = Annotated[
    str,
    typer.Argument(
        metavar="FILE[:FLOW]",
        help="A Python file or module, and the workflow in it if it defines several.",
    ),
]
Workers = Annotated[int, typer.Option(min=1, metavar="N", help="The number of async workers.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print only the whole result, as JSON.")]
Svg = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write the chart of the run to this file, as SVG.",
        show_default=False,
        parser=Path,  # instead of typer, which would look at the file
    ),
]
