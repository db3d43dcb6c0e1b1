"""Several orchestrators over one simulated store, step by step."""

from __future__ import annotations

import random

import pytest

from actorflow import Workflow
from actorflow.errors.definition import DefinitionError
from actorflow.errors.storage import KeyInUse, RunNotFound, StoreUnavailable
from actorflow.testing import (
    Cluster,
    ClusterRun,
    ClusterScenario,
    Faults,
    NotNow,
    ScenarioStep,
    Script,
    Settings,
    Tape,
    hangs,
    laws,
    returns,
)


async def work():
    """Stand in for a step; its script says what it does."""


@pytest.fixture
def flow():
    """Two steps, one after the other."""
    flow = Workflow("pair")
    flow.step(work, id="one", async_=True)
    flow.step(work, id="two", after="one", async_=True)
    return flow


def owners(trace, run_id="run-1"):
    """The owners of a run, in order."""
    return [one.owner for one in trace.owned if one.run_id == run_id]


def concluded(cluster):
    """The trace of a cluster to its end, which keeps the laws."""
    trace = cluster.conclude()
    laws.check(trace)
    return trace


def test_a_run_is_taken_over_when_the_lease_of_a_dead_owner_is_over(flow):
    """By another machine, which cannot know sooner."""
    cluster = Cluster(2, lease=6.0)
    run_id = cluster.start(flow, script=Script(default=returns(after=20.0)))
    cluster.advance(1.0)
    cluster.crash(0, down=500.0)
    cluster.run_until_quiet()

    trace = concluded(cluster)
    taken = next(one for one in trace.owned if one.owner == "1.1")
    assert "completed" == trace.results[run_id].status
    assert ["0.1", "1.1"] == owners(trace)
    assert 6.0 <= taken.time <= 8.0


def test_a_process_of_the_same_machine_is_known_to_be_dead(flow):
    """At the next search."""
    cluster = Cluster(2, one_host=True)
    cluster.start(flow, script=Script(default=returns(after=20.0)))
    cluster.advance(1.0)
    cluster.crash(0, down=500.0)

    trace = concluded(cluster)
    assert 1.0 <= next(one for one in trace.owned if one.owner == "1.1").time <= 2.0


def test_a_process_that_stood_still_finds_that_it_has_lost_its_run(flow):
    """What it writes with its old fencing token is refused, and changes nothing."""
    cluster = Cluster(2)
    cluster.start(flow, script=Script(default=returns(after=20.0)))
    cluster.advance(1.0)
    cluster.halt(0, 30.0)

    trace = concluded(cluster)
    zombie = trace.process("0.1")
    assert ["0.1", "1.1"] == owners(trace)
    assert [("run-1")] == [run_id for _, run_id in zombie.lost]
    assert {"1.1"} == {by.owner for by in trace.written if by.time > 8.0}


def test_a_process_that_is_cut_off_writes_what_waits_when_no_other_took_the_run(flow):
    """Its writes wait, and it renews its lease first."""
    cluster = Cluster(1)
    cluster.start(flow, script=Script(default=returns(after=2.0)))
    cluster.advance(1.0)
    cluster.cut_off(0, 10.0)

    trace = concluded(cluster)
    assert ["0.1"] == owners(trace)
    assert 11.0 == trace.written[-1].time - 2.0


def test_a_process_that_is_cut_off_for_too_long_gives_its_runs_up(flow):
    """They are then taken up from their records."""
    cluster = Cluster(1)
    run_id = cluster.start(flow, script=Script(default=returns(after=2.0)))
    cluster.advance(1.0)
    cluster.cut_off(0, 40.0)

    trace = concluded(cluster)
    assert "completed" == trace.results[run_id].status
    assert "run.resumed" in [event.kind for event in trace.events]


def test_a_run_that_is_taken_up_again_is_not_discarded():
    """Its former life ended here because its events could not be recorded."""
    scenario = ClusterScenario(
        steps=(ScenarioStep(id="a", async_=True, on_thread=True),),
        settings=Settings(faults=Faults(handovers=1, store_stalls=1, halts=1, partitions=1)),
        runs=(ClusterRun(at=2.0, enqueued=True), ClusterRun(at=2.0)),
    )
    late = 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 1
    tape = {
        "cut off": [6],
        "deliver": [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1],
        "down for": [2],
        "for leases": [1],
        "hand over": [3],
        "halt": [3],
        "store stalls": [0, 1],
        "timer": late,
    }
    trace = scenario.simulate(Tape(tape))

    assert ["", "1.1", "1.1"] == owners(trace)
    laws.check(trace)


def test_a_waiting_run_that_began_elsewhere_goes_on_where_it_waited():
    """Its first owner stood still; the one that took it over began it and died."""
    scenario = ClusterScenario(
        steps=(ScenarioStep(id="a"),),
        settings=Settings(faults=Faults(restarts=2, halts=1)),
        runs=(ClusterRun(key="key", debounce=3.0),),
        server_clock=True,
        one_host=True,
    )
    tape = {"down for": [0, 2], "halt": [4], "restart": [8, 7], "who": [0, 1]}
    trace = scenario.simulate(Tape(tape))

    assert ["0.1", "1.2", "0.1"] == owners(trace)
    laws.check(trace)


def test_a_deploy_hands_runs_over(flow):
    """Without a second of waiting for a lease; nothing of the shutdown is recorded."""
    cluster = Cluster(2)
    cluster.start(flow, script=Script(default=returns(after=20.0)))
    cluster.advance(1.0)
    cluster.deploy(0, down=10.0)

    trace = concluded(cluster)
    assert ["0.1", "", "1.1"] == owners(trace)
    assert "step.cancelled" not in [event.kind for event in trace.events]
    assert 2.0 >= trace.owned[-1].time


def test_a_cancellation_asked_elsewhere_is_heard_at_once(flow):
    """By a signal over the channel."""
    cluster = Cluster(2)
    run_id = cluster.start(flow, script=Script(default=hangs()))
    cluster.advance(1.0)
    cluster.cancel(run_id, "enough", orchestrator=1)

    trace = concluded(cluster)
    assert "cancelled" == trace.results[run_id].status
    assert [(1.0, run_id)] == list(trace.process("0.1").heard[:1])


def test_a_signal_that_is_lost_is_made_up_for_by_the_next_renewal(flow):
    """A third of the lease later at most."""
    cluster = Cluster(2, tape=Tape({"signal lost": [1]}), faults=Faults(lost_signals=1))
    run_id = cluster.start(flow, script=Script(default=hangs()))
    cluster.advance(1.0)
    cluster.cancel(run_id, orchestrator=1)

    trace = concluded(cluster)
    assert [(2.0, run_id)] == list(trace.process("0.1").heard[:1])


def test_wall_clocks_that_are_wrong_take_no_run_from_its_owner(flow):
    """Neither that of the store nor those of the machines."""
    cluster = Cluster(2)
    cluster.start(flow, script=Script(default=returns(after=20.0)))
    cluster.advance(1.0)
    cluster.set_store_clock(7200.0)
    cluster.set_clock(1, -7200.0)
    cluster.advance(5.0)
    cluster.set_store_clock(-7200.0)

    assert ["0.1"] == owners(concluded(cluster))


def test_a_run_that_has_begun_is_taken_over_though_the_clock_was_set_back(flow):
    """It waits for no time any longer, although it has one."""
    cluster = Cluster(2)
    run_id = cluster.start(flow, key="one", script=Script(default=returns(after=20.0)))
    cluster.advance(1.0)
    cluster.set_store_clock(-7200.0)
    cluster.crash(0, down=500.0)

    trace = concluded(cluster)
    assert "completed" == trace.results[run_id].status


def test_an_enqueued_run_is_taken_by_one_orchestrator(flow):
    """Of three that look for it at once."""
    cluster = Cluster(3)
    cluster.enqueue(flow)

    trace = concluded(cluster)
    assert 2 == len(owners(trace))


def test_runs_with_a_key_take_turns_wherever_they_were_started(flow):
    """One runs, one waits, and the next one is refused."""
    cluster = Cluster(2)
    cluster.register(flow, Script(default=returns(after=3.0)))
    first = cluster.start(flow, key="doc")
    second = cluster.start(flow, orchestrator=1, key="doc", on_conflict="queue")
    with pytest.raises(KeyInUse):
        cluster.start(flow, orchestrator=0, key="doc", on_conflict="queue")

    trace = concluded(cluster)
    events = trace.sharing.events
    assert events[first][-1].by.time <= events[second][1].by.time


def test_a_schedule_fires_once_over_two_orchestrators(flow):
    """Each nominal time has one run, made by whichever was first."""
    cluster = Cluster(2)
    cluster.schedule("often", flow, every=5.0)
    cluster.schedule("often", flow, orchestrator=1, every=5.0)
    cluster.call_at(12.0, cluster.stop_schedule, "often")

    trace = concluded(cluster)
    fired = [run.metadata["scheduled_for"] for run in trace.accepted.values()]
    assert ["1970-01-01T00:00:05+00:00", "1970-01-01T00:00:10+00:00"] == sorted(fired)


def test_an_orchestrator_that_is_down_cannot_be_asked(flow):
    """Nor one that stands still; one that is cut off says so."""
    cluster = Cluster(3)
    cluster.crash(0)
    cluster.halt(1, 5.0)
    cluster.cut_off(2, 5.0)

    with pytest.raises(NotNow, match="orchestrator 0 is crashed"):
        cluster.start(flow)
    with pytest.raises(NotNow, match="orchestrator 1 is halted"):
        cluster.start(flow, orchestrator=1)
    with pytest.raises(StoreUnavailable):
        cluster.start(flow, orchestrator=2)
    cluster.close()


def test_mistakes_are_refused(flow):
    """With what to do instead."""
    cluster = Cluster(2, server_clock=True)

    with pytest.raises(DefinitionError, match="there is no orchestrator 2"):
        cluster.crash(2)
    with pytest.raises(DefinitionError, match="leases count by the clock of the store"):
        cluster.set_store_clock(5.0)
    with pytest.raises(RunNotFound):
        cluster.cancel("run-9")
    with pytest.raises(DefinitionError, match="orchestrators is 0"):
        Cluster(0)
    cluster.close()
    with pytest.raises(NotNow):
        cluster.advance(1.0)


def test_the_same_tape_gives_the_same_trace(flow):
    """Process by process."""

    def trace(tape):
        cluster = Cluster(2, tape=tape, faults=Faults(restarts=1, halts=1))
        cluster.start(flow)
        cluster.enqueue(flow, orchestrator=1)
        return cluster.conclude()

    first = trace(random.Random(5))
    assert first.hash == trace(first.tape).hash
    assert "belongs to 0.1" in first.chart()
