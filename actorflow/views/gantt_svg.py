"""A Gantt chart of a run as SVG: one row per step, time from left to right."""

from __future__ import annotations

import html
import itertools
from typing import TYPE_CHECKING, Final

import attrs

from actorflow.views.gantt import choose_tracks, describe_omitted, describe_track
from actorflow.views.text import cells, fitted, in_words, printable
from actorflow.views.timeline import Phase, Timeline

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from actorflow.model.events import Event
    from actorflow.views.timeline import Segment, Track

__all__ = ["NARROWEST_SVG", "draw_gantt_svg"]

NARROWEST_SVG: Final = 320
"""Pixels that a chart needs at least."""

_MARGIN: Final = 16
_GAP: Final = 12
_ROW: Final = 26
_BAR: Final = 14
_THIN: Final = 4
_CELL: Final = 7.3
"""Pixels per column of the monospaced font, at 12 pixels."""
_SHORTEST: Final = 2.0
"""Pixels that a segment gets, however short it is."""
_SEEN: Final = 0.001
"""The share of the chart that a wait must take to be drawn."""
_SWATCH: Final = 16
_TICKS: Final = 5
_MINUTE: Final = 60
_HOUR: Final = 3600

_CLASSES: Final = {
    Phase.QUEUED: "queued",
    Phase.BACKOFF: "backoff",
    Phase.COMPLETED: "completed",
    Phase.RUNNING: "running",
    Phase.FAILED: "failed",
    Phase.CANCELLED: "cancelled",
    Phase.UNDOING: "undoing",
    Phase.UNDONE: "undone",
    Phase.NOT_UNDONE: "notundone",
}
_WAITS: Final = frozenset({Phase.QUEUED, Phase.BACKOFF})

# The chart brings its own background, so it is readable even where the page is light and the
# reader's system is dark, or the other way round. Failures are outlined, not only red.
_STYLE: Final = """\
.af-gantt{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.af-paper{fill:#fbfbfc;stroke:#d5d9df}.af-text{fill:#24292f}.af-faint{fill:#656d76}
.af-grid{stroke:#e2e5ea}.af-queued{fill:#b8c0cc}.af-backoff{fill:#e3a33c}
.af-completed{fill:#2f81c1}.af-running{fill:#8fc1e8}.af-cancelled{fill:#9aa3ad}
.af-failed,.af-notundone{fill:#f7c9c5;stroke:#cf3a30;stroke-width:1.5}
.af-undone{fill:#8560c5}.af-undoing{fill:#c3aee8}
@media(prefers-color-scheme:dark){.af-paper{fill:#161b22;stroke:#343b45}
.af-text{fill:#e6edf3}.af-faint{fill:#9aa4af}.af-grid{stroke:#2b323b}.af-queued{fill:#5b6572}
.af-completed{fill:#4a9fe0}.af-running{fill:#2a5a80}.af-cancelled{fill:#6e7781}
.af-failed,.af-notundone{fill:#5d2421;stroke:#f0655b}.af-undone{fill:#a586e0}
.af-undoing{fill:#544080}}"""


@attrs.frozen
class _Scale:
    """How time becomes pixels."""

    start: float
    seconds: float
    left: float
    width: float

    @property
    def right(self) -> float:
        return self.left + self.width

    def place(self, time: float) -> float:
        share = (time - self.start) / self.seconds if self.seconds > 0 else 0.0
        return self.left + min(max(share, 0.0), 1.0) * self.width


def draw_gantt_svg(
    events: Iterable[Event], *, width: int = 760, rows: int = 40, now: float | None = None
) -> str:
    """Return a chart of a run, finished or not, as an SVG document.

    It has a light and a dark palette, refers to nothing outside of itself, and runs no script.
    Hovering over a bar shows what the step did there and for how long.

    Args:
        events: The run's events, from the first on.
        width: Pixels that the chart takes, at least `NARROWEST_SVG`.
        rows: How many steps to show at most. Of more, those that did not complete are shown,
            then those that took longest; a line says how many are left out.
        now: How far to draw steps that still run; by default to the last event.
    """
    if width < NARROWEST_SVG:
        raise ValueError(f"an SVG chart of {width} pixels; give it at least {NARROWEST_SVG}")
    timeline = Timeline.of(events)
    until = timeline.last_at if now is None else now
    tracks = list(timeline.tracks.values())
    shown = choose_tracks(tracks, rows, until)
    remarks = describe_omitted(tracks, shown) if tracks else ["no step has begun"]
    segments = {track.step_id: _visible(track, timeline.started_at, until) for track in shown}
    parts = [*_chart(timeline.started_at, until, shown, segments, width)]
    bottom = _MARGIN + _ROW * (len(shown) + bool(shown))
    legend = _legend(_phases(segments.values()), width)
    parts += itertools.chain.from_iterable(
        _legend_row(line, _middle(bottom, place)) for place, line in enumerate(legend)
    )
    parts += [
        _text(_MARGIN, _middle(bottom, len(legend) + place), remark, "faint")
        for place, remark in enumerate(remarks)
    ]
    height = bottom + _ROW * (len(legend) + len(remarks)) + _MARGIN // 2
    return _document(parts, width, height, len(tracks))


def _document(parts: Iterable[str], width: int, height: int, steps: int) -> str:
    about = f"Gantt chart of {steps} step{'s' * (steps != 1)}"
    root = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="af-gantt" role="img" '
        f'aria-label="{about}" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
    )
    inner = f'x=".5" y=".5" width="{width - 1}" height="{height - 1}"'
    paper = f'<rect class="af-paper" {inner} rx="8"/>'
    return "\n".join([root, f"<style>{_STYLE}</style>", paper, *parts, "</svg>\n"])


def _visible(track: Track, start: float, until: float) -> list[Segment]:
    """Return the segments of a row, without waits that are too short to be seen."""
    shortest = (until - start) * _SEEN
    return [
        segment
        for segment in track.segments(until)
        if segment.phase not in _WAITS or segment.seconds > shortest
    ]


def _chart(
    start: float,
    until: float,
    tracks: Sequence[Track],
    segments: Mapping[str, Iterable[Segment]],
    width: int,
) -> Iterator[str]:
    """Yield the axis, then a row for each step over it."""
    if not tracks:
        return
    labels, label_width = _column([printable(track.step_id) for track in tracks], width)
    notes, note_width = _column([describe_track(track, until) for track in tracks], width)
    left = _MARGIN + label_width + _GAP
    room = width - _MARGIN - note_width - _GAP - left
    scale = _Scale(start, max(0.0, until - start), left, room)
    yield from _axis(scale, _MARGIN + _ROW * len(tracks))
    for place, (track, label, note) in enumerate(zip(tracks, labels, notes, strict=True)):
        middle = _middle(_MARGIN, place)
        yield _text(_MARGIN, middle, label, "text")
        yield from (_segment(segment, scale, middle) for segment in segments[track.step_id])
        yield _text(scale.right + _GAP, middle, note, "faint")


def _middle(top: float, place: int) -> float:
    return top + _ROW * (place + 0.5)


def _column(texts: Sequence[str], width: int) -> tuple[list[str], float]:
    """Return texts cut to at most a third of the chart, and the pixels that they take."""
    columns = min(max(map(cells, texts)), int(width / 3 / _CELL))
    return [fitted(text, columns).rstrip() for text in texts], columns * _CELL


def _axis(scale: _Scale, bottom: float) -> Iterator[str]:
    for seconds in _ticks(scale.seconds):
        x = scale.place(scale.start + seconds)
        yield f'<path class="af-grid" d="M{x:.1f} {_MARGIN}V{bottom}"/>'
        said = in_words(seconds) if seconds else "0"
        yield _text(x, _middle(bottom, 0), said, "faint", anchor="middle")


def _ticks(seconds: float) -> list[float]:
    """Return round moments from the start to the end, a few of them."""
    if seconds <= 0:
        return [0.0]
    unit = next(unit for unit in _units() if seconds / unit <= _TICKS)
    return [unit * number for number in range(int(seconds / unit) + 1)]


def _units() -> Iterator[float]:
    yield from (digit * 10.0**power for power in range(-6, 1) for digit in (1, 2, 5))
    yield from (10.0, 20.0, 30.0)
    yield from (_MINUTE * minutes for minutes in (1, 2, 5, 10, 20, 30))
    yield from (_HOUR * 2.0**power for power in itertools.count())


def _segment(segment: Segment, scale: _Scale, middle: float) -> str:
    start = min(scale.place(segment.start), scale.right - _SHORTEST)
    width = max(scale.place(segment.end) - start, _SHORTEST)
    return _bar(segment.phase, start, middle, width, in_words(segment.seconds))


def _bar(phase: Phase, x: float, middle: float, width: float, took: str = "") -> str:
    height = _THIN if phase in _WAITS else _BAR
    said = f"<title>{phase.value}{', ' * bool(took)}{took}</title>"
    return (
        f'<rect class="af-{_CLASSES[phase]}" x="{x:.1f}" y="{middle - height / 2:.1f}" '
        f'width="{width:.1f}" height="{height}" rx="2">{said}</rect>'
    )


def _text(x: float, middle: float, said: str, shade: str, *, anchor: str = "start") -> str:
    place = f'x="{x:.1f}" y="{middle + 4:.1f}" text-anchor="{anchor}"'
    return f'<text class="af-{shade}" {place}>{html.escape(said)}</text>'


def _phases(rows: Iterable[Iterable[Segment]]) -> list[Phase]:
    used = {segment.phase for row in rows for segment in row}
    return [phase for phase in _CLASSES if phase in used]


def _legend(phases: Iterable[Phase], width: int) -> list[list[Phase]]:
    """Return the phases in lines that fit."""
    lines: list[list[Phase]] = []
    for phase in phases:
        if lines and sum(map(_entry_width, [*lines[-1], phase])) <= width - _MARGIN:
            lines[-1].append(phase)
        else:
            lines.append([phase])
    return lines


def _entry_width(phase: Phase) -> float:
    return _SWATCH + _GAP / 2 + len(phase.value) * _CELL + _GAP


def _legend_row(phases: Iterable[Phase], middle: float) -> Iterator[str]:
    x = float(_MARGIN)
    for phase in phases:
        yield _bar(phase, x, middle, _SWATCH)
        yield _text(x + _SWATCH + _GAP / 2, middle, phase.value, "faint")
        x += _entry_width(phase)
