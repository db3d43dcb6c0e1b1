"""The attempts of a step as values: derived from the step, or kept one by one."""

from __future__ import annotations

import pickle

import attrs
import pytest

from actorflow import AttemptOutcome, AttemptResult, StepResult, StepStatus, StepTimeout
from actorflow.model.results import StepResults

NO = ValueError("no")
LATE = StepTimeout("r", "a", 1, 0.5, "attempt")
FAILED = AttemptResult(
    number=1, started_at=10.0, finished_at=11.0, outcome=AttemptOutcome.FAILED, error=NO
)
SECOND = AttemptResult(number=2, started_at=14.0)


def step(status, **fields):
    """A step with one attempt, from 10 to 11."""
    known = {"attempts": 1, "started_at": 10.0, "finished_at": 11.0}
    return StepResult(step_id="a", status=StepStatus(status), **(known | fields))


@pytest.mark.parametrize(
    ("status", "error", "outcome", "kept"),
    [
        ("completed", None, "completed", None),
        ("compensated", None, "completed", None),
        ("compensation_failed", NO, "completed", None),
        ("failed", NO, "failed", NO),
        ("skipped", NO, "failed", NO),
        ("cancelled", NO, "failed", NO),
        ("failed", LATE, "timed_out", LATE),
        ("skipped", LATE, "timed_out", LATE),
        ("cancelled", None, "cancelled", None),
    ],
)
def test_a_single_attempt_ended_as_its_step_did(status, error, outcome, kept):
    """Its times are the step's own. A compensator's error is not counted as an attempt's error."""
    expected = AttemptResult(
        number=1, started_at=10.0, finished_at=11.0, outcome=AttemptOutcome(outcome), error=kept
    )

    assert (expected,) == step(status, error=error).attempts_taken


def test_a_single_attempt_may_still_run():
    """Then it has no end."""
    (attempt,) = step("running", finished_at=None).attempts_taken

    assert AttemptResult(number=1, started_at=10.0) == attempt
    assert (None, "running") == (attempt.duration, attempt.outcome)


def test_a_step_that_never_started_has_no_attempts():
    """Whether it waits or was cancelled."""
    never = {"attempts": 0, "started_at": None}

    assert () == step("ready", **never, finished_at=None).attempts_taken
    assert () == step("cancelled", **never).attempts_taken


def test_attempts_that_nothing_tells_are_not_made_up():
    """A state manager may keep their number only."""
    assert () == step("completed", attempts=2).attempts_taken


def results(status, error=None, attempts=(FAILED, SECOND)):
    """A retried step among the results of a run."""
    row = (StepStatus(status), None, error, 2, 10.0, 15.0)
    plain = (StepStatus.COMPLETED, 1, None, 1, 10.0, 11.0)
    return StepResults({"a": row, "b": plain}, {"a": list(attempts)})


def test_the_last_attempt_of_a_retried_step_ended_as_the_step_did():
    """Those before it have said how they ended."""
    first, last = results("failed", LATE)["a"].attempts_taken

    assert FAILED == first
    assert (2, 14.0, 15.0, "timed_out") == (*attrs.astuple(last)[:4],)
    assert (1.0, 1.0, 5.0) == (first.duration, last.duration, results("failed")["a"].duration)


def test_a_step_that_settles_between_two_attempts_changes_neither():
    """Such as one that is cancelled in a backoff."""
    assert (FAILED,) == results("cancelled", attempts=[FAILED])["a"].attempts_taken


def test_results_with_retried_steps_are_values():
    """Equal to others with the same attempts, and pickled with them."""
    steps = results("completed")
    again = pickle.loads(pickle.dumps(steps))  # noqa: S301 - our own

    assert results("completed") == steps != results("completed", attempts=[FAILED])
    assert [1, 2] == [attempt.number for attempt in again["a"].attempts_taken]
    assert steps["b"] == again["b"]
    assert 1 == len(again["b"].attempts_taken)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        again["a"].attempts_taken[0].number = 3
