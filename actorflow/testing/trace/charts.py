"""A trace as a message-sequence chart: one column per participant, time runs downwards."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from actorflow.testing.trace.labels import EXECUTOR, OUTSIDE, SUPERVISOR, step_name
from actorflow.testing.trace.story import Line, story
from actorflow.views.text import cells, fitted, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from actorflow.testing.trace.trace import Trace

__all__ = ["draw_mermaid", "draw_text"]

_WIDEST: Final = 80
"""Maximum width of all lanes together, in characters."""
_NARROWEST: Final = 4
"""Minimum width of a lane, in characters."""
_USUAL: Final = 6
_LONGEST_TEXT: Final = 72
_SPECIAL: Final = re.compile(r"[#;<>%]")


def draw_text(trace: Trace) -> str:
    """Return the chart as text, without a trailing newline.

    A dot marks a decision of the supervisor, a cross a lost message. When there are too many lanes
    for a page, each line names its sender and receiver instead.
    """
    lines = story(trace)
    lanes = _lanes(trace, lines)
    times = [_moment(line.time) for line in lines]
    margin = max(map(len, times), default=0)
    page = _Lanes(lanes) if len(lanes) * _NARROWEST <= _WIDEST else _Names(lanes)
    rows = [f"{'':{margin}}  {page.heading()}".rstrip()]
    previous = ""
    for line, time in zip(lines, times, strict=True):
        rows.append(f"{'' if time == previous else time:>{margin}}  {page.row(line)}")
        previous = time
    return "\n".join(rows)


def draw_mermaid(trace: Trace) -> str:
    """Return the chart as the source of a Mermaid sequence diagram."""
    lines = story(trace)
    lanes = _lanes(trace, lines)
    ids = {name: f"p{number}" for number, name in enumerate(lanes)}
    rows = ["sequenceDiagram"]
    rows += [f"    participant {ids[name]} as {_escaped(name)}" for name in lanes]
    for line in lines:
        text = f"{_moment(line.time)} s: {_escaped(_cut(line.text))}"
        if line.sender is None or line.sender == line.receiver:
            rows.append(f"    Note over {ids[line.receiver]}: {text}")
        else:
            arrow = "-x" if line.lost else "->>"
            rows.append(f"    {ids[line.sender]}{arrow}{ids[line.receiver]}: {text}")
    return "\n".join(rows)


def _escaped(text: str) -> str:
    return _SPECIAL.sub(lambda found: f"#{ord(found[0])};", printable(text))


def _moment(time: float) -> str:
    return f"{time:.3f}".rstrip("0").rstrip(".")


def _cut(text: str) -> str:
    text = printable(text)
    return text if cells(text) <= _LONGEST_TEXT else fitted(text, _LONGEST_TEXT)


def _lanes(trace: Trace, lines: Iterable[Line]) -> list[str]:
    """Return the participants, from the outside inwards, with steps in the order of the plans."""
    seen = {SUPERVISOR: None}
    for line in lines:
        seen |= dict.fromkeys(name for name in (line.sender, line.receiver) if name is not None)
    order = [OUTSIDE, EXECUTOR, SUPERVISOR]
    for run_id, run in trace.runs.items():
        order += [run_id, *(step_name(run_id, step_id) for step_id in run.plan.by_id)]
    order += [name for name in seen if name not in set(order)]
    return [name for name in order if name in seen]


class _Lanes:
    """Rows with a lane for each participant, and the text to the right of the lanes."""

    def __init__(self, names: Sequence[str]) -> None:
        self._widths = _fitting([max(_USUAL, cells(name) + 2) for name in names])
        self._names = names
        ends = [sum(self._widths[: count + 1]) for count in range(len(names))]
        self._middles = {
            name: end - width // 2 - 1
            for name, end, width in zip(names, ends, self._widths, strict=True)
        }

    def heading(self) -> str:
        """Return the names of the lanes."""
        return "".join(
            _centred(name, width) for name, width in zip(self._names, self._widths, strict=True)
        )

    def row(self, line: Line) -> str:
        """Return the row for one line."""
        row = [" "] * sum(self._widths)
        for middle in self._middles.values():
            row[middle] = "│"
        end = self._middles[line.receiver]
        if line.sender is None or line.sender == line.receiver:
            row[end] = "✗" if line.lost else "●"
        else:
            self._arrow(row, self._middles[line.sender], end, lost=line.lost)
        return f"{''.join(row)} {_cut(line.text)}"

    def _arrow(self, row: list[str], start: int, end: int, *, lost: bool) -> None:
        step = 1 if end > start else -1
        for place in range(start + step, end, step):
            row[place] = "┼" if row[place] == "│" else "─"
        row[start] = "├" if step == 1 else "┤"
        row[end - step] = "✗" if lost else ("▶" if step == 1 else "◀")


class _Names:
    """Rows that name sender and receiver."""

    def __init__(self, names: Sequence[str]) -> None:
        self._width = min(16, max(map(cells, names)))

    def heading(self) -> str:
        """Return an empty string: there are no lanes."""
        return ""

    def row(self, line: Line) -> str:
        """Return the row for one line."""
        receiver = fitted(printable(line.receiver), self._width)
        if line.sender is None:
            return f"{'':{self._width}} ● {receiver} {_cut(line.text)}"
        arrow = "✗" if line.lost else "▶"
        sender = fitted(printable(line.sender), self._width)
        return f"{sender} {arrow} {receiver} {_cut(line.text)}"


def _fitting(widths: Sequence[int]) -> list[int]:
    """Return widths that fit on a page together, shrinking the widest first."""
    widest = max(widths)
    while widest > _NARROWEST and sum(min(width, widest) for width in widths) > _WIDEST:
        widest -= 1
    return [min(width, widest) for width in widths]


def _centred(name: str, width: int) -> str:
    """Return a name centred over its lane, cut if necessary."""
    shown = printable(name)
    if cells(shown) >= width:
        return fitted(shown, width - 1) + " "
    blank = width - cells(shown)
    left = (blank - 1) // 2 if width % 2 == 0 and blank % 2 == 0 else blank // 2
    return " " * left + shown + " " * (blank - left)
