"""Searching for schedules that break a law, and saving the one that was found."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TextIO, cast

import attrs
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from actorflow.cli.paths import is_file, why
from actorflow.cli.terminal.exits import EXIT_BASE, Interrupts
from actorflow.cli.terminal.lines import GAP, table
from actorflow.cli.trust import options_of
from actorflow.support.clock import SystemClock
from actorflow.testing import Faults, Law, NotEnded, Replay, explore, real, simulate
from actorflow.testing.laws import ALL
from actorflow.testing.search.cases import Given
from actorflow.views.text import cells, fitted, in_words, one_line, printable_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Protocol

    from actorflow.cli.loading import Loaded
    from actorflow.testing import Exploration, Script

    class Progress(Protocol):
        """Shows the progress of a search."""

        def show(self, schedules: int) -> None:
            """Show how many schedules have been tried."""

    from collections.abc import Iterable, Sequence

    from rich.console import Console, RenderableType

    from actorflow.testing import LawBroken

__all__ = [
    "Found",
    "SearchOrder",
    "SearchProgress",
    "cut",
    "describe_broken",
    "describe_search",
    "discard_stdout",
    "laws_of",
    "save",
    "search",
    "search_as_json",
]

_REFRESH: Final = 0.1
"""Seconds between two refreshes of the progress."""
_NOT_IN_FILE_NAMES: Final = re.compile(r"[^\w.-]+")


@attrs.frozen(kw_only=True)
class SearchOrder:
    """The workflow to search, and how far."""

    loaded: Loaded
    inputs: Mapping[str, Any]
    script: Script
    schedules: int
    exhaustive: int | None
    seed: int
    workers: int
    faults: Faults


@attrs.frozen(kw_only=True)
class Found:
    """The result of a search."""

    order: SearchOrder
    exploration: Exploration
    signal: int | None
    """The signal that ended it early, if any."""
    saved: Path | None = None
    """The file with the schedule that breaks a law."""
    options: str = ""
    """The options that a replay of that file needs, as typed."""

    @property
    def exit_status(self) -> int:
        """The exit status of the command."""
        if self.exploration.failure is not None or not self.exploration.explored:
            return 1
        return 0 if self.signal is None else EXIT_BASE + self.signal


def laws_of(loaded: Loaded) -> tuple[Law, ...]:
    """Return actorflow's own laws and those defined in the workflow's module."""
    defined = [value for value in loaded.namespace.values() if isinstance(value, Law)]
    return tuple(dict.fromkeys((*ALL, *defined)))


def search(order: SearchOrder, progress: Progress | None) -> Found:
    """Try schedules until one breaks a law, all are tried, or a signal arrives.

    A second signal exits at once.
    """
    clock, drawn_at = SystemClock(), 0.0
    with Interrupts(lambda: None) as interrupts, discard_stdout():

        def watch(schedules: int) -> bool:
            nonlocal drawn_at
            if progress is not None and clock.now() - drawn_at >= _REFRESH:
                drawn_at = clock.now()
                progress.show(schedules)
            return interrupts.number is None

        exploration = explore(
            order.loaded.flow,
            order.inputs,
            script=order.script,
            schedules=order.schedules,
            exhaustive=order.exhaustive,
            seed=order.seed,
            laws=laws_of(order.loaded),
            async_workers=order.workers,
            faults=order.faults,
            watch=watch,
        )
        return Found(order=order, exploration=exploration, signal=interrupts.number)


class _Discard(io.TextIOBase):
    """A stream that discards its output."""

    def write(self, text: str) -> int:
        return len(text)


@contextlib.contextmanager
def discard_stdout() -> Iterator[TextIO]:
    """Yield stdout, and discard what other code prints to it.

    With `--real`, steps would print on every schedule.
    """
    stdout = sys.stdout
    with contextlib.redirect_stdout(cast("TextIO", _Discard())):
        yield stdout


# ── Files ────────────────────────────────────────────────────────────────────────────────────


def save(found: Found, path: Path | None) -> Found:
    """Save the schedule that breaks a law, if there is one.

    Args:
        found: The result of the search.
        path: The file; by default a file in the current folder that is named after the workflow
            and the law, with a number appended if that name is taken. If it cannot be written, the
            schedule is saved in a temporary folder instead.

    Raises:
        DefinitionError: When the schedule contains values that JSON cannot hold.
    """
    seen = found.exploration
    if seen.failure is None or seen.broken is None or not isinstance(seen.case, Given):
        return found
    replay = Replay.of(
        seen.case,
        seen.failure.tape,
        flow=found.order.loaded.place,
        law=seen.broken.name,
        trace=seen.failure,
    )
    options = options_of(found.order.loaded.place, replay.real_steps(found.order.loaded.flow))
    return attrs.evolve(found, saved=_written(replay, path), options=options)


def _written(replay: Replay, path: Path | None) -> Path:
    name = Path(_NOT_IN_FILE_NAMES.sub("-", f"{replay.workflow_id}-{replay.law}.json"))
    wanted = _free(name, replay) if path is None else path
    try:
        replay.save(wanted)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{printable_lines(str(wanted))} cannot be written: {why(error)}.\n")
        wanted = Path(tempfile.mkdtemp(prefix="actorflow-")) / name
        replay.save(wanted)
    return wanted


def _free(name: Path, replay: Replay) -> Path:
    """Return a path that is free: an earlier schedule there may be the only one of its kind."""
    text, found, number = replay.to_json() + "\n", name, 1
    while is_file(found) and not _holds(found, text):
        number += 1
        found = name.with_stem(f"{name.stem}-{number}")
    return found


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except (OSError, UnicodeDecodeError):
        return False


_BAR_COLUMNS: Final = 40
_NARROWEST_BAR: Final = 5


class SearchProgress:
    """A transient progress bar of the schedules that have been tried.

    Args:
        console: The terminal.
        schedules: The total number of schedules.
    """

    def __init__(self, console: Console, schedules: int) -> None:
        self._console = console
        self._total = schedules
        self._clock = SystemClock()
        self._began = self._clock.now()
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        self.show(0)
        return self

    def __exit__(self, *_error: object) -> None:
        self._live.stop()

    def show(self, schedules: int) -> None:
        """Show how many schedules have been tried."""
        self._live.update(self._row(schedules, self._console.width), refresh=True)

    def _row(self, schedules: int, width: int) -> RenderableType:
        took = self._clock.now() - self._began
        rate = f"{schedules / took:,.0f}/s" if took else ""
        figures = [Text(f"{schedules:,}/{self._total:,}"), Text(rate), Text(in_words(took), "dim")]
        while len(figures) > 1 and _room(figures, width) < 0:
            figures.pop()
        room = min(_BAR_COLUMNS, _room(figures, width) - GAP)
        if room < _NARROWEST_BAR:
            return table([figures], len(figures))
        bar = ProgressBar(total=self._total, completed=schedules, width=room)
        return table([(bar, *figures)], 1 + len(figures))


def _room(figures: Sequence[Text], width: int) -> int:
    """Return the number of columns left by the figures."""
    return width - sum(figure.cell_len for figure in figures) - GAP * (len(figures) - 1)


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
        yield from textwrap.wrap(seen.verdict, width or _TEXT_WIDTH)
    else:
        yield from describe_broken(seen.broken, width)
    if found.saved is not None:
        command = f"actorflow replay {shlex.quote(str(found.saved))}{found.options}"
        yield from ("", f"Saved as {found.saved}. To see it again, type:", f"  {command}")


def _figures(seen: Exploration) -> Iterator[str]:
    if seen.scope is not None:
        yield seen.scope
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
        "explored": seen.explored,
        "exhaustive": seen.exhaustive,
        "exhausted": seen.exhausted,
        "complete": seen.complete,
        "pruned": seen.pruned,
        "refusal": seen.refusal,
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
