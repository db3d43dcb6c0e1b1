"""Children in several simulated orchestrators: found again, followed, ended and undone."""

from __future__ import annotations

import pytest

from actorflow.model.lifecycle import EventKind
from actorflow.orchestrator.family import HasFamilies
from actorflow.testing import Cluster, Faults, LawBroken, Script, Tape, hangs, laws, raises, returns
from actorflow.testing.cluster.ears import Ears
from actorflow.testing.cluster.families import HasFamiliesInTurns
from tests.support.brain import flow, task

CHILD = flow(task("work"), id="child")
SAGA = flow(task("work", compensate=task("undo")), id="saga")
PARENT = flow(task("a"), id="parent")
LINE = flow(task("a"), task("b", "a"), id="line")


def running(child=CHILD, *, work=20.0, **options):
    """A body that runs a child whose step takes so long."""
    script = Script({"work": returns(after=work)})
    return returns(after=1.0).running(child, script=script, **options)


def concluded(cluster):
    """The trace of a cluster to its end, which keeps the laws."""
    trace = cluster.conclude()
    laws.check(trace)
    return trace


def statuses(trace):
    """How each run has ended."""
    return {run_id: result.status.value for run_id, result in trace.results.items()}


def owners(trace, run_id):
    """The owners of a run, in order."""
    return [one.owner for one in trace.owned if one.run_id == run_id]


def apart(parent=PARENT, *, work=60.0, more=None, **options):
    """A cluster, and a parent that 1.1 has taken over while 0.1 runs its child.

    The process 0.1 was halted until the lease was over, and took the child back, which it had not
    been told of.
    """
    cluster = Cluster(2, **options)
    script = Script({"a": running(work=work), **(more or {})})
    run_id = cluster.start(parent, script=script)
    cluster.advance(3.0)
    move(cluster, run_id, "1.1")
    return cluster, run_id


def move(cluster, run_id, owner):
    """Have a run belong to no process, so that another one takes it up."""
    process = next(it.process for it in cluster.members if it.process.name != owner)
    assert process.owner.open.pop(run_id)
    process.owner.hand_back(run_id)
    member = next(it for it in cluster.members if it.process.name == owner)
    member.process.take_turn(0)


def test_a_child_runs_in_the_process_of_its_parent():
    """The body waits for it, and takes its result."""
    cluster = Cluster(2)
    cluster.start(PARENT, orchestrator=1, script=Script({"a": running(work=5.0, then=2.0)}))

    trace = concluded(cluster)
    assert {"run-1": "completed", "run-1.a.1": "completed"} == statuses(trace)
    assert ["1.1"] == owners(trace, "run-1.a.1")
    assert 8.0 == trace.written[-1].time
    assert "run-1" == trace.accepted["run-1.a.1"].parent.run_id


def test_a_parent_that_is_taken_over_finds_its_child_again():
    """No second one is started, whoever takes up which first."""
    cluster = Cluster(2)
    cluster.start(PARENT, script=Script({"a": running()}))
    cluster.advance(3.0)
    cluster.crash(0, down=500.0)

    trace = concluded(cluster)
    assert {"run-1": "completed", "run-1.a.1": "completed"} == statuses(trace)
    assert ["0.1", "1.1"] == owners(trace, "run-1.a.1")


def test_a_child_that_runs_elsewhere_is_followed_by_its_record():
    """The parent goes on at the moment of its end."""
    cluster, _ = apart(work=20.0)

    trace = concluded(cluster)
    ended = [one.by.time for one in trace.sharing.events["run-1.a.1"]][-1]
    assert ["0.1"] == owners(trace, "run-1.a.1")
    assert ["0.1", "", "1.1"] == owners(trace, "run-1")
    assert "completed" == statuses(trace)["run-1"]
    assert ended == 21.0
    assert ended + 1.0 == trace.written[-1].time


def test_a_signal_that_is_lost_delays_the_parent_until_the_next_look():
    """All followed runs are looked at now and then."""
    cluster, _ = apart(work=20.0, tape=Tape({"signal lost": [1]}), faults=Faults(lost_signals=1))

    trace = concluded(cluster)
    continued = [
        by.time
        for event, by in zip(trace.events, trace.written, strict=True)
        if event.run_id == "run-1" and event.kind is EventKind.STEP_CONTINUED
    ]
    assert 21.0 < continued[-1] <= 26.0


def test_a_child_that_ended_while_its_parent_had_no_owner_gives_its_result():
    """It is taken from the store."""
    cluster = Cluster(1)
    cluster.start(PARENT, script=Script({"a": running(work=1.0, then=20.0)}))
    cluster.advance(5.0)
    cluster.crash(0, down=20.0)

    trace = concluded(cluster)
    assert ["0.1"] == owners(trace, "run-1.a.1")
    assert 1 == sum(event.kind is EventKind.RUN_STARTED for event in trace.events[9:]) + 1
    assert {"run-1": "completed", "run-1.a.1": "completed"} == statuses(trace)


def test_a_child_elsewhere_is_cancelled_with_its_parent():
    """Its owner is asked to end it."""
    cluster, run_id = apart()
    cluster.advance(2.0)
    cluster.cancel(run_id, orchestrator=1)

    trace = concluded(cluster)
    assert {"run-1": "cancelled", "run-1.a.1": "cancelled"} == statuses(trace)
    assert "run-1.a.1" in {run for _, run in trace.asked}
    assert ["0.1"] == owners(trace, "run-1.a.1")


def test_a_child_that_is_abandoned_outlives_its_parent():
    """Wherever it runs."""
    cluster = Cluster(2)
    run_id = cluster.start(PARENT, script=Script({"a": running(on_parent_end="abandon")}))
    cluster.advance(3.0)
    cluster.cancel(run_id, orchestrator=1)

    assert {"run-1": "cancelled", "run-1.a.1": "completed"} == statuses(concluded(cluster))


@pytest.mark.parametrize("crashes", [False, True])
def test_a_completed_child_is_undone_with_its_parent(crashes):
    """By whoever runs the parent when it fails."""
    cluster = Cluster(2)
    script = Script({"a": running(SAGA, work=2.0), "b": raises(ValueError, after=20.0)})
    cluster.start(LINE, script=script)
    cluster.advance(6.0)
    if crashes:
        cluster.crash(0, down=500.0)

    trace = concluded(cluster)
    kinds = [one.event.kind.value for one in trace.sharing.events["run-1.a.1"]]
    assert {"run-1": "failed", "run-1.a.1": "cancelled"} == statuses(trace)
    assert 1 == kinds.count("run.completed") == kinds.count("compensation.completed")
    assert ["0.1", "1.1" if crashes else "0.1"] == owners(trace, "run-1.a.1")


def test_undoing_goes_on_in_the_next_process():
    """The child is undone once, although its process dies in the middle."""
    cluster = Cluster(2)
    saga = Script({"work": returns(after=1.0)}, compensators={"work": returns(after=10.0)})
    body = returns(after=1.0).running(SAGA, script=saga)
    cluster.start(LINE, script=Script({"a": body, "b": raises(ValueError, after=1.0)}))
    cluster.advance(8.0)
    cluster.crash(0, down=500.0)

    trace = concluded(cluster)
    kinds = [one.event.kind.value for one in trace.sharing.events["run-1.a.1"]]
    assert {"run-1": "failed", "run-1.a.1": "cancelled"} == statuses(trace)
    assert 1 == kinds.count("compensation.completed")
    assert "1.1" == owners(trace, "run-1.a.1")[-1]


def test_a_process_without_its_parent_starts_no_child():
    """The new owner has looked for it, and may be about to start it."""
    cluster = Cluster(2)
    run_id = cluster.start(PARENT, script=Script({"a": running()}))
    cluster.advance(0.5)
    move(cluster, run_id, "1.1")

    trace = concluded(cluster)
    assert ["1.1"] == owners(trace, "run-1.a.1")


def test_a_body_waits_for_the_store_before_it_starts_a_child():
    """As for a record."""
    cluster = Cluster(1)
    cluster.start(PARENT, script=Script({"a": running(work=1.0)}))
    cluster.advance(0.5)
    cluster.cut_off(0, 3.0)

    trace = concluded(cluster)
    assert 3.5 <= trace.accepted["run-1.a.1"].created_at <= 4.0
    assert "completed" == statuses(trace)["run-1"]


@pytest.mark.parametrize("seconds", [5.0, 20.0, 60.0])
def test_a_parent_does_not_end_before_its_children_can_be_told(seconds, monkeypatch):
    """It is cut off from the store at the moment when it has failed."""
    cluster = Cluster(2, lease=120.0)
    end_children = HasFamiliesInTurns.end_children

    def end_cut_off(premises, message):
        monkeypatch.setattr(HasFamiliesInTurns, "end_children", end_children)  # only once
        end_children(premises, message)
        cluster.cut_off(1, seconds)

    monkeypatch.setattr(HasFamiliesInTurns, "end_children", end_cut_off)
    script = Script({"a": running(work=90.0), "b": raises(ValueError("b"), after=10.0)})
    run_id = cluster.start(flow(task("a"), task("b"), id="pair"), script=script)
    cluster.advance(3.0)
    move(cluster, run_id, "1.1")

    trace = concluded(cluster)
    assert {run_id: "failed", f"{run_id}.a.1": "cancelled"} == statuses(trace)


def test_the_children_of_children_are_known_everywhere():
    """Their workflows are registered with that of their ancestor."""
    inner = Script({"work": hangs()})
    middle = Script({"a": returns(after=1.0).running(CHILD, script=inner)})
    outer = Script({"a": returns(after=1.0).running(PARENT, script=middle)})
    cluster = Cluster(2)
    root = flow(task("a"), id="root")
    run_id = cluster.start(root, script=outer)
    cluster.advance(5.0)
    cluster.crash(0, down=500.0)
    cluster.advance(20.0)
    cluster.cancel(run_id, orchestrator=1)

    trace = concluded(cluster)
    assert 3 == len(trace.accepted)
    assert {"cancelled"} == set(statuses(trace).values())


def test_a_law_sees_that_a_child_elsewhere_is_not_cancelled(monkeypatch):
    """It completes, and was never told."""
    monkeypatch.setattr(HasFamilies, "_cancel_child", lambda *_: None)
    cluster, run_id = apart()
    cluster.advance(2.0)
    cluster.cancel(run_id, orchestrator=1)

    with pytest.raises(LawBroken, match="was not told to end") as broken:
        laws.check(cluster.conclude())
    assert 61 == broken.value.number


def test_a_law_sees_that_a_parent_hears_of_no_end(monkeypatch):
    """Neither by a signal nor by looking."""
    monkeypatch.setattr(Ears, "hear", lambda *_: None)
    cluster, _ = apart(work=20.0, max_time=100.0)

    with pytest.raises(LawBroken, match="still waited") as broken:
        laws.parents_go_on_with_their_children.check(cluster.conclude())
    assert 63 == broken.value.number
