"""Searching for schedules that break a law, and saving the one that was found."""

from __future__ import annotations

import contextlib
import io
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TextIO, cast

import attrs
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from actorflow.cli.terminal.interrupts import EXIT_BASE, Interrupts
from actorflow.cli.terminal.lines import GAP, table
from actorflow.support.clock import SystemClock
from actorflow.testing import Faults, Law, Replay, explore
from actorflow.testing.laws import ALL
from actorflow.testing.search.cases import Given
from actorflow.views.text import in_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Protocol

    from actorflow.cli.loading import Loaded
    from actorflow.testing import Exploration, Script

    class Progress(Protocol):
        """Shows the progress of a search."""

        def show(self, schedules: int) -> None:
            """Show how many schedules have been tried."""

    from collections.abc import Sequence

    from rich.console import Console, RenderableType

__all__ = [
    "Found",
    "SearchOrder",
    "SearchProgress",
    "discard_stdout",
    "laws_of",
    "save",
    "search",
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

    @property
    def exit_status(self) -> int:
        """The exit status of the command."""
        if self.exploration.failure is not None:
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
    return attrs.evolve(found, saved=_written(replay, path))


def _written(replay: Replay, path: Path | None) -> Path:
    name = Path(_NOT_IN_FILE_NAMES.sub("-", f"{replay.workflow_id}-{replay.law}.json"))
    wanted = _free(name, replay) if path is None else path
    try:
        replay.save(wanted)
    except OSError as error:
        sys.stderr.write(f"{wanted} cannot be written: {error.strerror}.\n")
        wanted = Path(tempfile.mkdtemp(prefix="actorflow-")) / name
        replay.save(wanted)
    return wanted


def _free(name: Path, replay: Replay) -> Path:
    """Return a path that is free: an earlier schedule there may be the only one of its kind."""
    text, found, number = replay.to_json() + "\n", name, 1
    while found.is_file() and not _holds(found, text):
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
