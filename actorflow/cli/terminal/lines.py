"""Columns that fit into the terminal, however narrow it is."""

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
"""Blanks between two columns."""
_NARROWEST_REMARK: Final = 8
_LEAST: Final = 2
"""Columns that stay: the name and the elapsed time."""


def table(rows: Iterable[Sequence[RenderableType]], columns: int) -> Table:
    """Return rows as a table of so many columns that do not wrap."""
    grid = Table.grid(padding=(0, GAP, 0, 0))
    for _ in range(columns):
        grid.add_column(no_wrap=True, overflow="ellipsis")
    for row in rows:
        grid.add_row(*row)
    return grid


def steps_table(rows: Iterable[Sequence[Text]], width: int) -> Table:
    """Return a table of steps: each row has name, status, attempts, elapsed time and a remark.

    Where there is little room, the remark is cut, then left out; then the status, for which a
    sign stands before the name; then the attempts. The last thing to be cut is the name.
    """
    columns = [list(column) for column in zip(*rows, strict=True)]
    if not columns:
        return table((), 0)
    *firm, remarks = columns
    while _width(firm) > width and len(firm) > _LEAST:
        del firm[1]
    names, *others = firm
    _cut(names, max(width - _width(others) - GAP, 1))
    room = width - _width(firm) - GAP
    if room >= _NARROWEST_REMARK:
        _cut(remarks, room)
        firm.append(remarks)
    return table(zip(*firm, strict=True), len(firm))


def _width(columns: Sequence[Sequence[Text]]) -> int:
    return sum(_widest(column) for column in columns) + GAP * max(len(columns) - 1, 0)


def _widest(column: Sequence[Text]) -> int:
    return max(text.cell_len for text in column)


def _cut(column: Sequence[Text], width: int) -> None:
    for text in column:
        text.truncate(width, overflow="ellipsis")


_LOOKS: Final = {
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
"""The colour of a run's status."""


def step_row(
    step_id: str,
    status: StepStatus,
    *,
    prefix: str = "",
    said: str | None = None,
    attempts: int = 0,
    elapsed: float | None = None,
    remark: str = "",
) -> Sequence[Text]:
    """Return a row for `steps_table`.

    Args:
        step_id: The step.
        status: Where it stands.
        prefix: The lines that lead to it.
        said: What is said instead of its status.
        attempts: How many were started.
        elapsed: Seconds since the first was.
        remark: Whatever else there is to say.
    """
    glyph, style = _LOOKS[status]
    tried = attempts > 0
    return (
        Text.assemble((prefix, "dim"), (glyph, style), " ", printable(step_id)),
        Text(said or status.value, style),
        Text(f"#{attempts}") if tried else Text(),
        Text(in_words(elapsed or 0.0), justify="right") if tried else Text(),
        Text(remark, "dim", no_wrap=True, overflow="ellipsis"),
    )
