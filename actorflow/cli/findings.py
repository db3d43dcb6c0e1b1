"""What is said of a search when it is over: for people, and as JSON."""

from __future__ import annotations

import shlex
import textwrap
from typing import TYPE_CHECKING, Any, Final

from actorflow.testing import simulate
from actorflow.views.text import cells, fitted, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from actorflow.cli.searching import Found
    from actorflow.testing import Exploration, LawBroken

__all__ = ["broken_lines", "cut", "describe_search", "whole_search"]

_WRAPPED: Final = 100
_ENDED_WELL: Final = "completed"


def describe_search(found: Found, width: int) -> Iterator[str]:
    """Yield the lines of the report: how much was tried and seen, and what was found."""
    seen = found.exploration
    if found.signal is not None and seen.failure is None:
        yield f"Interrupted after {seen.schedules:,} of {found.order.schedules:,} schedules."
    for line in _figures(seen):
        yield from textwrap.wrap(line, width or _WRAPPED, subsequent_indent="  ")
    yield from _hints(found)
    yield ""
    if seen.broken is None:
        yield "no law broken"
    else:
        yield from broken_lines(seen.broken, width)
    if found.saved is not None:
        command = f"actorflow replay {shlex.quote(str(found.saved))}"
        yield from ("", f"Saved as {found.saved}. To see it again, type:", f"  {command}")


def _figures(seen: Exploration) -> Iterator[str]:
    yield (
        f"{seen.schedules:,} schedules in {seen.seconds:.1f} s "
        f"({seen.schedules_per_second:,.0f} a second), {seen.distinct:,} of them distinct; "
        f"seed {seen.seed}"
    )
    yield f"runs: {', '.join(f'{count:,} {how}' for how, count in seen.endings.items())}"
    yield f"virtual duration: {seen.durations}"
    missed = "; ".join(map(str, seen.edges.missed))
    yield f"covered: {seen.edges}" + (f"; missed: {missed}" if missed else "")


def _hints(found: Found) -> Iterator[str]:
    """Yield what is surely not meant: a search in which no run has ever completed."""
    if _ENDED_WELL in found.exploration.endings:
        return
    order = found.order
    trace = simulate(
        order.loaded.flow, order.inputs, script=order.script, async_workers=order.workers
    )
    for run_id, result in trace.results.items():
        if result.failed_step is not None and result.error is not None:
            error = result.steps[result.failed_step].error or result.error
            yield f"No run completed. On the plainest schedule, step {result.failed_step!r} fails:"
            yield f"  {one_line(error)}"
        else:
            yield f"No run completed. On the plainest schedule, {run_id} is {result.status.value}."


def broken_lines(broken: LawBroken, width: int) -> Iterator[str]:
    """Yield how a law is broken: the law, what was seen, the tape, and the chart.

    Args:
        broken: How.
        width: Where lines of the chart are cut, or nought.
    """
    told, _, chart = str(broken).partition("\n\n")
    for line in told.splitlines():
        yield from _wrapped(line, width)
    yield from ("", *cut(chart.splitlines(), width))


def _wrapped(line: str, width: int) -> list[str]:
    return textwrap.wrap(line, width, subsequent_indent="  ") if width else [line]


def cut(lines: Iterable[str], width: int) -> Iterator[str]:
    """Yield lines that fit into so many columns; nought for as many as they like."""
    for line in lines:
        yield fitted(line, width).rstrip() if width and cells(line) > width else line


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────


def whole_search(found: Found) -> dict[str, Any]:
    """Return everything that a search has come to, in terms of what JSON has."""
    seen = found.exploration
    return {
        "flow": found.order.loaded.place,
        "workflow_id": found.order.loaded.flow.id,
        "seed": seen.seed,
        "schedules": seen.schedules,
        "distinct": seen.distinct,
        "seconds": seen.seconds,
        "schedules_per_second": seen.schedules_per_second,
        "runs": dict(seen.endings),
        "virtual_duration": seen.durations._asdict(),
        "moves": {
            "seen": list(map(str, seen.edges.seen)),
            "missed": list(map(str, seen.edges.missed)),
        },
        "interrupted": found.signal is not None,
        "broken": None if seen.broken is None else _broken(found, seen.broken),
    }


def _broken(found: Found, broken: LawBroken) -> dict[str, Any]:
    return {
        "number": broken.number,
        "law": broken.name,
        "text": broken.text,
        "seen": broken.observed,
        "choices": {label: list(stream) for label, stream in broken.tape.streams.items()},
        "chart": broken.chart,
        "saved": None if found.saved is None else str(found.saved),
        "schedules_to_shrink": found.exploration.shrunk_by,
    }
