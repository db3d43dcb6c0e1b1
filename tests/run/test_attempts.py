"""What a result says of each attempt, in real runs and simulated ones."""

from __future__ import annotations

import itertools
import time

import pytest

from actorflow import MemoryStateManager, Orchestrator, RetryPolicy, StepTimeout, Workflow
from actorflow.model.results import RunResult
from actorflow.state import RunFold
from actorflow.state.sql import SQLStateManager
from actorflow.testing import Script, hangs, laws, raises, returns, simulate
from actorflow.testing.contracts.accounts import accepted, told

THRICE = RetryPolicy(max_attempts=3, initial_interval=2.0, jitter=0.0)
FAILS = raises(ValueError("no"))


def shaky(**options):
    """A workflow of one async step that may be retried."""
    flow = Workflow("shaky")
    flow.step(lambda: 1, id="a", async_=True, **({"retry": THRICE} | options))
    return flow


def outcomes(step):
    """How its attempts ended."""
    return [attempt.outcome.value for attempt in step.attempts_taken]


def spans(trace):
    """The attempts of `a` by its result, and by the executors."""
    step = trace.result.steps["a"]
    return (
        [(one.number, one.started_at, one.finished_at) for one in step.attempts_taken],
        [(one.attempt, one.started_at, one.finished_at) for one in trace.attempts],
    )


def checked(trace):
    """The trace, which keeps the laws, and whose events fold to its result."""
    laws.check(trace)
    return trace


def test_each_attempt_has_its_own_times_outcome_and_error():
    """The step's duration has the backoffs; those of the attempts do not."""
    script = Script({"a": [raises(ValueError("no"), after=0.25), hangs(), returns(after=0.5)]})
    trace = checked(simulate(shaky(timeout=1.0), script=script))
    step = trace.result.steps["a"]

    told_by_result, told_by_executors = spans(trace)
    assert told_by_executors == told_by_result
    assert ["failed", "timed_out", "completed"] == outcomes(step)
    assert [ValueError, StepTimeout, type(None)] == [
        type(attempt.error) for attempt in step.attempts_taken
    ]
    assert [0.25, 1.0, 0.5] == [attempt.duration for attempt in step.attempts_taken]
    assert 0.25 + 2.0 + 1.0 + 4.0 + 0.5 == step.duration


def test_a_run_that_is_cancelled_in_a_backoff_leaves_the_attempts_before_it():
    """No attempt was stopped."""
    trace = checked(simulate(shaky(), script=Script({"a": FAILS}), cancel_at=2.0))

    assert ["failed"] == outcomes(trace.result.steps["a"])
    assert 1.0 == trace.result.steps["a"].attempts_taken[0].duration
    assert 2.0 == trace.result.steps["a"].duration


def test_a_run_that_is_cancelled_in_a_later_attempt_stops_that():
    """It has no error of its own."""
    script = Script({"a": [FAILS, hangs()]})
    trace = checked(simulate(shaky(), script=script, cancel_at=5.0))

    assert ["failed", "cancelled"] == outcomes(trace.result.steps["a"])
    assert [None] == [one.error for one in trace.result.steps["a"].attempts_taken[1:]]


def test_a_total_timeout_that_passes_while_a_step_waits_ends_no_attempt():
    """A second attempt waited for the only worker."""
    flow = shaky(total_timeout=5.0)
    flow.step(lambda: 2, id="b", async_=True, priority=-1)
    script = Script({"a": FAILS, "b": returns(after=30.0)})
    trace = checked(simulate(flow, script=script, async_workers=1))
    step = trace.result.steps["a"]

    assert ("failed", 1, 5.0) == (step.status, step.attempts, step.duration)
    assert ["failed"] == outcomes(step)
    assert [ValueError] == [type(one.error) for one in step.attempts_taken]


def test_attempts_of_a_compensator_are_not_those_of_its_step():
    """Not even if both are retried."""
    flow = Workflow("saga")
    flow.step(lambda: 1, id="a", retry=THRICE, async_=True, compensate=lambda: None)
    flow.step(lambda: 2, id="b", after="a", async_=True)
    script = Script(
        {"a": [FAILS, returns(1)], "b": FAILS}, compensators={"a": [FAILS, FAILS, returns()]}
    )
    trace = checked(simulate(flow, script=script))
    step = trace.result.steps["a"]

    assert "compensated" == step.status
    assert ["failed", "completed"] == outcomes(step)


def test_an_attempt_in_flight_is_running():
    """By the fold of what has happened."""
    trace = simulate(shaky(), script=Script({"a": [FAILS, returns(after=3.0)]}))
    run = RunFold(accepted(trace.events[0].run_id))
    for event in trace.events[:-2]:
        run.take(event)
    step = run.snapshot().steps["a"]

    assert ["failed", "running"] == outcomes(step)
    assert step.attempts_taken[1].finished_at is None


@pytest.fixture(params=["memory", "sqlite"])
def state(request, tmp_path):
    """A state manager."""
    if request.param == "memory":
        yield MemoryStateManager()
        return
    pytest.importorskip("sqlalchemy")
    manager = SQLStateManager(f"sqlite:///{tmp_path}/runs.db", create=True)
    yield manager
    manager.close()


QUICK = RetryPolicy(max_attempts=3, initial_interval=0.01, jitter=0.0)


def failing_until(number, **options):
    """A workflow whose steps `a` and `b` fail before that attempt of the process."""
    flow, calls = Workflow("flow"), {"a": 0, "b": 0}

    def body(name):
        def run():
            calls[name] += 1
            if calls[name] < number[name]:
                raise ValueError(f"{name} {calls[name]}")
            return calls[name]

        return run

    flow.step(body("a"), id="a", retry=QUICK, **options)
    flow.step(body("b"), id="b", after="a", retry=QUICK, **options)
    return flow


def test_a_recorded_run_says_the_same_as_its_result(state):
    """And so do its events."""
    with Orchestrator(state) as orchestrator:
        run = orchestrator.start(failing_until({"a": 3, "b": 1}))
        result = run.wait()
        snapshot, events = run.snapshot(), state.events(run.id)

    assert told(result) == told(RunResult.of(snapshot))
    assert [1, 2, 3] == [attempt.number for attempt in snapshot.steps["a"].attempts_taken]
    assert ["failed", "failed", "completed"] == outcomes(snapshot.steps["a"])
    starts = [event.time for event in events if event.kind == "step.started"]
    taken = [one for step in snapshot.steps.values() for one in step.attempts_taken]
    assert starts == pytest.approx([attempt.started_at for attempt in taken], abs=1e-5)
    assert all(a.finished_at <= b.started_at for a, b in itertools.pairwise(taken))


def test_a_recorded_attempt_is_not_cancelled_with_a_step_that_waits_for_another(state):
    """It ended before the step did."""
    flow = Workflow("flow")
    flow.step(lambda: 1 / 0, id="a", retry=RetryPolicy(max_attempts=2, initial_interval=20.0))
    with Orchestrator(state) as orchestrator:
        run = orchestrator.start(flow)
        for event in run.events():
            if event.kind == "step.retrying":
                run.cancel()
        result = run.wait()
        snapshot = run.snapshot()

    assert ("cancelled", ["failed"]) == (result.steps["a"].status, outcomes(result.steps["a"]))
    assert told(result) == told(RunResult.of(snapshot))


def test_a_resumed_run_keeps_the_attempts_of_the_steps_that_it_keeps(state):
    """Those that run again count from 1."""
    flow = failing_until({"a": 3, "b": 5})
    with Orchestrator(state) as orchestrator:
        run = orchestrator.start(flow)
        before = run.wait()
        after = orchestrator.resume(run.id, flow).wait()
        snapshot = run.snapshot()

    assert ["failed", "failed", "failed"] == outcomes(before.steps["b"])
    assert ["failed", "completed"] == outcomes(after.steps["b"])
    assert [1, 2] == [attempt.number for attempt in after.steps["b"].attempts_taken]
    assert told(before.steps["a"]) == told(after.steps["a"])
    assert told(after) == told(RunResult.of(snapshot))


def test_the_time_of_a_body_is_that_of_its_attempt():
    """A thread that slept is as long in flight, and the step as long as all of it."""
    flow = Workflow("flow")

    @flow.step(retry=RetryPolicy(max_attempts=2, initial_interval=0.2, jitter=0.0))
    def a(ctx):
        time.sleep(0.01)
        if ctx.attempt == 1:
            raise ValueError

    with Orchestrator() as orchestrator:
        step = orchestrator.run(flow).steps["a"]

    assert all(0.01 <= attempt.duration for attempt in step.attempts_taken)
    assert 0.2 + sum(attempt.duration for attempt in step.attempts_taken) <= step.duration + 1e-6


def test_a_database_reads_the_events_of_a_run_only_if_a_step_was_retried(tmp_path, monkeypatch):
    """The rows of its steps have the rest."""
    pytest.importorskip("sqlalchemy")
    state = SQLStateManager(f"sqlite:///{tmp_path}/runs.db", create=True)
    with Orchestrator(state) as orchestrator:
        plain = orchestrator.start(failing_until({"a": 1, "b": 1}))
        retried = orchestrator.start(failing_until({"a": 2, "b": 1}))
        results = plain.wait(), retried.wait()
    read, reader = [], state._reader
    events = reader.events
    monkeypatch.setattr(reader, "events", lambda *args: read.append(args[0]) or events(*args))
    snapshots = [state.snapshot(result.run_id) for result in results]
    state.close()

    assert [retried.id] == read
    assert [[1, 1], [2, 1]] == [
        [len(step.attempts_taken) for step in snapshot.steps.values()] for snapshot in snapshots
    ]
