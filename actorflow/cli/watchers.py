"""Watchers, which show the progress of a run: live in a terminal, as lines, or not at all."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Final, Protocol, Self

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from actorflow.cli.terminal.lines import GAP, step_row, steps_table, table
from actorflow.model.lifecycle import StepStatus
from actorflow.support.clock import SystemClock
from actorflow.views import Timeline, draw_line
from actorflow.views.text import in_words, one_line, printable
from actorflow.views.tree import branches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.model.events import Event
    from actorflow.views import Branch
    from actorflow.views.timeline import Track

__all__ = ["LineWatcher", "LiveWatcher", "SilentWatcher", "Watcher"]


class Watcher(Protocol):
    """Shows the progress of a run; always called on the main thread."""

    def begin(self, plan: WorkflowPlan, recorded: int) -> None:
        """Called before the run starts, or resumes after `recorded` events."""

    def show(self, event: Event) -> None:
        """Called with each event."""

    def look(self) -> None:
        """Called at short intervals."""

    def end(self) -> None:
        """Called after the last event."""


class SilentWatcher:
    """A watcher that shows nothing."""

    def begin(self, plan: WorkflowPlan, recorded: int) -> None:
        """Do nothing."""

    def show(self, event: Event) -> None:
        """Do nothing."""

    def look(self) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


class LineWatcher(SilentWatcher):
    """A watcher that immediately writes each event to stdout as a line."""

    def __init__(self) -> None:
        self._started_at: float | None = None
        self._recorded = 0

    def begin(self, _plan: WorkflowPlan, recorded: int) -> None:
        """Remember how many events were recorded before, to skip them."""
        self._recorded = recorded

    def show(self, event: Event) -> None:
        """Write the event."""
        if event.number <= self._recorded:
            return
        if self._started_at is None:
            self._started_at = event.time
        sys.stdout.write(f"{draw_line(event, self._started_at)}\n")
        sys.stdout.flush()


_REFRESH: Final = 0.1
"""Seconds between two refreshes."""
_BAR_COLUMNS: Final = 30
_NARROWEST_BAR: Final = 5
_OTHER_LINES: Final = 3
"""Lines that do not show a step: the counts, the progress bar and the cursor's line."""

# When there are more steps than lines, only these are shown, in this order.
_SHOWN_STATUSES: Final = (
    StepStatus.FAILED,
    StepStatus.COMPENSATION_FAILED,
    StepStatus.RETRYING,
    StepStatus.RUNNING,
    StepStatus.SKIPPED,
)


class Picture:
    """A rendering of the run's current state."""

    def __init__(self, clock: SystemClock) -> None:
        self._clock = clock
        self._timeline = Timeline()
        self._plan: WorkflowPlan | None = None
        self._branches: tuple[Branch, ...] = ()

    def begin(self, plan: WorkflowPlan, lines: int) -> None:
        """Set the workflow; its steps are drawn as a tree if it fits into `lines` lines."""
        self._plan = plan
        if len(plan.steps) <= lines - _OTHER_LINES:
            self._branches = branches(plan)

    def take(self, event: Event) -> None:
        """Apply an event."""
        self._timeline.take(event)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self._plan is None:
            return
        now = self._clock.wall(self._clock.now())
        if self._branches:
            yield steps_table(self._tree(now), options.max_width)
        else:
            yield steps_table(self._active(now, console.height - _OTHER_LINES), options.max_width)
            yield self._counts()
        yield self._progress(self._plan, now, options.max_width)

    def _tree(self, now: float) -> Iterator[Sequence[Text]]:
        for branch in self._branches:
            also = f"also after {', '.join(map(printable, branch.others))}" if branch.others else ""
            yield self._row(branch.step.id, branch.prefix, now, also)

    def _active(self, now: float, lines: int) -> Iterator[Sequence[Text]]:
        tracks = list(self._timeline.tracks.values())
        shown = [track for status in _SHOWN_STATUSES for track in tracks if track.status is status]
        for track in shown[:lines]:
            yield self._row(track.step_id, "", now, "")

    def _row(self, step_id: str, prefix: str, now: float, also: str) -> Sequence[Text]:
        track = self._timeline.tracks.get(step_id)
        status = StepStatus.PENDING if track is None else track.status
        return step_row(
            step_id,
            status,
            prefix=prefix,
            label="being undone" if track and track.being_undone else None,
            attempts=0 if track is None else track.attempts,
            elapsed=None if track is None else track.elapsed(now),
            remark=_remark(track) or also,
        )

    def _counts(self) -> Text:
        counts = Counter(track.status for track in list(self._timeline.tracks.values()))
        parts = [f"{counts[status]} {status.value}" for status in StepStatus if counts[status]]
        return Text(", ".join(parts), "dim", no_wrap=True, overflow="ellipsis")

    def _progress(self, plan: WorkflowPlan, now: float, width: int) -> RenderableType:
        tracks = list(self._timeline.tracks.values())
        settled = sum(track.status.settled for track in tracks)
        elapsed = max(0.0, now - self._timeline.started_at) if self._timeline.started_at else 0.0
        steps = len(plan.steps)
        figures = Text(f"{settled}/{steps}"), Text(in_words(elapsed), "dim")
        others = sum(figure.cell_len + GAP for figure in figures)
        name = Text(printable(plan.name), "bold")
        name.truncate(max(width - others, 1), overflow="ellipsis")
        room = min(_BAR_COLUMNS, width - others - name.cell_len - GAP)
        if room < _NARROWEST_BAR:
            return table([(name, *figures)], 3)
        bar = ProgressBar(total=steps, completed=settled, width=room)
        return table([(name, bar, *figures)], 4)


def _remark(track: Track | None) -> str:
    return "" if track is None or track.error is None else one_line(track.error)


class LiveWatcher:
    """A context manager that keeps redrawing the picture.

    While entered, it captures stdout and stderr so that the output of steps appears above the
    picture. Enter it before other code keeps a reference to one of the two streams.
    """

    def __init__(self, console: Console) -> None:
        self._clock = SystemClock()
        self._console = console
        self._picture = Picture(self._clock)
        self._live = Live(self._picture, console=console, auto_refresh=False)
        self._drawn_at = 0.0

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._live.stop()

    def begin(self, plan: WorkflowPlan, _recorded: int) -> None:
        """Draw the steps."""
        self._picture.begin(plan, self._console.height)
        self._live.refresh()

    def show(self, event: Event) -> None:
        """Apply the event; it is drawn with the next refresh."""
        self._picture.take(event)

    def look(self) -> None:
        """Refresh if it is time."""
        now = self._clock.now()
        if now - self._drawn_at >= _REFRESH:
            self._drawn_at = now
            self._live.refresh()

    def end(self) -> None:
        """Refresh a last time."""
        self._live.refresh()
