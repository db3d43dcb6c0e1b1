"""The chart of a run in a file: the option `--svg`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorflow.cli.terminal.exits import Problem
from actorflow.views import draw_gantt_svg

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from actorflow.model.events import Event

__all__ = ["check_svg", "write_svg"]


def check_svg(path: Path | None) -> None:
    """Refuse a file that cannot be written, before anything runs."""
    if path is not None and not path.parent.is_dir():
        raise Problem(f"--svg {path} is in a folder that does not exist. Make it first.")
    if path is not None and path.is_dir():
        raise Problem(f"--svg {path} is a folder. Name a file: --svg {path}/FILE.svg")


def write_svg(path: Path | None, events: Iterable[Event]) -> None:
    """Write the Gantt chart of a run, if a file was named for it."""
    if path is None:
        return
    try:
        path.write_text(draw_gantt_svg(events), encoding="utf-8")
    except OSError as error:
        raise Problem(f"--svg {path} cannot be written: {error.strerror}") from None
