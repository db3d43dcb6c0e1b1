"""The report of a search, as text and as JSON."""

from __future__ import annotations

import shlex
import textwrap
from typing import TYPE_CHECKING, Any, Final

from actorflow.testing import NotEnded, real, simulate
from actorflow.views.text import cells, fitted, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from actorflow.cli.simulate.searching import Found, SearchOrder
    from actorflow.testing import Exploration, LawBroken

__all__ = ["cut", "describe_broken", "describe_search", "search_as_json"]

_TEXT_WIDTH: Final = 100
_ENDED_WELL: Final = "completed"


def describe_search(found: Found, width: int) -> Iterator[str]:
    """Yield the lines of the report: how much was tried and covered, and what was found."""
    seen = found.exploration
    if found.signal is not None and seen.failure is None:
        yield f"Interrupted after {seen.schedules:,} of {found.order.schedules:,} schedules."
    for line in _figures(seen):
        yield from textwrap.wrap(line, width or _TEXT_WIDTH, subsequent_indent="  ")
    for hint in _hints(found):
        yield from ("", *textwrap.wrap(hint, width or _TEXT_WIDTH))
    yield ""
    if seen.broken is None:
        yield "no law broken"
    else:
        yield from describe_broken(seen.broken, width)
    if found.saved is not None:
        command = f"actorflow replay {shlex.quote(str(found.saved))}"
        yield from ("", f"Saved as {found.saved}. To see it again, type:", f"  {command}")


def _figures(seen: Exploration) -> Iterator[str]:
    several = "" if seen.schedules == 1 else "s"
    yield (
        f"{seen.schedules:,} schedule{several} in {seen.seconds:.1f} s "
        f"({seen.schedules_per_second:,.0f} a second), {seen.distinct:,} of them distinct; "
        f"seed {seen.seed}"
    )
    yield f"runs: {', '.join(f'{count:,} {how}' for how, count in seen.endings.items())}"
    yield f"virtual duration: {seen.durations}"
    missed = "; ".join(map(str, seen.edges.missed))
    yield f"covered: {seen.edges}" + (f"; missed: {missed}" if missed else "")


def _hints(found: Found) -> Iterator[str]:
    """Yield warnings about likely mistakes: no run completed, or a user-defined law fails."""
    if _ENDED_WELL not in found.exploration.endings:
        yield f"No run completed. On the default schedule, {_why_not_completed(found.order)}"
    broken = found.exploration.broken
    scripted = any(behaviour != real(after=None) for behaviour in found.order.script.default)
    if broken is not None and broken.number is None and scripted:
        yield (
            f"The law {broken.name} is your own. If it checks what steps return or do, add "
            "--real: without it, step functions are not called, and each step returns a string."
        )


def _why_not_completed(order: SearchOrder) -> str:
    trace = simulate(
        order.loaded.flow, order.inputs, script=order.script, async_workers=order.workers
    )
    try:
        result = trace.result
    except NotEnded as error:
        return str(error)
    if result.failed_step is None or result.error is None:
        return f"the run is {result.status.value}"
    cause = result.steps[result.failed_step].error or result.error
    return f"step {result.failed_step!r} fails: {one_line(cause)}"


def describe_broken(broken: LawBroken, width: int) -> Iterator[str]:
    """Yield how a law is broken: the law, what was observed, the tape, and the chart.

    Args:
        broken: The error.
        width: The width to cut lines of the chart to; 0 for no limit.
    """
    text, _, chart = str(broken).partition("\n\n")
    for line in text.splitlines():
        yield from _wrapped(line, width)
    yield from ("", *cut(chart.splitlines(), width))


def _wrapped(line: str, width: int) -> list[str]:
    return textwrap.wrap(line, width, subsequent_indent="  ") if width else [line]


def cut(lines: Iterable[str], width: int) -> Iterator[str]:
    """Yield lines cut to `width` columns; 0 means no limit."""
    for line in lines:
        yield fitted(line, width).rstrip() if width and cells(line) > width else line


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────


def search_as_json(found: Found) -> dict[str, Any]:
    """Return all results of a search in a form that JSON can hold."""
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
        "doubt": broken.doubt,
        "choices": {label: list(stream) for label, stream in broken.tape.streams.items()},
        "chart": broken.chart,
        "saved": None if found.saved is None else str(found.saved),
        "schedules_to_shrink": found.exploration.shrunk_by,
    }
