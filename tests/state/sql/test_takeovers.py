"""How often a run was taken over from owners that died, as a database counts it."""

from __future__ import annotations

import time

import pytest
import sqlalchemy as sa

from actorflow import Orchestrator, RunFailed, TakenOverTooOften, Workflow
from actorflow.model.lifecycle import EventKind
from actorflow.state.sql.engines import Engines
from actorflow.testing.contracts.accounts import STARTED, accept, accepted, happened, write

KNOWN = frozenset({("flow", "1.0.0")})
GUARD = 60


def expire(url):
    """Let all leases have run out."""
    past = "UPDATE actorflow_owners SET lease = 0, lease_until = '2000-01-01 00:00:00.000000+00:00'"
    with Engines.to(url) as engines, engines.writing.begin() as connection:
        connection.execute(sa.text(past))


def begun(make, run_id="run"):
    """A state manager that owns a run with a step in flight."""
    state = make()
    accept(state, accepted(run_id))
    write(state, happened(*STARTED, run_id=run_id))
    return state


def taken(state):
    """The ids of the runs that it takes."""
    return list(state.take(KNOWN, (), 10).taken)


def go_on(state, number):
    """Record that the run is resumed."""
    (resumed,) = happened(EventKind.RUN_RESUMED, after=number, run_id="run")
    write(state, [resumed])


def test_a_run_that_nobody_took_over_counts_none(make):
    """As the other tables say."""
    assert 0 == begun(make).snapshot("run").takeovers


def test_each_take_over_from_a_dead_owner_counts(make, url):
    """By whatever way it is claimed."""
    begun(make)
    expire(url)
    second = make()
    assert ["run"] == taken(second)
    go_on(second, len(STARTED))
    expire(url)
    third = make()
    claimed = third.claim("run")

    assert 2 == claimed.takeovers == third.snapshot("run").takeovers


def test_an_owner_that_has_recorded_nothing_is_not_counted(make, url):
    """What was in flight when the one before it died is counted once."""
    begun(make)
    for _ in range(3):
        expire(url)
        last = make()
        assert ["run"] == taken(last)

    assert 1 == last.snapshot("run").takeovers


def test_a_run_that_was_handed_back_is_not_counted(make):
    """Neither by itself, nor with its owner's clean end."""
    first = begun(make)
    first.hand_back("run")
    second = make()
    while not taken(second):
        pass  # it is handed back by the thread of the first one
    go_on(second, len(STARTED))
    second.close()
    third = make()

    assert ["run"] == taken(third)
    assert 0 == third.snapshot("run").takeovers


def test_a_run_that_has_begun_is_taken_though_the_clock_was_set_back(make, url):
    """It waits for no time any longer, although it has one."""
    state, later = make(), time.time() + 3600.0
    accept(state, accepted(start_at=later))
    write(state, happened(*STARTED))
    expire(url)

    assert ["run"] == taken(make())


def test_an_owner_that_takes_its_own_run_again_is_not_counted(make):
    """It is alive."""
    state = begun(make)

    assert ["run"] == taken(state)
    assert 0 == state.snapshot("run").takeovers


def test_an_orchestrator_gives_up_a_run_whose_owners_died_too_often(make, url):
    """With an error that names the step; a person who resumes it sets the count back."""
    begun(make)
    expire(url)
    flow = Workflow("flow")
    flow.step(done, id="a")
    state = make()
    with Orchestrator(state, recover=True, recover_every=0.01, max_takeovers=0) as orchestrator:
        orchestrator.register(flow)
        while not state.snapshot("run").status.terminal:
            pass
        with pytest.raises(RunFailed) as failed:
            orchestrator.get("run").result(GUARD)
        result = orchestrator.resume("run").result(GUARD)

    assert "Steps in flight at the crashes: 'a' (once)" in str(failed.value)
    assert TakenOverTooOften.__name__ in repr(failed.value.result.error)
    assert ("done", 1) == (result.output, result.steps["a"].attempts)


def test_a_run_that_is_taken_over_is_read_as_its_events_fold(make, url):
    """Its attempts are counted on, and the one that was cut is among them."""
    begun(make)
    expire(url)
    flow = Workflow("flow")
    flow.step(done, id="a")
    state = make()
    with Orchestrator(state, recover=True, recover_every=0.01) as orchestrator:
        orchestrator.register(flow)
        while not state.snapshot("run").status.terminal:
            pass
        step = state.snapshot("run").steps["a"]

    assert [(1, "cut"), (2, "completed")] == [
        (one.number, one.outcome) for one in step.attempts_taken
    ]


def done():
    """Be a step."""
    return "done"
