"""Questions about paths as typed, which may be anything: too long, unreadable, not paths at all."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

from actorflow.cli.terminal.exits import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["check_output", "exists", "is_dir", "is_file", "why"]


def exists(path: str | Path) -> bool:
    """Return whether there is anything at a path.

    Raises:
        Problem: When a folder on the way cannot be read.
    """
    return _ask(Path.exists, path)


def is_file(path: str | Path) -> bool:
    """Return whether there is a file at a path; see `exists`."""
    return _ask(Path.is_file, path)


def is_dir(path: str | Path) -> bool:
    """Return whether there is a folder at a path; see `exists`."""
    return _ask(Path.is_dir, path)


def _ask(question: Callable[[Path], bool], path: str | Path) -> bool:
    try:
        return question(Path(path))
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False  # it can be no file, but may still be a module
        raise Problem(f"{path} cannot be read: {error.strerror}.") from None


def why(error: OSError | ValueError) -> str:
    """Return why a file cannot be opened; a ValueError says that no path is like that."""
    return str(getattr(error, "strerror", None) or "it is not a path")


def check_output(option: str, path: Path | None, example: str) -> None:
    """Refuse a file that cannot be written, before anything runs.

    Args:
        option: The option that names it.
        path: The file; None if the option was not given.
        example: A name for the file, if `path` is a folder.

    Raises:
        Problem: When its folder does not exist, or it is a folder.
    """
    if path is None:
        return
    if not is_dir(path.parent):
        raise Problem(f"{option} {path} is in a folder that does not exist. Create it first.")
    if is_dir(path):
        raise Problem(f"{option} {path} is a folder. Name a file: {option} {path}/{example}")
