"""Messages, evictions and pauses between several simulated orchestrators."""

from __future__ import annotations

import pytest

from actorflow import Workflow
from actorflow.errors.running import RunEnded
from actorflow.errors.storage import RunNotFound, StoreUnavailable
from actorflow.model.lifecycle import EventKind
from actorflow.testing import Cluster, Faults, NotNow, Script, Tape, laws, returns

RECEIVES = Script({"one": returns("done", after=1.0).receiving("go")}, default=returns(after=1.0))


async def work():
    """Stand in for a step; its script says what it does."""


@pytest.fixture
def flow():
    """Two steps, one after the other."""
    flow = Workflow("pair")
    flow.step(work, id="one", async_=True)
    flow.step(work, id="two", after="one", async_=True)
    return flow


def concluded(cluster):
    """The trace of a cluster to its end, which keeps the laws."""
    trace = cluster.conclude()
    laws.check(trace)
    return trace


def owners(trace):
    """The owners of the first run, in order."""
    return [one.owner for one in trace.owned if one.run_id == "run-1"]


def recorded(trace, kind):
    """Who recorded the events of a kind, when, and of which attempt."""
    return [
        (by.owner, by.time, event.attempt)
        for event, by in zip(trace.events, trace.written, strict=True)
        if event.kind is kind
    ]


def waiting(flow, **options):
    """A cluster whose first orchestrator has a run that waits for a message."""
    cluster = Cluster(2, **options)
    cluster.start(flow, script=RECEIVES)
    cluster.advance(2.0)
    return cluster


# ── Messages ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("through", [0, 1])
def test_a_message_reaches_the_owner_of_a_run(flow, through):
    """At once, through whichever orchestrator it is sent."""
    cluster = waiting(flow)
    assert cluster.send("run-1", "go", "now", orchestrator=through)

    trace = concluded(cluster)
    assert [("0.1", 2.0, 1)] == recorded(trace, EventKind.STEP_RECEIVED)
    assert ["now"] == [one.payload for one in trace.receipts]
    assert "completed" == trace.results["run-1"].status


def test_an_owner_that_missed_the_signal_reads_at_its_renewal(flow):
    """A third of a lease later at most."""
    cluster = waiting(
        flow, lease=6.0, faults=Faults(lost_signals=1), tape=Tape({"signal lost": [1]})
    )
    cluster.send("run-1", orchestrator=1)

    trace = concluded(cluster)
    ((owner, time, _),) = recorded(trace, EventKind.STEP_RECEIVED)
    assert "0.1" == owner
    assert 2.0 < time <= 4.0


def test_a_message_waits_for_the_next_owner(flow):
    """Whose attempt begins again under its number, and gets what was sent meanwhile."""
    cluster = waiting(flow)
    cluster.crash(0, down=500.0)
    cluster.send("run-1", "go", "late", orchestrator=1)

    trace = concluded(cluster)
    ((owner, _, attempt),) = recorded(trace, EventKind.STEP_RECEIVED)
    assert ("1.1", 1) == (owner, attempt)
    assert ["0.1", "1.1"] == owners(trace)


def test_a_body_receives_again_what_its_attempt_had_received(flow):
    """When its owner dies while it waits for the second message, and another one goes on."""
    two = returns(after=1.0).receiving("go").receiving("go")
    cluster = Cluster(2)
    cluster.start(flow, script=Script({"one": two}))
    cluster.send("run-1", "go", "first")
    cluster.advance(4.0)
    cluster.crash(0, down=500.0)
    cluster.send("run-1", "go", "second", orchestrator=1)

    trace = concluded(cluster)
    assert ["first", "first", "second"] == [one.payload for one in trace.receipts]
    assert {1} == {one.attempt for one in trace.receipts}


def test_a_run_that_nobody_has_begun_takes_messages(flow):
    """They are there when its first body waits."""
    cluster = Cluster(2)
    run_id = cluster.enqueue(flow, script=RECEIVES, delay=30.0)
    cluster.send(run_id, "go", "early", orchestrator=1)
    cluster.advance(1.0)
    assert 0 == len(cluster.store.log)
    trace = concluded(cluster)
    assert ["early"] == [one.payload for one in trace.receipts]


def test_the_laws_hold_for_a_run_that_has_only_got_messages(flow):
    """Its orchestrator has not begun with it."""
    cluster = Cluster(2)
    run_id = cluster.start(flow, script=RECEIVES)
    cluster.send(run_id, orchestrator=1)

    laws.check(cluster.trace())


def test_an_id_is_one_message_whoever_sends_it(flow):
    """And an ended run takes no new one."""
    cluster = waiting(flow)
    for orchestrator in (0, 1, 0):
        assert cluster.send("run-1", "go", id="a", orchestrator=orchestrator)
    cluster.run_until_quiet()
    assert cluster.send("run-1", "go", id="a", orchestrator=1)
    assert not cluster.send("run-1", "go", orchestrator=1)
    with pytest.raises(RunNotFound):
        cluster.send("run-2")

    trace = concluded(cluster)
    assert [1, None, None, None, None] == [one.number for one in trace.messages]


def test_a_message_needs_an_orchestrator_that_is_there(flow):
    """And that can reach the store."""
    cluster = waiting(flow)
    cluster.cut_off(1, 5.0)
    with pytest.raises(StoreUnavailable):
        cluster.send("run-1", orchestrator=1)
    cluster.halt(0, 5.0)
    with pytest.raises(NotNow):
        cluster.send("run-1")
    cluster.call_at(20.0, cluster.send, "run-1")
    concluded(cluster)


def test_a_process_without_the_store_reads_messages_later(flow):
    """The body waits meanwhile."""
    cluster = Cluster(2)
    cluster.start(flow, script=RECEIVES)
    cluster.send("run-1", orchestrator=1)
    cluster.advance(0.5)
    cluster.cut_off(0, 3.0)

    trace = concluded(cluster)
    ((owner, time, _),) = recorded(trace, EventKind.STEP_RECEIVED)
    assert "0.1" == owner
    assert 3.5 <= time <= 4.5


# ── Evictions ────────────────────────────────────────────────────────────────────────────────


def test_an_evicted_run_sleeps_until_there_is_a_message(flow):
    """Then any orchestrator takes it, and its attempt goes on under its number."""
    cluster = waiting(flow, evict_after=5.0)
    cluster.advance(20.0)
    assert "message 'go'" == cluster.store.snapshot("run-1").waiting
    cluster.halt(0, 10.0)
    cluster.send("run-1", orchestrator=1)

    trace = concluded(cluster)
    assert ["0.1", "", "1.1"] == owners(trace)
    assert [("0.1", 0)] == [(one.owner, one.seen) for one in trace.slept]
    ((owner, _, attempt),) = recorded(trace, EventKind.STEP_RECEIVED)
    assert ("1.1", 1) == (owner, attempt)
    assert 22.0 <= trace.owned[-1].time <= 23.0


def test_an_evicted_run_goes_on_when_its_time_has_come(flow):
    """By the clock of the store."""
    cluster = Cluster(2, evict_after=2.0)
    cluster.start(flow, script=Script({"one": returns(after=1.0).receiving("go", timeout=30.0)}))

    trace = concluded(cluster)
    ((_, time, _),) = recorded(trace, EventKind.STEP_EXPIRED)
    assert 31.0 <= time <= 32.0
    assert "failed" == trace.results["run-1"].status


def test_an_evicted_run_can_be_cancelled(flow):
    """At once, as it has no owner."""
    cluster = waiting(flow, evict_after=2.0)
    cluster.advance(10.0)
    cluster.cancel("run-1", orchestrator=1)

    trace = concluded(cluster)
    assert "cancelled" == trace.results["run-1"].status
    assert [12.0] == [time for _, time, _ in recorded(trace, EventKind.RUN_CANCELLED)]


def test_a_message_that_came_before_the_eviction_wakes_the_run(flow):
    """Its owner was cut off, and had not heard of it."""
    cluster = waiting(flow, evict_after=5.0)
    cluster.advance(3.0)
    cluster.cut_off(0, 4.0)
    cluster.send("run-1", orchestrator=1)

    trace = concluded(cluster)
    assert "completed" == trace.results["run-1"].status
    assert () == trace.slept


# ── Pauses ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("through", [0, 1])
def test_a_paused_run_starts_nothing(flow, through):
    """Until its pause ends, through whichever orchestrator both are asked."""
    cluster = Cluster(2)
    cluster.start(flow, script=Script(default=returns(after=3.0)))
    cluster.advance(1.0)
    cluster.pause("run-1", "no paper", orchestrator=through)
    cluster.advance(20.0)
    assert "no paper" == cluster.store.snapshot("run-1").paused
    cluster.unpause("run-1", orchestrator=1 - through)

    trace = concluded(cluster)
    assert [0.0, 21.0] == [time for _, time, _ in recorded(trace, EventKind.STEP_STARTED)]
    assert ["0.1"] == owners(trace)


def test_a_paused_run_of_a_dead_owner_stays_paused(flow):
    """Nobody takes it before its pause ends."""
    cluster = Cluster(2)
    cluster.start(flow, script=Script(default=returns(after=3.0)))
    cluster.advance(1.0)
    cluster.pause("run-1")
    cluster.crash(0, down=500.0)
    cluster.advance(30.0)
    assert ["0.1"] == [one.owner for one in cluster.store.owned]
    cluster.unpause("run-1", orchestrator=1)

    trace = concluded(cluster)
    assert ["0.1", "1.1"] == owners(trace)
    assert "completed" == trace.results["run-1"].status


def test_a_pause_that_was_not_signalled_is_heard_at_the_renewal(flow):
    """Two seconds later at most."""
    cluster = Cluster(2, lease=6.0, faults=Faults(lost_signals=1), tape=Tape({"signal lost": [1]}))
    cluster.start(flow, script=Script(default=returns(after=4.0)))
    cluster.advance(1.0)
    cluster.pause("run-1", orchestrator=1)
    cluster.call_at(20.0, cluster.unpause, "run-1")

    trace = concluded(cluster)
    assert [0.0, 20.0] == [time for _, time, _ in recorded(trace, EventKind.STEP_STARTED)]
    ((_, time, _),) = recorded(trace, EventKind.RUN_PAUSED)
    assert 1.0 < time <= 3.0


def test_a_cancellation_ends_a_pause(flow):
    """As with one orchestrator."""
    cluster = Cluster(2)
    cluster.start(flow, script=RECEIVES)
    cluster.advance(2.0)
    cluster.pause("run-1", freeze=True, orchestrator=1)
    cluster.advance(1.0)
    cluster.cancel("run-1", orchestrator=1)

    trace = concluded(cluster)
    assert "cancelled" == trace.results["run-1"].status
    assert [True, False] == [one.paused for one in trace.steered]


def test_an_ended_run_cannot_be_paused(flow):
    """It is said so."""
    cluster = Cluster(2)
    cluster.start(flow, script=Script(default=returns(after=1.0)))
    cluster.run_until_quiet()
    for steer in (cluster.pause, cluster.unpause):
        with pytest.raises(RunEnded):
            steer("run-1", orchestrator=1)
    concluded(cluster)
