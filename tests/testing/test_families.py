"""Scripted bodies with children: how they start, end, and are found again."""

from __future__ import annotations

import pytest

from actorflow.definition.retry import RetryPolicy
from actorflow.errors.definition import DefinitionError
from actorflow.testing import Script, laws, raises, returns, simulate
from actorflow.testing.script_files import encoded_script
from tests.support.brain import flow, task

CHILD = flow(task("work"), id="child")


def family(behaviour, **options):
    """The trace of a run of one step that does this; it keeps all laws."""
    trace = simulate(flow(task("a", **options)), script=Script({"a": behaviour}))
    laws.check(trace)
    return trace


def statuses(trace):
    """How each run has ended."""
    return {run_id: trace.result_of(run_id).status.value for run_id in trace.runs}


def test_a_body_runs_children():
    """Each has an id made of those of its parent and step, and of the number of the call."""
    trace = family(returns(after=1.0).running(CHILD, then=0.5).running(CHILD, then=2.0))

    assert ["run-1", "run-1.a.1", "run-1.a.2"] == list(trace.runs)
    assert {"completed"} == set(statuses(trace).values())
    kinds = [event.kind.value for event in trace.events if event.run_id == "run-1"]
    assert 2 == kinds.count("step.suspended") == kinds.count("step.continued")


def test_a_body_starts_a_child_and_goes_on():
    """As with `ctx.start`; the child outlives a run that completes."""
    script = Script({"work": returns(after=9.0)})
    trace = family(returns(after=1.0).running(CHILD, script=script, waits=False))

    assert {"run-1": "completed", "run-1.a.1": "completed"} == statuses(trace)
    assert 0 == len(trace.waits)


def test_a_child_that_fails_fails_the_attempt():
    """The next one starts another in its place."""
    script = Script({"work": raises(ValueError)})
    trace = family(
        returns().running(CHILD, script=script), retry=RetryPolicy(max_attempts=2, jitter=0.0)
    )

    assert {"run-1": "failed", "run-1.a.1": "failed", "run-1.a.1'2": "failed"} == statuses(trace)


def test_a_later_attempt_takes_the_child_of_the_earlier_one():
    """If it has completed."""
    behaviours = [raises(OSError).running(CHILD), returns().running(CHILD)]
    trace = family(behaviours, retry=RetryPolicy(max_attempts=2, jitter=0.0))

    assert {"run-1": "completed", "run-1.a.1": "completed"} == statuses(trace)


def test_a_body_that_has_ended_has_no_child():
    """It ended while it waited."""
    with pytest.raises(DefinitionError, match="has ended before it could wait again"):
        returns().waiting(1.0, ends="waiting").running(CHILD)


def test_a_script_with_children_cannot_be_saved():
    """A file has no place for the workflow of the child."""
    with pytest.raises(DefinitionError, match="child"):
        encoded_script(Script({"a": returns().running(CHILD)}))
