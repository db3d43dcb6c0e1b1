"""A trace as a message-sequence chart: one column per participant, time runs downwards."""

from __future__ import annotations

import re
from collections import deque
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from actorflow.errors.running import ActorCrashed, DeadlineExceeded, StepCancelled, StepTimeout
from actorflow.model.lifecycle import EventKind
from actorflow.model.messages import (
    ActorLost,
    AttemptFinished,
    CancelRun,
    DependencyCompleted,
    Execute,
    ReviveStep,
)
from actorflow.support.safe_text import said_by
from actorflow.systems.simulated.mischief import Fault
from actorflow.testing.simulation.account import UNDO
from actorflow.testing.trace.labels import EXECUTOR, OUTSIDE, SUPERVISOR, plain, step_name
from actorflow.views.text import cells, fitted, in_words, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from actorflow.model.events import Event
    from actorflow.systems.delivery import Envelope
    from actorflow.testing.trace.labels import Names
    from actorflow.testing.trace.trace import Trace

__all__ = ["Line", "draw_mermaid", "draw_text", "story"]

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


_T = TypeVar("_T")
_END: Final = float("inf")


class Line(NamedTuple):
    """One line of a chart."""

    time: float
    sender: str | None
    """None for lines that are not messages, but happen to the receiver or are decided by it."""
    receiver: str
    text: str
    lost: bool = False
    """Whether the message was lost."""


def story(trace: Trace) -> list[Line]:
    """Return the lines of a trace, in order."""
    return list(_lines(trace))


def _lines(trace: Trace) -> Iterator[Line]:
    names, answered = trace.names, _Answered(trace)
    aside = _Queue([*_faults(trace), *_crashes(trace)])
    events = _Queue(list(zip(trace.marks, trace.events, strict=True)))
    for count, (time, envelope) in enumerate(trace.envelopes):
        yield from aside.until(count)
        yield from _message(time, envelope, names, ignored=answered.ignores(count, envelope[1]))
        for event in events.until(count + 1):
            if not answered.stands_for(count + 1, event):
                yield _event(event)
    yield from aside.until(_END)
    yield from map(_event, events.until(_END))


class _Queue(Generic[_T]):
    """Entries in order of the deliveries that preceded them.

    Args:
        entries: The number of deliveries before each entry, and the entry.
    """

    def __init__(self, entries: Iterable[tuple[int, _T]]) -> None:
        self._entries = deque(sorted(entries, key=itemgetter(0)))

    def until(self, count: float) -> Iterator[_T]:
        """Remove and yield the entries up to a number of deliveries."""
        while self._entries and self._entries[0][0] <= count:
            yield self._entries.popleft()[1]


def _faults(trace: Trace) -> Iterator[tuple[int, Line]]:
    for count, time, fault, envelope in trace.struck:
        sender, receiver, message = trace.names.of(envelope)
        lost = fault in {Fault.CRASH, Fault.POISON}
        yield count, Line(time, sender, receiver, f"{fault.upper()}: {message}", lost)


def _crashes(trace: Trace) -> Iterator[tuple[int, Line]]:
    for count, time in trace.crashes:
        yield count, Line(time, None, SUPERVISOR, "CRASH of the whole orchestrator", lost=True)


class _Answered:
    """The messages that the supervisor answered with an event, and when it did."""

    def __init__(self, trace: Trace) -> None:
        self._until: dict[tuple[Any, ...], int] = {}
        self._started: set[tuple[str, str | None, int]] = set()
        self._first: dict[tuple[Any, ...], int] = {}
        for mark, event in zip(trace.marks, trace.events, strict=True):
            if event.kind is EventKind.STEP_STARTED:
                self._started.add((event.run_id, event.step_id, mark))
            elif event.kind in _ENDS:
                undo = event.kind in _ENDS_OF_UNDOING
                self._until[event.run_id, event.step_id, event.attempt, undo] = mark

    def stands_for(self, mark: int, event: Event) -> bool:
        """Return whether a message already reports what an event says.

        A step that is ready and does not have to wait for a worker or a lane is granted at once.
        """
        if event.kind is EventKind.STEP_READY:
            return (event.run_id, event.step_id, mark) in self._started
        return event.kind in _SILENT

    def ignores(self, count: int, message: object) -> bool:
        """Return whether a message, delivered after `count` others, had no effect."""
        if isinstance(message, AttemptFinished):
            attempt = message.attempt
            key: tuple[Any, ...] = (
                attempt.scope.run_id,
                attempt.step_id,
                attempt.number,
                attempt.compensates,
            )
        elif isinstance(message, CancelRun):
            key = (message.run_id, None, None, False)
        else:
            return False
        # Only the first copy that arrives in time has an effect.
        return self._until.get(key, -1) <= count or self._first.setdefault(key, count) < count


# ── Messages ─────────────────────────────────────────────────────────────────────────────────


def _message(time: float, envelope: Envelope, names: Names, *, ignored: bool) -> Iterator[Line]:
    say = _SAID.get(type(envelope[1]))
    if say is not None:
        text = say(envelope[1]) + (", ignored" if ignored else "")
        yield Line(time, names.cell(envelope[2]), names.cell(envelope[0]), text)


def _finished(message: AttemptFinished) -> str:
    if message.error is not None:
        return f"{_attempt(message)} raised {_error(message.error)}"
    return f"{_attempt(message)} returned {plain(message.output)}"


def _completed(message: DependencyCompleted) -> str:
    return f"{message.step_id} {'was skipped' if message.skipped else 'is done'}"


def _attempt(message: Any) -> str:
    attempt = message.attempt
    undo = UNDO if attempt.compensates else ""
    return f"{undo}{step_name(attempt.scope.run_id, attempt.step_id)}#{attempt.number}"


_SAID: Final[dict[type[Any], Callable[[Any], str]]] = {
    Execute: lambda message: f"{_attempt(message)} is granted",
    AttemptFinished: _finished,
    DependencyCompleted: _completed,
    CancelRun: lambda message: f"cancel {message.run_id}: {message.reason}",
    ActorLost: lambda message: f"the actor of {step_name(message.run_id, message.step_id)} died",
    ReviveStep: lambda message: f"{step_name(message.run_id, message.step_id)} gets a new actor",
}


_OUR_OWN: Final = (ActorCrashed, DeadlineExceeded, StepCancelled, StepTimeout)


# ── Events ───────────────────────────────────────────────────────────────────────────────────

_SILENT: Final = frozenset(
    {
        EventKind.RUN_ACCEPTED,
        EventKind.STEP_STARTED,
        EventKind.STEP_COMPLETED,
        EventKind.COMPENSATION_STARTED,
        EventKind.COMPENSATION_COMPLETED,
    }
)
"""Events that a message already reports."""
_OF_AN_ATTEMPT: Final = frozenset(
    {
        EventKind.STEP_RETRYING,
        EventKind.STEP_TIMED_OUT,
        EventKind.STEP_ABANDONED,
        EventKind.COMPENSATION_RETRYING,
        EventKind.COMPENSATION_TIMED_OUT,
        EventKind.COMPENSATION_ABANDONED,
    }
)
_ENDS_OF_UNDOING: Final = frozenset(
    {
        EventKind.COMPENSATION_COMPLETED,
        EventKind.COMPENSATION_FAILED,
        EventKind.COMPENSATION_RETRYING,
    }
)
_ENDS: Final = _ENDS_OF_UNDOING | frozenset(
    {
        EventKind.RUN_CANCELLED,
        EventKind.STEP_CANCELLED,
        EventKind.STEP_COMPLETED,
        EventKind.STEP_FAILED,
        EventKind.STEP_RETRYING,
        EventKind.STEP_SKIPPED,
    }
)


def _event(event: Event) -> Line:
    subject, _, verb = event.kind.value.partition(".")
    what = verb.replace("_", " ")
    if event.step_id is None:
        text = f"{event.run_id} {what}"
    else:
        attempt = f"#{event.attempt}" if event.kind in _OF_AN_ATTEMPT else ""
        undo = UNDO if subject == "compensation" else ""
        text = f"{undo}{step_name(event.run_id, event.step_id)}{attempt} {what}"
    return Line(event.time, None, SUPERVISOR, text + _details(event))


def _details(event: Event) -> str:
    data = event.data
    if event.kind in {EventKind.STEP_RETRYING, EventKind.COMPENSATION_RETRYING}:
        return f" in {in_words(data['delay'])}"
    if event.kind in {EventKind.STEP_TIMED_OUT, EventKind.COMPENSATION_TIMED_OUT}:
        return f" after {in_words(data['timeout'])}"
    error = data.get("error")
    return "" if error is None else f": {_error(error)}"


def _error(error: BaseException) -> str:
    """Return the text of an error; for actorflow's own errors, the class name suffices."""
    return type(error).__name__ if isinstance(error, _OUR_OWN) else said_by(error)
