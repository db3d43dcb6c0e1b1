"""Recorded runs, for people and as JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from actorflow.cli.values import as_json, error_as_json, in_one_line
from actorflow.errors import RecordedError
from actorflow.views import draw_gantt, draw_line
from actorflow.views.gantt import NARROWEST
from actorflow.views.text import cells, in_words, one_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from actorflow.events import Event
    from actorflow.results import RunPage, RunSnapshot, StepResult

__all__ = ["event_as_json", "event_lines", "listing", "portrait", "run_as_json"]

_GAP: Final = "  "


def listing(page: RunPage, offset: int) -> Iterator[str]:
    """Yield a line for each run, and one that says how many there are."""
    rows = [_row(run) for run in page.runs]
    yield from _aligned(rows)
    shown = f"{offset + 1} to {offset + len(rows)}" if rows else "none"
    yield f"{shown} of {page.total}"


def _row(run: RunSnapshot) -> tuple[str, ...]:
    return (
        run.run_id,
        f"{printable(run.workflow_id)} {printable(run.workflow_version)}",
        _status(run),
        _moment(run.created_at),
        "" if run.duration is None else in_words(run.duration),
        _why(run),
    )


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        pairs = zip(row, widths, strict=True)
        yield _GAP.join(text + " " * (width - cells(text)) for text, width in pairs).rstrip()


def _status(run: RunSnapshot) -> str:
    return run.status.value if run.parked is None else f"{run.status.value} (parked)"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _why(run: RunSnapshot) -> str:
    if run.parked is not None:
        return run.parked
    if run.error is not None:
        return _error(run.error)
    return "" if run.reason is None else printable(run.reason)


def _error(error: BaseException) -> str:
    told = one_line(error)
    # What stands for an error of the program says so itself.
    return told.removeprefix("RecordedError: ") if isinstance(error, RecordedError) else told


def portrait(run: RunSnapshot, events: Iterable[Event], width: int) -> Iterator[str]:
    """Yield a run as a tree of its steps, and as a chart."""
    yield f"{run.run_id}{_GAP}{printable(run.workflow_id)} {printable(run.workflow_version)}"
    told = (_status(run), f"accepted {_moment(run.created_at)}", _took(run), _why(run))
    yield _GAP.join(filter(None, told))
    rows = [_step_row(step) for step in run.steps.values()]
    for number, line in enumerate(_aligned(rows), 1):
        branch = "└─" if number == len(rows) else "├─"
        yield f"{branch} {line}"[:width]
    if run.started_at is not None:
        yield from ("", draw_gantt(events, width=max(width, NARROWEST)))


def _took(run: RunSnapshot) -> str:
    return "" if run.duration is None else f"took {in_words(run.duration)}"


def _step_row(step: StepResult) -> tuple[str, ...]:
    took = "" if step.duration is None else in_words(step.duration)
    tries = f"#{step.attempts}" if step.attempts else ""
    said = "" if step.output is None else f"= {in_one_line(step.output, 40)}"
    remark = said if step.error is None else _error(step.error)
    return printable(step.step_id), step.status.value, tries, took, remark


def event_lines(run: RunSnapshot, events: Iterable[Event]) -> Iterator[str]:
    """Yield a line for each event."""
    since = run.created_at if run.started_at is None else run.started_at
    return (draw_line(event, since) for event in events)


def event_as_json(event: Event) -> dict[str, Any]:
    """Return an event in terms of what JSON has."""
    return {
        "number": event.number,
        "kind": event.kind.value,
        "run_id": event.run_id,
        "step_id": event.step_id,
        "attempt": event.attempt,
        "time": event.time,
        "data": {
            name: error_as_json(value) if isinstance(value, BaseException) else as_json(value)
            for name, value in event.data.items()
        },
    }


def run_as_json(run: RunSnapshot) -> dict[str, Any]:
    """Return a recorded run in terms of what JSON has; `steps` is empty for one of a list."""
    return {
        "run_id": run.run_id,
        "workflow_id": run.workflow_id,
        "workflow_version": run.workflow_version,
        "status": run.status.value,
        "parked": run.parked,
        "priority": run.priority,
        "inputs": as_json(dict(run.inputs)),
        "metadata": as_json(dict(run.metadata)),
        "steps": {step_id: _step_as_json(step) for step_id, step in run.steps.items()},
        "error": error_as_json(run.error),
        "failed_step": run.failed_step,
        "reason": run.reason,
        "compensations": list(run.compensations),
        "trace_id": run.trace_id,
        "correlation_id": run.correlation_id,
        "business_id": run.business_id,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "duration": run.duration,
    }


def _step_as_json(step: StepResult) -> dict[str, Any]:
    return {
        "status": step.status.value,
        "output": as_json(step.output),
        "error": error_as_json(step.error),
        "attempts": step.attempts,
        "started_at": step.started_at,
        "finished_at": step.finished_at,
        "duration": step.duration,
    }
