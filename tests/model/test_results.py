"""Success and failure as values."""

from __future__ import annotations

import pickle

import attrs
import pytest

from actorflow.errors.running import DeadlineExceeded
from actorflow.model.lifecycle import RunStatus, StepStatus
from actorflow.model.records import RunSnapshot
from actorflow.model.results import (
    RunCancelled,
    RunFailed,
    RunResult,
    RunTimeout,
    ShutdownReport,
    StepResult,
    StepResults,
)


def result(status=RunStatus.COMPLETED, outputs=None, **fields):
    """How a run ended."""
    known = {"run_id": "r", "workflow_id": "flow", "outputs": outputs or {}, "steps": {}}
    return RunResult(status=status, **(known | fields))


def test_the_repr_of_an_error_does_not_grow_with_its_run():
    """A log line and a failing test show it."""
    steps = StepResults({f"step {n}": ("completed", 0, None, 1, 0.0, 1.0) for n in range(1000)})
    failed = result(RunStatus.FAILED, steps=steps)

    assert "RunFailed(<run 'r' of workflow 'flow', failed>)" == repr(RunFailed(failed))


def test_the_sole_last_steps_output_is_the_runs():
    """Whatever it is."""
    run = result(outputs={"a": 1, "last": [2]}, last_steps=("last",))

    assert [2] == run.output


def test_several_last_steps_outputs_come_by_step_id():
    """Nothing is ever merged."""
    run = result(outputs={"a": {"x": 1}, "b": {"x": 2}, "c": 3}, last_steps=("a", "b"))

    assert {"a": {"x": 1}, "b": {"x": 2}} == run.output


def test_a_last_step_that_was_skipped_has_no_output():
    """Alone it gives None; among others it is left out."""
    assert result(last_steps=("a",)).output is None
    assert {"b": 1} == result(outputs={"b": 1}, last_steps=("a", "b")).output


def test_a_completed_run_raises_nothing():
    """Also when some of its steps were skipped."""
    result().raise_for_status()


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (RunStatus.FAILED, ValueError("no"), RunFailed),
        (RunStatus.FAILED, DeadlineExceeded("r", 1.0), RunTimeout),
        (RunStatus.FAILED, None, RunFailed),
        (RunStatus.CANCELLED, None, RunCancelled),
    ],
)
def test_every_other_end_has_an_exception_of_its_own(status, error, expected):
    """With the result, and chained from what failed the run."""
    run = result(status, error=error)

    with pytest.raises(expected) as caught:
        run.raise_for_status()

    assert run is caught.value.result
    assert error is caught.value.__cause__


def test_a_steps_own_traceback_is_kept():
    """Where it was raised is what a person needs to see."""

    def body():
        raise ValueError("no")

    try:
        body()
    except ValueError as caught:
        error = caught
    with pytest.raises(RunFailed) as failed:
        result(RunStatus.FAILED, error=error).raise_for_status()

    frames = []
    trace = failed.value.__cause__.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    assert "body" == frames[-1]


def test_durations_are_those_between_two_times():
    """And unknown when one of them is."""
    step = StepResult(step_id="a", status=StepStatus.COMPLETED, started_at=1.0, finished_at=3.5)
    waiting = StepResult(step_id="a", status=StepStatus.CANCELLED, finished_at=3.5)

    assert 2.5 == step.duration
    assert waiting.duration is None
    assert 0.0 == result(started_at=0.0, finished_at=0.0).duration
    assert result(finished_at=4.0).duration is None


def test_a_result_cannot_be_changed():
    """It has happened."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        result().status = RunStatus.FAILED


ROWS = {
    "a": (StepStatus.COMPLETED, 1, None, 2, 10.0, 11.0),
    "b": (StepStatus.CANCELLED, None, None, 0, None, 12.0),
}
A = StepResult(
    step_id="a",
    status=StepStatus.COMPLETED,
    output=1,
    attempts=2,
    started_at=10.0,
    finished_at=11.0,
)


def test_step_results_are_a_mapping():
    """Each made when it is looked at, and equal to the same one made before."""
    steps = StepResults(ROWS)

    assert A == steps["a"]
    assert ["a", "b"] == list(steps)
    assert 2 == len(steps)
    assert {"a": A, "b": steps["b"]} == steps == StepResults(ROWS)
    assert "a" in steps
    assert steps.get("c") is None
    with pytest.raises(KeyError):
        steps["c"]
    assert repr({"a": A, "b": steps["b"]}) == repr(steps)


def test_a_result_survives_pickling():
    """With its steps."""
    run = result(steps=StepResults(ROWS), outputs={"a": 1})

    assert run == pickle.loads(pickle.dumps(run))  # noqa: S301 - our own


def test_a_snapshot_of_a_run_that_has_ended_gives_its_result():
    """Field by field."""
    steps = {"a": A, "b": StepResult(step_id="b", status=StepStatus.FAILED)}
    error = ValueError("no")
    snapshot = RunSnapshot(
        run_id="r",
        workflow_id="flow",
        workflow_version="1",
        status=RunStatus.FAILED,
        steps=steps,
        last_steps=("b",),
        error=error,
        failed_step="b",
        started_at=1.0,
        finished_at=2.0,
    )

    expected = result(
        RunStatus.FAILED,
        outputs={"a": 1},
        steps=steps,
        last_steps=("b",),
        error=error,
        failed_step="b",
        started_at=1.0,
        finished_at=2.0,
    )
    assert expected == RunResult.of(snapshot)
    assert 1.0 == snapshot.duration


def test_only_completed_steps_have_outputs():
    """What a step returned counts when it has completed."""
    one = StepResult(step_id="a", status=StepStatus.RUNNING, output="not yet")
    snapshot = RunSnapshot(
        run_id="r",
        workflow_id="flow",
        workflow_version="1",
        status=RunStatus.RUNNING,
        steps={"a": one},
    )

    assert {} == snapshot.outputs


@pytest.mark.parametrize(
    ("fields", "clean"),
    [
        ({}, True),
        ({"drained": 3}, True),
        ({"cancelled": ("r",)}, False),
        ({"abandoned": ("x",)}, False),
    ],
)
def test_a_shutdown_is_clean_when_nothing_was_cut_or_left(fields, clean):
    """Runs that ended by themselves are no loss."""
    assert clean is ShutdownReport(**fields).clean


def test_a_result_that_an_earlier_version_pickled_has_no_retried_attempts():
    """It lacks the field."""
    result = StepResult(
        step_id="a", status=StepStatus.COMPLETED, attempts=1, started_at=1.0, finished_at=2.0
    )
    state = {name: value for name, value in result.__getstate__().items() if name != "retried"}
    restored = StepResult.__new__(StepResult)
    restored.__setstate__(state)

    assert result == restored == pickle.loads(pickle.dumps(result))  # noqa: S301 - our own
    assert result.attempts_taken == restored.attempts_taken
