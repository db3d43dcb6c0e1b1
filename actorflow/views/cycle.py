"""Steps that wait for each other, as a ring: for a definition of which there is no plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorflow.graph import find_cycle
from actorflow.views.text import cells, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from actorflow.step import Step

__all__ = ["draw_cycle"]

_ENDS: Final = 10
"""How many steps of a long ring are shown at either end."""


def draw_cycle(steps: Mapping[str, Step]) -> str:
    """Return a picture of one cycle, in the direction of the data; nothing if there is none."""
    ring = find_cycle({step.id: step.after for step in steps.values()})[:-1]
    if not ring:
        return ""
    rows = list(_rows(ring, steps))
    widest = max(cells(name) for name, _ in rows)
    if len(rows) > 2 * _ENDS:
        rows[_ENDS:-_ENDS] = [(f"… {len(rows) - 2 * _ENDS} more", "")]
    lines = [f"{name}{' ' * (widest - cells(name))}  {after}".rstrip() for name, after in rows]
    return "\n".join(_bent(lines))


def _rows(ring: Sequence[str], steps: Mapping[str, Step]) -> Iterator[tuple[str, str]]:
    for step_id in ring:
        yield printable(step_id), f"after {', '.join(map(printable, steps[step_id].after))}"


def _bent(lines: Sequence[str]) -> Iterator[str]:
    if len(lines) == 1:
        yield f"───> {lines[0]}"
        return
    yield f"┌──> {lines[0]}"
    yield from (f"│    {line}" for line in lines[1:-1])
    yield f"└─── {lines[-1]}"
