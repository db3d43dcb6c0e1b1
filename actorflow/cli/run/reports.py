"""The report of an ended run, as text and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actorflow.cli.terminal.exits import Problem
from actorflow.cli.terminal.values import as_json, error_as_json, in_full, in_one_line, traceback_of
from actorflow.errors.storage import RecordedError
from actorflow.model.lifecycle import EventKind, RunStatus, StepStatus
from actorflow.views import bounds_of, draw_gantt, draw_gantt_svg
from actorflow.views.gantt import NARROWEST
from actorflow.views.text import cells, in_words, one_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from actorflow.cli.run.running import Outcome
    from actorflow.model.events import Event
    from actorflow.model.results import RunResult, StepResult

__all__ = ["check_svg", "describe", "describe_failure", "outputs", "result_as_json", "write_svg"]

_ROWS: Final = 20
"""The maximum number of outputs shown, for the last steps and for the others."""
_PATH: Final = 6
"""The maximum number of steps named on the critical path."""


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
            yield from ("", _failed(step), traceback_of(step.error))
    if result.error is not None and not any(_is_same(result.error, error) for error in reported):
        yield one_line(result.error)
    if result.status is RunStatus.CANCELLED:
        yield f"the run was cancelled: {result.reason}"
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


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────


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
        "started_at": step.started_at,
        "finished_at": step.finished_at,
        "duration": step.duration,
    }


def check_svg(path: Path | None) -> None:
    """Refuse a file that cannot be written, before anything runs."""
    if path is not None and not path.parent.is_dir():
        raise Problem(f"--svg {path} is in a folder that does not exist. Make it first.")
    if path is not None and path.is_dir():
        raise Problem(f"--svg {path} is a folder. Name a file: --svg {path}/FILE.svg")


def write_svg(path: Path | None, events: Iterable[Event]) -> None:
    """Write the Gantt chart of a run, if a file was named for it."""
    if path is None:
        return
    try:
        path.write_text(draw_gantt_svg(events), encoding="utf-8")
    except OSError as error:
        raise Problem(f"--svg {path} cannot be written: {error.strerror}") from None
