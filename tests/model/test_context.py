"""What a running step may know and ask."""

from __future__ import annotations

import inspect

import attrs
import pytest
import structlog

from actorflow.errors.running import StepCancelled
from actorflow.model.context import Attempt, RunScope, StepContext
from tests.support.brain import COROUTINES, scope


class Clock:
    """Time that a test moves."""

    seconds = 100.0

    def __call__(self):
        """The time."""
        return self.seconds


@pytest.fixture
def clock():
    """A clock at a hundred seconds."""
    return Clock()


def context(clock=lambda: 100.0, *, deadline=None, number=2, **fields):
    """The context of a step's second attempt, and the attempt."""
    where = scope("run", now=clock, **fields)
    attempt = Attempt(where, "fetch", number, deadline, COROUTINES)
    return StepContext(attempt), attempt


def test_a_step_knows_who_it_is():
    """Which run, which workflow, which step, which attempt."""
    ctx, _ = context()

    assert ("run", "flow", "fetch", 2) == (ctx.run_id, ctx.workflow_id, ctx.step_id, ctx.attempt)


def test_a_step_knows_whose_work_it_does():
    """The ids and metadata that the run was started with."""
    ctx, _ = context(trace_id="t", correlation_id="c", business_id="b", metadata={"who": "me"})

    assert ("t", "c", "b") == (ctx.trace_id, ctx.correlation_id, ctx.business_id)
    assert {"who": "me"} == ctx.metadata


def test_ids_that_were_not_given_are_none():
    """And not empty texts."""
    ctx, _ = context()

    assert (None, None, None) == (ctx.trace_id, ctx.correlation_id, ctx.business_id)


def test_a_step_knows_how_long_it_may_take(clock):
    """Until its nearest deadline, and never less than nothing."""
    ctx, _ = context(clock, deadline=102.5)

    remaining = []
    for clock.seconds in (100.0, 102.0, 102.5, 200.0):
        remaining.append(ctx.remaining)

    assert [2.5, 0.5, 0.0, 0.0] == remaining


def test_a_step_without_a_deadline_may_take_as_long_as_it_likes():
    """It gets None rather than a very large number."""
    assert context()[0].remaining is None


def test_a_step_sees_that_it_is_to_stop():
    """As soon as the supervisor has asked."""
    ctx, attempt = context()
    before = ctx.cancelled
    ctx.raise_if_cancelled()

    attempt.cancelled = True

    assert (False, True) == (before, ctx.cancelled)
    with pytest.raises(StepCancelled, match="'fetch' of run 'run'"):
        ctx.raise_if_cancelled()


def test_a_heartbeat_is_remembered_with_its_time(clock):
    """For the events that say how long the step has been silent."""
    ctx, attempt = context(clock)
    before = attempt.heartbeat_at
    ctx.heartbeat()
    clock.seconds = 107.0
    ctx.heartbeat()

    assert (None, 107.0) == (before, attempt.heartbeat_at)


def test_a_heartbeat_leaves_a_step_that_is_to_stop(clock):
    """Having been remembered."""
    ctx, attempt = context(clock)
    attempt.cancelled = True

    with pytest.raises(StepCancelled):
        ctx.heartbeat()

    assert 100.0 == attempt.heartbeat_at


def test_the_idempotency_key_is_the_same_in_every_attempt():
    """Of one step in one run, and of no other."""
    first, second = context(number=1)[0], context(number=2)[0]
    other = StepContext(Attempt(scope("run"), "other", 1, None, COROUTINES))

    assert first.idempotency_key == second.idempotency_key
    assert other.idempotency_key != first.idempotency_key
    assert "run" in first.idempotency_key


def test_the_log_carries_all_ids():
    """Whatever the step writes can be found again."""
    ctx, _ = context(trace_id="t", correlation_id="c", business_id="b")
    with structlog.testing.capture_logs() as lines:
        structlog.configure()
        ctx.log.info("hello", more=1)
    structlog.reset_defaults()

    assert [
        {
            "event": "hello",
            "log_level": "info",
            "more": 1,
            "run_id": "run",
            "step_id": "fetch",
            "attempt": 2,
            "workflow_id": "flow",
            "trace_id": "t",
            "correlation_id": "c",
            "business_id": "b",
        }
    ] == lines


def test_the_log_is_made_once():
    """And only for steps that write."""
    ctx, _ = context()

    assert ctx._log is None
    assert ctx.log is ctx.log


def test_a_context_cannot_be_written_to():
    """It is the face of things, not a place for notes."""
    ctx, _ = context()

    for name, value in inspect.getmembers(StepContext, lambda one: isinstance(one, property)):
        assert value.fset is None, name
    with pytest.raises(AttributeError):
        ctx.notes = "mine"


def test_a_scope_cannot_be_changed():
    """All steps of the run share it."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        scope("run").run_id = "other"


def test_a_scope_can_be_given_another_deadline():
    """Its clock stands still while a pause freezes it; children inherit what is left of it."""
    known = scope("run", deadline=7.0)
    known.postpone(9.0)

    assert 9.0 == known.deadline


def test_a_scopes_bindings_are_the_ids_that_are_known():
    """Beside the workflow's."""
    assert {"workflow_id": "flow"} == scope("run").bindings()
    assert {"workflow_id": "flow", "trace_id": "t"} == scope("run", trace_id="t").bindings()
    assert {"bindings", "postpone"} == {
        name for name, _ in inspect.getmembers(RunScope, inspect.isfunction) if name[0] != "_"
    }


def test_an_attempt_begins_with_nothing_done():
    """Neither submitted nor cancelled, and without a sign of life."""
    _, attempt = context(deadline=7.0)

    assert (False, False, None, None) == (
        attempt.submitted,
        attempt.cancelled,
        attempt.heartbeat_at,
        attempt.handle,
    )
    assert "<Attempt 2 of step 'fetch' in run run>" == repr(attempt)
