"""What is wrong with a command, said so that the reader knows what to type."""

from __future__ import annotations

import contextlib
import sys
import warnings
from typing import TYPE_CHECKING, TextIO

import attrs

from actorflow.errors import ActorflowError
from actorflow.notices import ActorflowWarning

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Problem", "warnings_as_text"]


@attrs.define(slots=False)
class Problem(ActorflowError):
    """Raised when a command cannot be carried out as it was typed; a run that fails is none."""

    text: str
    _text = "{text}"


@contextlib.contextmanager
def warnings_as_text() -> Iterator[None]:
    """Write actorflow's own warnings as errors are written: the line that gave them is no help."""
    shown_before = warnings.showwarning

    def show(  # noqa: PLR0917 - Python's own signature
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, ActorflowWarning):
            sys.stderr.write(f"Warning: {message}\n")
        else:
            shown_before(message, category, filename, lineno, file, line)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown_before
