"""Tables that fit the width of the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

from actorflow.model.lifecycle import RunStatus, StepStatus
from actorflow.views.text import in_words, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

__all__ = ["GAP", "STYLES", "step_row", "steps_table", "table"]

GAP: Final = 2
"""Spaces between two columns."""
_NARROWEST_REMARK: Final = 8
_MIN_COLUMNS: Final = 2
"""Columns that are always shown: the name and the elapsed time."""


def table(rows: Iterable[Sequence[RenderableType]], columns: int) -> Table:
    """Return a table with this number of columns, without wrapping."""
    grid = Table.grid(padding=(0, GAP, 0, 0))
    for _ in range(columns):
        grid.add_column(no_wrap=True, overflow="ellipsis")
    for row in rows:
        grid.add_row(*row)
    return grid


def steps_table(rows: Iterable[Sequence[Text]], width: int) -> Table:
    """Return a table of steps with name, status, attempts, elapsed time and a remark in each row.

    When there is little room, the remark is cut, then dropped; then the status, which the glyph
    before the name still shows; then the attempts. The name is cut last.
    """
    columns = [list(column) for column in zip(*rows, strict=True)]
    if not columns:
        return table((), 0)
    *kept, remarks = columns
    while _width(kept) > width and len(kept) > _MIN_COLUMNS:
        del kept[1]
    names, *others = kept
    _cut(names, max(width - _width(others) - GAP, 1))
    room = width - _width(kept) - GAP
    if room >= _NARROWEST_REMARK:
        _cut(remarks, room)
        kept.append(remarks)
    return table(zip(*kept, strict=True), len(kept))


def _width(columns: Sequence[Sequence[Text]]) -> int:
    return sum(_widest(column) for column in columns) + GAP * max(len(columns) - 1, 0)


def _widest(column: Sequence[Text]) -> int:
    return max(text.cell_len for text in column)


def _cut(column: Sequence[Text], width: int) -> None:
    for text in column:
        text.truncate(width, overflow="ellipsis")


_GLYPHS: Final = {
    StepStatus.PENDING: ("·", "dim"),
    StepStatus.READY: ("○", ""),
    StepStatus.RUNNING: ("●", "cyan"),
    StepStatus.RETRYING: ("↻", "yellow"),
    StepStatus.COMPLETED: ("✓", "green"),
    StepStatus.FAILED: ("✗", "bold red"),
    StepStatus.SKIPPED: ("↷", "yellow"),
    StepStatus.CANCELLED: ("⊘", "dim"),
    StepStatus.COMPENSATED: ("↶", "magenta"),
    StepStatus.COMPENSATION_FAILED: ("✗", "bold red"),
}
STYLES: Final = {
    RunStatus.PENDING: "dim",
    RunStatus.RUNNING: "cyan",
    RunStatus.COMPENSATING: "magenta",
    RunStatus.COMPLETED: "green",
    RunStatus.FAILED: "bold red",
    RunStatus.CANCELLED: "yellow",
}
"""The style of each run status."""


def step_row(
    step_id: str,
    status: StepStatus,
    *,
    prefix: str = "",
    label: str | None = None,
    attempts: int = 0,
    elapsed: float | None = None,
    remark: str = "",
) -> Sequence[Text]:
    """Return a row for `steps_table`.

    Args:
        step_id: The step.
        status: Its status.
        prefix: The branches of the tree before it.
        label: Text to show instead of the status.
        attempts: The number of attempts started.
        elapsed: Seconds since the first attempt started.
        remark: The text of the last column.
    """
    glyph, style = _GLYPHS[status]
    tried = attempts > 0
    return (
        Text.assemble((prefix, "dim"), (glyph, style), " ", printable(step_id)),
        Text(label or status.value, style),
        Text(f"#{attempts}") if tried else Text(),
        Text(in_words(elapsed or 0.0), justify="right") if tried else Text(),
        Text(remark, "dim", no_wrap=True, overflow="ellipsis"),
    )
