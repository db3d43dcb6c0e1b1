"""A Gantt chart of a run as text: one row per step, time from left to right."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import attrs

from actorflow.model.lifecycle import StepStatus
from actorflow.views.text import cells, fitted, in_words, printable
from actorflow.views.timeline import Phase, Timeline

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from actorflow.model.events import Event
    from actorflow.views.timeline import Segment, Track

__all__ = ["NARROWEST", "choose_tracks", "describe_omitted", "describe_track", "draw_gantt"]

NARROWEST: Final = 20
"""The minimum width of a chart, in columns."""
_GAP: Final = "  "

# Where a cell covers several phases, the last of them in this order is drawn: a short failure must
# not be hidden by the success that followed it.
_GLYPHS: Final = {
    Phase.QUEUED: "╌",
    Phase.BACKOFF: "·",
    Phase.COMPLETED: "█",
    Phase.RUNNING: "▓",
    Phase.CANCELLED: "░",
    Phase.UNDONE: "<",
    Phase.UNDOING: "(",
    Phase.FAILED: "▒",
    Phase.NOT_UNDONE: "!",
}
_PAINT_ORDER: Final = {phase: order for order, phase in enumerate(_GLYPHS)}


@attrs.frozen
class _Scale:
    """The conversion of time to columns."""

    start: float
    seconds: float
    columns: int

    def cells(self, segment: Segment) -> range:
        # Even the shortest segment gets a cell.
        first = min(math.floor(self._column(segment.start)), self.columns - 1)
        last = max(first + 1, math.ceil(self._column(segment.end)))
        return range(max(first, 0), min(last, self.columns))

    def _column(self, time: float) -> float:
        return (time - self.start) / self.seconds * self.columns if self.seconds > 0 else 0.0


def draw_gantt(
    events: Iterable[Event], *, width: int = 80, rows: int = 40, now: float | None = None
) -> str:
    """Return a chart of a run, finished or not.

    Args:
        events: The run's events, from the first on.
        width: The width in columns, at least `NARROWEST`.
        rows: The maximum number of steps. If there are more, those that did not complete are
            shown, then those that took longest; a line says how many are left out.
        now: The time up to which running steps are drawn; by default that of the last event.
    """
    if width < NARROWEST:
        raise ValueError(f"a Gantt chart needs at least {NARROWEST} columns, not {width}")
    timeline = Timeline.of(events)
    until = timeline.last_at if now is None else now
    tracks = list(timeline.tracks.values())
    shown = choose_tracks(tracks, rows, until)
    chart = _chart(timeline.started_at, until, shown, width)
    return "\n".join([*chart, *describe_omitted(tracks, shown)])


def choose_tracks(tracks: Sequence[Track], rows: int, until: float) -> list[Track]:
    """Return at most `rows` tracks: those not completed first, then those that took longest."""

    def weight(track: Track) -> tuple[bool, float]:
        return track.status is StepStatus.COMPLETED, -(track.elapsed(until) or 0.0)

    kept = {track.step_id for track in sorted(tracks, key=weight)[:rows]}
    return [track for track in tracks if track.step_id in kept]


def describe_omitted(tracks: Sequence[Track], shown: Sequence[Track]) -> list[str]:
    """Return a line that counts the tracks not shown, or no line if all are."""
    missing = len(tracks) - len(shown)
    return [f"… and {missing} more step{'s' * (missing > 1)}"] if missing else []


def _chart(start: float, until: float, tracks: Sequence[Track], width: int) -> list[str]:
    labels = [printable(track.step_id) for track in tracks]
    notes = [describe_track(track, until) for track in tracks]
    label_width, note_width = _widest(labels, width // 3), _widest(notes, width // 3)
    seconds = max(0.0, until - start)
    scale = _Scale(start, seconds, width - label_width - note_width - 2 * len(_GAP))
    bars = [_bar(track, scale, until) for track in tracks]
    drawn = [
        _row(fitted(label, label_width), bar, fitted(note, note_width))
        for label, bar, note in zip(labels, bars, notes, strict=True)
    ]
    axis = _row(" " * label_width, _axis(scale), "")
    return [*drawn, axis, *_legend(set("".join(bars)), width)]


def _widest(texts: Sequence[str], ceiling: int) -> int:
    return min(max(map(cells, texts), default=0), ceiling)


def _row(*columns: str) -> str:
    return _GAP.join(columns).rstrip()


def describe_track(track: Track, now: float) -> str:
    """Return the step's duration, its status unless it completed, and its retries.

    A step that was kept by a resumption has no duration, and no bar: its note says so.
    """
    elapsed = track.elapsed(now)
    parts = [] if elapsed is None else [in_words(elapsed)]
    if track.kept:
        parts.append("before resume")
    if track.status is not StepStatus.COMPLETED:
        parts.append(track.status.value)
    if track.attempts > 1:
        parts.append(f"{track.attempts} attempts")
    return ", ".join(parts)


def _bar(track: Track, scale: _Scale, until: float) -> str:
    bar = [" "] * scale.columns
    for segment in sorted(track.segments(until), key=lambda segment: _PAINT_ORDER[segment.phase]):
        for column in scale.cells(segment):
            bar[column] = _GLYPHS[segment.phase]
    return "".join(bar)


def _axis(scale: _Scale) -> str:
    end = in_words(scale.seconds)
    return "0" + end.rjust(scale.columns - 1) if len(end) < scale.columns else ""


def _legend(used: Collection[str], width: int) -> list[str]:
    entries = [f"{glyph} {phase.value}" for phase, glyph in _GLYPHS.items() if glyph in used]
    lines: list[str] = []
    for entry in entries:
        if lines and cells(lines[-1]) + len(_GAP) + cells(entry) <= width:
            lines[-1] += _GAP + entry
        else:
            lines.append(fitted(entry, width).rstrip())
    return lines
