"""Reports of runs, ended here or recorded in a database, as text and as JSON."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import attrs
from rich.console import Console
from rich.text import Text

from actorflow.cli.databases import unreadable
from actorflow.cli.paths import check_output, why
from actorflow.cli.terminal.exits import Problem
from actorflow.cli.terminal.lines import STYLES, step_row, steps_table, table
from actorflow.cli.terminal.values import as_json, error_as_json, in_full, in_one_line, traceback_of
from actorflow.errors.storage import RecordedError
from actorflow.model.lifecycle import EventKind, RunStatus, StepStatus
from actorflow.model.results import RunResult
from actorflow.views import bounds_of, draw_gantt, draw_gantt_svg
from actorflow.views.gantt import NARROWEST
from actorflow.views.text import cells, in_words, one_line, printable, printable_lines
from actorflow.views.tree import branches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from rich.console import RenderableType

    from actorflow.cli.running import Outcome
    from actorflow.definition.plan import WorkflowPlan
    from actorflow.errors.storage import NotRestorable
    from actorflow.model.events import Event
    from actorflow.model.records import RunOwner, RunSnapshot
    from actorflow.model.results import StepResult

__all__ = [
    "check_svg",
    "describe",
    "describe_failure",
    "describe_run",
    "event_as_json",
    "listing",
    "moment",
    "outputs",
    "rendered",
    "result_as_json",
    "run_as_json",
    "summary_as_json",
    "write_svg",
]

_ROWS: Final = 20
"""The maximum number of outputs shown, for the last steps and for the others."""
_PATH: Final = 6
"""The maximum number of steps named on the critical path."""
_ATTEMPTS: Final = 5
"""The maximum number of attempts shown of a step, from the last one back."""
_ANY_WIDTH: Final = 10_000
_INPUT: Final = 60
_IDS: Final = ("trace_id", "correlation_id", "business_id")


def describe(outcome: Outcome, width: int) -> Iterator[str]:
    """Yield the lines of the report: outputs, chart and duration."""
    reported = list(outputs(outcome.result, width))
    if reported:
        yield from ("", *reported)
    yield from ("", draw_gantt(outcome.events, width=max(width, NARROWEST)))
    yield from ("", *_verdict(outcome))


# ── Outputs ──────────────────────────────────────────────────────────────────────────────────


def outputs(result: RunResult, width: int) -> Iterator[str]:
    """Yield the last steps' outputs in full, and the others cut to one line each."""
    others = [
        step_id
        for step_id, output in result.outputs.items()
        if step_id not in result.last_steps and output is not None
    ]
    for step_id in others[:_ROWS]:
        name = f"{printable(step_id)} = "
        yield name + in_one_line(result.outputs[step_id], max(1, width - cells(name)))
    last = [step_id for step_id in result.last_steps if step_id in result.outputs]
    for step_id in last[:_ROWS]:
        yield from _in_full(step_id, result.outputs[step_id], width)
    hidden = len(others[_ROWS:]) + len(last[_ROWS:])
    if hidden:
        yield f"… and {hidden} more outputs; --json prints them all"


def _in_full(step_id: str, output: object, width: int) -> Iterator[str]:
    name = f"{printable(step_id)} ="
    lines = list(in_full(output, width))
    if len(lines) == 1 and cells(name) + 1 + cells(lines[0]) <= width:
        yield f"{name} {lines[0]}"
    else:
        yield from (name, *lines)


# ── The end ──────────────────────────────────────────────────────────────────────────────────


def _verdict(outcome: Outcome) -> Iterator[str]:
    bounds = bounds_of(outcome.plan, outcome.events, outcome.workers)
    took = in_words(_took(outcome))
    status = outcome.result.status.value
    yield f"{status}: wall time {took}, lower bound {in_words(bounds.lower)}, the largest of"
    yield f"  critical path {in_words(bounds.critical_path)} ({_steps(bounds.critical_steps)})"
    if bounds.work:
        share = in_words(bounds.work / bounds.workers)
        yield f"  async work {share} ({in_words(bounds.work)} / {bounds.workers} workers)"
    if bounds.sync:
        yield f"  sync work {in_words(bounds.sync)}"


def _took(outcome: Outcome) -> float:
    """Return the duration of the run since it was last resumed, or since it started."""
    resumed = [event.time for event in outcome.events if event.kind is EventKind.RUN_RESUMED]
    if resumed and outcome.result.finished_at is not None:
        return outcome.result.finished_at - resumed[-1]
    return outcome.result.duration or 0.0


def _steps(ids: Sequence[str]) -> str:
    if len(ids) > _PATH:
        ids = (*ids[: _PATH - 1], f"{len(ids) - _PATH} more", ids[-1])
    return " -> ".join(map(printable, ids))


def describe_failure(result: RunResult) -> Iterator[str]:
    """Yield why a run did not complete, and which optional steps were skipped."""
    reported: list[BaseException] = []
    for step in result.steps.values():
        if step.error is None:
            continue
        reported.append(step.error)
        if step.status is StepStatus.SKIPPED:
            yield f"step {step.step_id!r} was skipped: {one_line(step.error)}"
        elif step.status in {StepStatus.FAILED, StepStatus.COMPENSATION_FAILED}:
            yield from ("", _failed(step), printable_lines(traceback_of(step.error)))
    if result.error is not None and not any(_is_same(result.error, error) for error in reported):
        yield one_line(result.error)
    if result.status is RunStatus.CANCELLED:
        yield f"the run was cancelled: {printable(result.reason or '')}"
    yield from _compensations(result)


def _is_same(one: BaseException, other: BaseException) -> bool:
    # Read from a database, the run's error and the step's error are different objects.
    return one is other or (isinstance(one, RecordedError) and one == other)


def _compensations(result: RunResult) -> Iterator[str]:
    """Yield the steps that were compensated, in that order, and those that were not."""
    for title, step_ids in (
        ("undone", result.compensated),
        ("NOT undone", result.uncompensated),
    ):
        if step_ids:
            more = f" and {len(step_ids) - _ROWS} more" if step_ids[_ROWS:] else ""
            yield f"{title}: {', '.join(map(printable, step_ids[:_ROWS]))}{more}"


def _failed(step: StepResult) -> str:
    if step.status is StepStatus.COMPENSATION_FAILED:
        return f"step {step.step_id!r} could not be undone:"
    return f"step {step.step_id!r} failed in attempt {step.attempts}:"


# ── An ended run as JSON ─────────────────────────────────────────────────────────────────────


def result_as_json(outcome: Outcome) -> dict[str, Any]:
    """Return everything about a run in a form that JSON can hold."""
    result = outcome.result
    bounds = bounds_of(outcome.plan, outcome.events, outcome.workers)
    return {
        "run_id": result.run_id,
        "workflow_id": result.workflow_id,
        "status": result.status.value,
        "output": as_json(result.output),
        "outputs": {step_id: as_json(output) for step_id, output in result.outputs.items()},
        "steps": {step_id: _step(step) for step_id, step in result.steps.items()},
        "error": error_as_json(result.error),
        "failed_step": result.failed_step,
        "reason": result.reason,
        "compensated": list(result.compensated),
        "uncompensated": list(result.uncompensated),
        "started_at": result.started_at,
        "finished_at": result.finished_at,
        "duration": result.duration,
        "bounds": {"lower": bounds.lower, **as_json(bounds)},
    }


def _step(step: StepResult) -> dict[str, Any]:
    return {
        "status": step.status.value,
        "output": as_json(step.output),
        "error": error_as_json(step.error),
        "attempts": step.attempts,
        "attempts_taken": _attempts(step),
        "started_at": step.started_at,
        "finished_at": step.finished_at,
        "duration": step.duration,
    }


def _attempts(step: StepResult) -> list[dict[str, Any]]:
    return [as_json(attempt) | {"duration": attempt.duration} for attempt in step.attempts_taken]


# ── Charts in files ──────────────────────────────────────────────────────────────────────────


def check_svg(path: Path | None) -> None:
    """Refuse a file that cannot be written, before anything runs."""
    check_output("--svg", path, "FILE.svg")


def write_svg(path: Path | None, events: Iterable[Event]) -> None:
    """Write the Gantt chart of a run, if a file was named for it."""
    if path is None:
        return
    try:
        path.write_text(draw_gantt_svg(events), encoding="utf-8")
    except (OSError, ValueError) as error:
        raise Problem(f"--svg {path} cannot be written: {why(error)}") from None


# ── Recorded runs as a table ─────────────────────────────────────────────────────────────────


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


def listing(runs: Iterable[RunSnapshot]) -> RenderableType:
    """Return a table of runs: id, workflow, status, creation time, duration, error or owner."""
    rows = [
        (
            Text(printable(run.run_id)),
            Text(f"{printable(run.workflow_id)} {printable(run.workflow_version)}"),
            Text(_standing(run), STYLES[run.status]),
            Text(moment(run.created_at)),
            Text("" if run.duration is None else in_words(run.duration), justify="right"),
            Text(_why(run), "dim", no_wrap=True, overflow="ellipsis"),
        )
        for run in runs
    ]
    return table(rows, 6 if rows else 0)


def moment(seconds: float) -> str:
    """Return a time as people read it, in UTC."""
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%d %H:%M:%SZ}"


_HOLDS: Final = ("parked", "waiting", "paused")
"""The fields that say why a run does not go on, although it has not ended."""


def _standing(run: RunSnapshot) -> str:
    """Return the status of a run, and whether it is parked, waiting or paused."""
    return ", ".join([run.status.value, *(it for it in _HOLDS if getattr(run, it) is not None)])


def _why(run: RunSnapshot) -> str:
    held = [getattr(run, name) for name in _HOLDS if getattr(run, name) is not None]
    if held:
        return printable("; ".join(held))
    step = "" if run.failed_step is None else f"step {printable(run.failed_step)}: "
    if run.error is not None:
        return step + one_line(run.error)
    reason = _unread(run.inputs) if run.reason is None else None
    if reason is not None:
        return f"inputs and metadata unread: {unreadable(reason.serializer)['unread']}"
    if run.reason is not None:
        return printable(run.reason)
    if run.status is RunStatus.PENDING and run.start_at is not None:
        return f"may start {moment(run.start_at)}"
    return "" if run.owner is None else _owned(run.owner)


def _owned(owner: RunOwner) -> str:
    """Return who owns a run in progress, where, and since when."""
    host = owner.id if owner.host is None else f"pid {owner.pid} on {printable(owner.host)}"
    return f"owned by {host}" + ("" if owner.since is None else f" since {moment(owner.since)}")


# ── A recorded run ───────────────────────────────────────────────────────────────────────────


def describe_run(
    run: RunSnapshot,
    events: Sequence[Event],
    plan: WorkflowPlan | None,
    console: Console,
    now: float,
) -> Iterator[str]:
    """Yield a description of a run: its steps, outputs, a chart, and errors.

    Args:
        run: The run.
        events: All of its events.
        plan: Its workflow, to draw the steps as a tree; without it they are a list.
        console: The output.
        now: The time up to which running steps are drawn, in seconds since the epoch.
    """
    width, until = console.width, None if run.status.terminal else now
    yield from _heading(run, width)
    rows = _step_rows(run, plan, now)
    yield from ("", *rendered(steps_table(rows, _table_width(console)), console))
    retried = [step for step in run.steps.values() if step.retried]
    if retried:
        yield from ("", *map(_retried, retried[:_ROWS]))
    if retried[_ROWS:]:
        yield f"… and {len(retried[_ROWS:])} more retried steps; --json prints them all"
    result = RunResult.of(run)
    document = list(outputs(result, width))
    if document:
        yield from ("", *document)
    if events:
        yield from ("", draw_gantt(events, width=max(width, NARROWEST), now=until))
    wrong = list(describe_failure(result))
    if wrong:
        yield from ("", *wrong)


def _table_width(console: Console) -> int:
    return console.width if console.is_terminal else _ANY_WIDTH


def _heading(run: RunSnapshot, width: int) -> Iterator[str]:
    name, version = printable(run.workflow_id), printable(run.workflow_version)
    yield f"run {printable(run.run_id)} of {name} {version}: {_standing(run)}"
    took = "" if run.duration is None else f", took {in_words(run.duration)}"
    urgent = f", priority {run.priority}" if run.priority else ""
    yield f"accepted {moment(run.created_at)}{took}{urgent}"
    for hold in _HOLDS:
        if getattr(run, hold) is not None:
            since = getattr(run, f"{hold}_since")
            when = "" if since is None else f" since {moment(since)}"
            yield f"{hold}{when}: {printable(getattr(run, hold))}"
    if run.start_at is not None and run.status is RunStatus.PENDING:
        yield f"may start {moment(run.start_at)}"
    if run.key is not None:
        yield f"key {printable(run.key)}"
    given = [f"{name} {printable(getattr(run, name))}" for name in _IDS if getattr(run, name)]
    if given:
        yield ", ".join(given)
    if run.owner is not None:
        yield f"{_owned(run.owner)}; lease until {moment(run.owner.lease_until)}"
    named = (("input", run.inputs), ("metadata", run.metadata), ("attribute", run.attributes))
    for title, values in named:
        for name, value in values.items():
            yield f"{title} {printable(name)} = {in_one_line(value, max(width - _INPUT, _INPUT))}"


def _retried(step: StepResult) -> str:
    earlier = "… " if step.retried[_ATTEMPTS:] else ""
    return f"attempts of {printable(step.step_id)}: {earlier}" + ", ".join(
        f"#{attempt.number} {attempt.outcome}"
        + ("" if attempt.duration is None else f" after {in_words(attempt.duration)}")
        for attempt in step.retried[-_ATTEMPTS:]
    )


def _step_rows(run: RunSnapshot, plan: WorkflowPlan | None, now: float) -> Iterator[Sequence[Text]]:
    if plan is None:
        yield from (_row(step, "", "", now) for step in run.steps.values())
        return
    for branch in branches(plan):
        also = f"also after {', '.join(map(printable, branch.others))}" if branch.others else ""
        yield _row(run.steps[branch.step.id], branch.prefix, also, now)


def _row(step: StepResult, prefix: str, also: str, now: float) -> Sequence[Text]:
    duration = step.duration
    if duration is None and step.started_at is not None:
        duration = now - step.started_at  # the clock of another machine may be ahead
    return step_row(
        step.step_id,
        step.status,
        prefix=prefix,
        attempts=step.attempts,
        elapsed=duration,
        remark=also if step.error is None else one_line(step.error),
    )


# ── Recorded runs as JSON ────────────────────────────────────────────────────────────────────


def run_as_json(run: RunSnapshot) -> dict[str, Any]:
    """Return a run with its steps in a form that JSON can hold."""
    document: dict[str, Any] = as_json(run)
    for step_id, step in run.steps.items():
        del document["steps"][step_id]["retried"]
        document["steps"][step_id]["attempts_taken"] = _attempts(step)
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
    reason = _unread(values)
    return values if reason is None else unreadable(reason.serializer)


def _unread(values: Mapping[str, Any]) -> NotRestorable | None:
    """Return why inputs or metadata could not be read; None if they were."""
    from actorflow.state.sql.values.payloads import Unreadable  # noqa: PLC0415 - part of the extra

    return values.reason if isinstance(values, Unreadable) else None


def event_as_json(event: Event) -> dict[str, Any]:
    """Return an event in a form that JSON can hold."""
    document: dict[str, Any] = as_json(event._asdict())
    return document
