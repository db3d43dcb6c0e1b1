"""Children end with their parents, wherever either of them is when that happens."""

from __future__ import annotations

import threading

import pytest

from actorflow import Workflow
from actorflow.errors.storage import StoreUnavailable
from actorflow.orchestrator import family as family_module
from actorflow.orchestrator import remote_cancel
from actorflow.orchestrator.family import children_of
from tests.support.flows import GUARD, endless, flow_of, seen

# Their steps are closures, which tell the test what they do.
pytestmark = pytest.mark.filterwarnings("ignore:.*a lambda or a closure:actorflow.ActorflowWarning")

RECOVERS = {"recover": True, "recover_every": 0.01}


class House:
    """A parent with children of each kind, all of which wait for ever.

    One child runs with a child of its own, one waits for its time, one waits in the queue for any
    process, and one is abandoned.
    """

    def __init__(self):
        self.told = []
        self.begun = threading.Semaphore(0)
        self.leaf = Workflow("leaf")
        self.leaf.step(self._done, id="done", compensate=self._undone)
        self.leaf.step(self._waits, id="waits", after="done", async_=True)
        self.queued = flow_of(endless, "queued")
        self.branch = flow_of(self._branch, "branch", async_=True)
        self.parent = flow_of(self._parent, "parent", async_=True)

    def known_to(self, orchestrator, *flows):
        """Have an orchestrator know the workflows; return it."""
        for flow in flows or (self.leaf, self.queued, self.branch, self.parent):
            orchestrator.register(flow)
        return orchestrator

    def starts(self, orchestrator):
        """Start a family, and return the parent once all of it is there."""
        self._orchestrator = orchestrator
        run = orchestrator.start(self.parent)
        for _ in "abc":
            assert self.begun.acquire(timeout=GUARD)
        return run

    def _done(self):
        self.told.append("done")

    def _undone(self):
        self.told.append("undone")

    async def _waits(self):
        self.begun.release()
        await endless()

    async def _branch(self, ctx):
        await ctx.run(self.leaf)

    async def _parent(self, ctx):
        await ctx.start(self.branch, key="running")
        await ctx.start(self.leaf, key="deferred", delay=3600)
        await ctx.start(self.leaf, key="abandoned", on_parent_end="abandon")
        await self._orchestrator.enqueue_async(self.queued)
        self.begun.release()
        await endless()


@pytest.fixture
def house():
    """A house."""
    return House()


def family(orchestrator, run):
    """Return the descendants of a run by workflow, but those that are abandoned."""
    found = orchestrator.list(root_run_id=run.id).runs
    return [it for it in found if it.parent is not None and it.parent.on_end == "cancel"]


def abandoned(orchestrator, run):
    """Return the status of the abandoned child of a run."""
    (child,) = [
        it
        for it in orchestrator.list(parent_run_id=run.id).runs
        if it.parent is not None and it.parent.on_end == "abandon"
    ]
    return child.status.value


def ended(orchestrator, run):
    """Wait for the end of all descendants of a run; return how they ended, and why."""
    results = [orchestrator.get(it.run_id).wait(GUARD) for it in family(orchestrator, run)]
    return {result.status.value for result in results}, {result.reason for result in results}


# ── The parent ends in its orchestrator ──────────────────────────────────────────────────────


def test_all_children_end_with_a_parent_that_is_cancelled(make, make_orchestrator, house):
    """The running, the deferred and the queued one, and a child of a child."""
    here = house.known_to(make_orchestrator(make()))
    run = house.starts(here)
    run.cancel("enough")

    assert "cancelled" == run.wait(GUARD).status
    assert 4 == len(family(here, run))
    statuses, reasons = ended(here, run)
    assert {"cancelled"} == statuses
    assert 2 == len(reasons)
    assert all(reason.endswith("has been cancelled") for reason in reasons)
    assert "running" == abandoned(here, run)


def test_children_in_another_process_end_with_their_parent(make, make_orchestrator, house):
    """Its owner is asked to end them, which no crash of either process makes it forget."""
    here = house.known_to(make_orchestrator(make()))
    there = house.known_to(make_orchestrator(make(), **RECOVERS), house.queued)
    run = house.starts(here)
    (queued,) = [it for it in family(here, run) if it.workflow_id == "queued"]
    seen(there.get(queued.run_id), "step.started")
    run.cancel("enough")

    assert f"its parent, run {run.id!r}, has been cancelled" == (
        there.get(queued.run_id).wait(GUARD).reason
    )
    assert {"cancelled"} == ended(here, run)[0]


def test_a_parent_has_not_ended_before_its_children_are_told_to(make, make_orchestrator, house):
    """So a process that dies between the two leaves a parent in progress, which tells them again.

    Here it dies as it looks for the first child.
    """
    here = house.known_to(make_orchestrator(make()))
    run, asked = house.starts(here), threading.Event()
    runtime = here._life.runtime("test")
    runtime.end_children = lambda _message: asked.set()
    run.cancel("enough")
    assert asked.wait(GUARD)
    status = here.get(run.id).snapshot().status
    here.shutdown(drain=0, grace=0)
    there = house._orchestrator = house.known_to(make_orchestrator(make()))
    resumed = there.resume(run.id)
    resumed.cancel("enough")

    assert "running" == status
    assert "cancelled" == resumed.wait(GUARD).status
    assert {"cancelled"} == ended(there, run)[0]


def test_a_parent_does_not_end_while_its_children_cannot_be_found(
    make, make_orchestrator, house, monkeypatch
):
    """However long the state manager cannot be reached: it would end, and they go on for ever."""
    here = house.known_to(make_orchestrator(make()))
    run, outage = house.starts(here), iter(range(20))

    def unreachable(state, run_id):
        if run_id == run.id and next(outage, None) is not None:
            raise StoreUnavailable("list runs", "the test has cut it off")
        return children_of(state, run_id)

    monkeypatch.setattr(family_module, "children_of", unreachable)
    monkeypatch.setattr(family_module, "pause_before", lambda _number: 0.0)
    run.cancel("enough")

    assert "cancelled" == run.wait(GUARD).status
    assert {"cancelled"} == ended(here, run)[0]
    assert next(outage, None) is None


# ── The parent has no owner ──────────────────────────────────────────────────────────────────


def left(make, make_orchestrator, house):
    """Return a family whose orchestrator has left it, and an orchestrator that knows nothing."""
    first = house.known_to(make_orchestrator(make()))
    run = house.starts(first)
    first.shutdown(drain=0, grace=0, leave=True)
    return run, make_orchestrator(make())


def test_children_end_with_a_parent_that_nobody_runs(make, make_orchestrator, house):
    """Whoever records its end ends them before, and needs no workflow for that."""
    run, other = left(make, make_orchestrator, house)
    other.get(run.id).cancel("enough")

    assert "cancelled" == other.get(run.id).wait(GUARD).status
    statuses = [it.status.value for it in family(other, run)]
    assert ["cancelled"] * 4 == statuses
    assert "running" == abandoned(other, run)


def test_a_child_in_progress_ends_with_a_parent_that_nobody_runs(make, make_orchestrator, house):
    """In the process that has taken it up."""
    run, other = left(make, make_orchestrator, house)
    there = house.known_to(make_orchestrator(make(), **RECOVERS), house.queued)
    (queued,) = [it for it in family(other, run) if it.workflow_id == "queued"]
    seen(there.get(queued.run_id), "step.started")
    other.get(run.id).cancel("enough")

    assert "cancelled" == there.get(queued.run_id).wait(GUARD).status
    assert {"cancelled"} == ended(other, run)[0]


def test_children_end_with_a_parent_that_makes_way(make, make_orchestrator, house):
    """For another run with its key."""
    first = house.known_to(make_orchestrator(make()))
    house.parent.step(lambda: None, id="keyed")
    run = None
    house._orchestrator = first
    run = first.start(house.parent, key="k")
    for _ in "abc":
        assert house.begun.acquire(timeout=GUARD)
    first.shutdown(drain=0, grace=0, leave=True)
    other = make_orchestrator(make())
    queue = other.enqueue(house.parent, key="k", on_conflict="cancel_running")

    assert "cancelled" == other.get(run.id).wait(GUARD).status
    assert ["cancelled"] * 4 == [it.status.value for it in family(other, run)]
    assert "running" == abandoned(other, run)
    queue.cancel()


def test_a_child_that_was_not_told_of_its_parents_end_ends_when_it_is_taken_up(
    make, make_orchestrator, house, monkeypatch
):
    """A process can die at any moment, also after it has recorded the end of the parent."""
    run, other = left(make, make_orchestrator, house)
    monkeypatch.setattr(remote_cancel, "_end_children", lambda *_: None)
    other.get(run.id).cancel("enough")
    before = {it.status.value for it in family(other, run)}
    there = house.known_to(make_orchestrator(make(), **RECOVERS))
    (branch,) = [it for it in family(other, run) if it.workflow_id == "branch"]
    result = there.get(branch.run_id).wait(GUARD)

    assert {"running", "pending"} == before
    assert ("cancelled", f"its parent, run {run.id!r}, had ended") == (result.status, result.reason)
    others = [it for it in family(there, run) if it.workflow_id in {"leaf", "queued"}]
    ends = [there.get(it.run_id) for it in others if it.start_at is None]
    assert ["cancelled"] * 2 == [run.wait(GUARD).status for run in ends]
    assert "running" == abandoned(there, run)


def test_a_child_that_a_person_resumes_after_its_parents_end_goes_on(make, make_orchestrator):
    """Also in the process that takes it over next."""
    begun, ends = threading.Semaphore(0), threading.Event()

    async def waits():
        begun.release()
        if not ends.is_set():
            await endless()

    child = flow_of(waits, "child", async_=True)

    async def start(ctx):
        await ctx.run(child)

    parent = flow_of(start, "parent", async_=True)
    first = make_orchestrator(make())
    first.register(child)
    run = first.start(parent)
    assert begun.acquire(timeout=GUARD)
    run.cancel("enough")
    run.wait(GUARD)
    (found,) = family(first, run)
    first.get(found.run_id).wait(GUARD)
    first.resume(found.run_id)
    assert begun.acquire(timeout=GUARD)
    first.shutdown(drain=0, grace=0, leave=True)
    ends.set()
    there = make_orchestrator(make(), **RECOVERS)
    there.register(child)

    assert "completed" == there.get(found.run_id).wait(GUARD).status


# ── Nobody knows the workflow of the child ───────────────────────────────────────────────────


def test_a_parent_waits_for_whoever_can_undo_a_child_in_progress(make, make_orchestrator, house):
    """It holds nothing while it waits, and is undone itself meanwhile."""
    fails = threading.Event()

    async def parent(ctx):
        await ctx.start("leaf")
        house.begun.release()
        if fails.is_set():
            raise LookupError("no")
        await endless()

    flow = flow_of(parent, "parent", async_=True)
    first = make_orchestrator(make())
    house.known_to(first, house.leaf, flow)
    run = first.start(flow)
    for _ in "ab":
        assert house.begun.acquire(timeout=GUARD)
    first.shutdown(drain=0, grace=0, leave=True)
    fails.set()
    second = make_orchestrator(make(), max_active_runs=1)
    second.register(flow)
    resumed = second.resume(run.id)
    seen(resumed, "run.compensating")
    (child,) = family(second, run)
    assert "between" == second.run(flow_of(lambda: "between", "between")).output
    status = resumed.status
    third = make_orchestrator(make(), **RECOVERS)
    third.register(house.leaf)

    assert ("running", "compensating") == (child.status, status)
    assert "failed" == resumed.wait(GUARD).status
    assert "cancelled" == third.get(child.run_id).wait(GUARD).status
    assert ["done", "undone"] == house.told


def test_a_completed_child_that_nobody_here_can_undo_is_named(make, make_orchestrator):
    """By the last event of its parent, and in the log."""
    done, child = [], Workflow("child")
    waits, fails = threading.Event(), threading.Event()
    child.step(lambda: None, id="done", compensate=lambda: done.append("undone"))

    async def parent(ctx):
        run = await ctx.start(child)
        await run
        waits.set()
        if fails.is_set():
            raise LookupError("no")
        await endless()

    flow = flow_of(parent, "parent", async_=True)
    first = make_orchestrator(make())
    first.register(child)
    first.register(flow)
    run = first.start(flow)
    assert waits.wait(GUARD)
    first.shutdown(drain=0, grace=0, leave=True)
    fails.set()
    second = make_orchestrator(make())
    second.register(flow)
    resumed = second.resume(run.id)

    assert "failed" == resumed.wait(GUARD).status
    (found,) = family(second, run)
    assert (found.run_id,) == tuple(list(resumed.events())[-1].data["children_left"])
    assert ("completed", []) == (found.status, done)
