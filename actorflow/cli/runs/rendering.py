"""Recorded runs, as text with charts and as JSON."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import attrs
from rich.console import Console
from rich.text import Text

from actorflow.cli.databases import unreadable
from actorflow.cli.run.reports import describe_failure, outputs
from actorflow.cli.terminal.lines import STYLES, step_row, steps_table, table
from actorflow.cli.terminal.values import as_json, in_one_line
from actorflow.model.results import RunResult
from actorflow.state.sql.values.placeholders import Unreadable
from actorflow.views import draw_gantt
from actorflow.views.gantt import NARROWEST
from actorflow.views.text import in_words, one_line, printable
from actorflow.views.tree import branches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import RenderableType

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.model.events import Event
    from actorflow.model.results import RunSnapshot, StepResult

__all__ = ["describe_run", "event_as_json", "listing", "rendered", "run_as_json", "summary_as_json"]

_ANY_WIDTH: Final = 10_000
_INPUT: Final = 60
_IDS: Final = ("trace_id", "correlation_id", "business_id")


def rendered(what: RenderableType, console: Console) -> Iterator[str]:
    """Yield the lines of a rendering: styled for a terminal, otherwise plain and never cut."""
    if console.is_terminal:
        with console.capture() as capture:
            console.print(what)
        text = capture.get()
    else:
        plain = Console(file=io.StringIO(), width=_ANY_WIDTH, color_system=None)
        with plain.capture() as capture:
            plain.print(what)
        text = capture.get()
    yield from (line.rstrip() for line in text.splitlines())


# ── Many ─────────────────────────────────────────────────────────────────────────────────────


def listing(runs: Iterable[RunSnapshot]) -> RenderableType:
    """Return a table of runs: id, workflow, status, creation time, duration, error or reason."""
    rows = [
        (
            Text(printable(run.run_id)),
            Text(f"{printable(run.workflow_id)} {printable(run.workflow_version)}"),
            Text(run.status.value, STYLES[run.status]),
            Text(_moment(run.created_at)),
            Text("" if run.duration is None else in_words(run.duration), justify="right"),
            Text(_why(run), "dim", no_wrap=True, overflow="ellipsis"),
        )
        for run in runs
    ]
    return table(rows, 6 if rows else 0)


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%d %H:%M:%SZ}"


def _why(run: RunSnapshot) -> str:
    step = "" if run.failed_step is None else f"step {printable(run.failed_step)}: "
    if run.error is not None:
        return step + one_line(run.error)
    if run.reason is None and isinstance(run.inputs, Unreadable):
        return f"inputs and metadata unread: {unreadable(run.inputs.reason.serializer)['unread']}"
    return "" if run.reason is None else printable(run.reason)


# ── One ──────────────────────────────────────────────────────────────────────────────────────


def describe_run(
    run: RunSnapshot, events: Sequence[Event], plan: WorkflowPlan | None, console: Console
) -> Iterator[str]:
    """Yield a description of a run: its steps, outputs, a chart, and errors.

    Args:
        run: The run.
        events: All of its events.
        plan: Its workflow, to draw the steps as a tree; without it they are a list.
        console: The output.
    """
    width = console.width
    yield from _heading(run, width)
    yield from ("", *rendered(steps_table(_steps(run, plan), _table_width(console)), console))
    result = RunResult.of(run)
    document = list(outputs(result, width))
    if document:
        yield from ("", *document)
    if events:
        yield from ("", draw_gantt(events, width=max(width, NARROWEST)))
    wrong = list(describe_failure(result))
    if wrong:
        yield from ("", *wrong)


def _table_width(console: Console) -> int:
    return console.width if console.is_terminal else _ANY_WIDTH


def _heading(run: RunSnapshot, width: int) -> Iterator[str]:
    name, version = printable(run.workflow_id), printable(run.workflow_version)
    yield f"run {printable(run.run_id)} of {name} {version}: {run.status.value}"
    took = "" if run.duration is None else f", took {in_words(run.duration)}"
    urgent = f", priority {run.priority}" if run.priority else ""
    yield f"accepted {_moment(run.created_at)}{took}{urgent}"
    if run.parked is not None:
        yield f"parked: {printable(run.parked)}"
    given = [f"{name} {printable(getattr(run, name))}" for name in _IDS if getattr(run, name)]
    if given:
        yield ", ".join(given)
    for title, values in (("input", run.inputs), ("metadata", run.metadata)):
        for name, value in values.items():
            yield f"{title} {printable(name)} = {in_one_line(value, max(width - _INPUT, _INPUT))}"


def _steps(run: RunSnapshot, plan: WorkflowPlan | None) -> Iterator[Sequence[Text]]:
    if plan is None:
        yield from (_row(step, "", "") for step in run.steps.values())
        return
    for branch in branches(plan):
        also = f"also after {', '.join(map(printable, branch.others))}" if branch.others else ""
        yield _row(run.steps[branch.step.id], branch.prefix, also)


def _row(step: StepResult, prefix: str, also: str) -> Sequence[Text]:
    return step_row(
        step.step_id,
        step.status,
        prefix=prefix,
        attempts=step.attempts,
        elapsed=step.duration,
        remark=also if step.error is None else one_line(step.error),
    )


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────


def run_as_json(run: RunSnapshot) -> dict[str, Any]:
    """Return a run with its steps in a form that JSON can hold."""
    document: dict[str, Any] = as_json(run)
    return document | {"outputs": as_json(run.outputs), "duration": run.duration}


def summary_as_json(run: RunSnapshot) -> dict[str, Any]:
    """Return a run without its steps."""
    document = run_as_json(
        attrs.evolve(
            run, inputs=_or_placeholder(run.inputs), metadata=_or_placeholder(run.metadata)
        )
    )
    return {name: value for name, value in document.items() if name not in {"steps", "outputs"}}


def _or_placeholder(values: Mapping[str, Any]) -> Mapping[str, Any]:
    return unreadable(values.reason.serializer) if isinstance(values, Unreadable) else values


def event_as_json(event: Event) -> dict[str, Any]:
    """Return an event in a form that JSON can hold."""
    document: dict[str, Any] = as_json(event._asdict())
    return document
