"""Children that are undone with their parents, wherever either of them runs."""

from __future__ import annotations

import threading

import pytest

from actorflow import (
    DefinitionError,
    MemoryStateManager,
    Orchestrator,
    RetryPolicy,
    RunFailed,
    Workflow,
)
from actorflow.state.sql import SQLStateManager
from tests.support.flows import GUARD, seen

# Their steps are closures, which tell the test what they do.
pytestmark = pytest.mark.filterwarnings("ignore:.*a lambda or a closure:actorflow.ActorflowWarning")

STARTED = ["run.accepted", "run.started", "step.ready", "step.started", "step.completed"]


class Shop:
    """A workflow whose first step sells through children, and whose second one may fail.

    What happens is told in `told`. A name in `held` keeps the compensator of its sale waiting until
    `go` is set, and `waits` is set then.
    """

    def __init__(self):
        self.told = []
        self.broken = True
        self.held = set()
        self.waits, self.go = threading.Event(), threading.Event()
        self.sale = Workflow("sale")
        self.sale.step(self._sell, id="sell", compensate=self._take_back)
        self.counter = Workflow("counter")
        self.counter.step(self._serve, id="serve", async_=True)
        self.day = Workflow("day")
        self.day.step(self._open, id="open", async_=True, compensate=self._close)
        self.day.step(self._end, id="end", after="open", async_=True)

    def known_to(self, orchestrator):
        """Have an orchestrator know the workflows; return it."""
        for flow in (self.sale, self.counter, self.day):
            orchestrator.register(flow)
        return orchestrator

    def _sell(self, name):
        self.told.append(f"sold {name}")

    def _take_back(self, name):
        if name in self.held:
            self.waits.set()
            self.go.wait(GUARD)
            if name in self.held:
                raise LookupError("cut off")
        self.told.append(f"took back {name}")

    async def _serve(self, ctx, name):
        await ctx.run(self.sale, {"name": name})

    async def _open(self, ctx, names):
        for name in names:
            flow = self.counter if name.startswith("by counter") else self.sale
            await ctx.run(flow, {"name": name}, key=name)
        self.told.append("opened")

    def _close(self):
        self.told.append("closed")

    async def _end(self, ctx, last=None, ends="cancel"):
        if last is not None:
            await ctx.run(self.sale, {"name": last}, on_parent_end=ends)
        if self.broken:
            raise LookupError("no")


@pytest.fixture
def shop():
    """A shop; nothing in it waits after the test."""
    shop = Shop()
    yield shop
    shop.held.clear()
    shop.go.set()


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def state(request):
    """A state manager of each kind."""
    if request.param == "memory":
        yield MemoryStateManager()
    elif request.param == "sqlite":
        path = request.getfixturevalue("tmp_path") / "runs.db"
        yield SQLStateManager(f"sqlite:///{path}", create=True)
    else:
        server = request.getfixturevalue("postgresql")
        yield SQLStateManager(server.copy_of(request.getfixturevalue("postgresql_tables")))


@pytest.fixture
def orchestrator(state, make_orchestrator, shop):
    """An orchestrator with one worker and one place, which knows the shop."""
    return shop.known_to(
        make_orchestrator(state, async_workers=1, max_active_runs=1, max_queued_runs=0)
    )


def children_of(orchestrator, run):
    """Return the children of a run, the oldest first."""
    return list(reversed(orchestrator.list(parent_run_id=run.id).runs))


def statuses(orchestrator, run):
    """Return the statuses of the children of a run, the oldest first."""
    return [child.status.value for child in children_of(orchestrator, run)]


# ── The order ────────────────────────────────────────────────────────────────────────────────


def test_completed_children_are_undone_with_their_parent(orchestrator, shop):
    """In reverse: the step's own compensator, then its children, the last one first."""
    run = orchestrator.start(shop.day, {"names": ["a", "b"], "last": "c"})

    assert "failed" == run.wait(GUARD).status
    assert ["sold a", "sold b", "opened", "sold c"] == shop.told[:4]
    assert ["took back c", "closed", "took back b", "took back a"] == shop.told[4:]
    assert ["cancelled"] * 3 == statuses(orchestrator, run)
    assert ("open",) == run.wait().compensated


def test_an_undone_child_ends_twice_in_its_record(orchestrator, shop):
    """What it had completed stays there, with the reason why that counts no longer."""
    run = orchestrator.start(shop.day, {"names": ["a"]})
    run.wait(GUARD)
    (child,) = children_of(orchestrator, run)
    kinds = [event.kind.value for event in orchestrator.get(child.run_id).events()]
    result = orchestrator.get(child.run_id).wait(GUARD)

    undone = ["compensation.started", "compensation.completed", "run.cancelled"]
    assert [*STARTED, "run.completed", "run.compensating", *undone] == kinds
    assert f"its parent, run {run.id!r}, is undone" == result.reason == child.reason
    assert ("cancelled", {}, ("sell",)) == (result.status, result.outputs, result.compensated)


def test_grandchildren_are_undone_too(orchestrator, shop):
    """Although the child between has no compensators."""
    run = orchestrator.start(shop.day, {"names": ["by counter a", "b"]})
    run.wait(GUARD)

    assert ["took back b", "took back by counter a"] == shop.told[-2:]
    assert ["cancelled"] * 2 == statuses(orchestrator, run)
    family = orchestrator.list(root_run_id=run.id)
    assert 4 == family.total
    assert {"failed", "cancelled"} == {it.status.value for it in family.runs}


def test_a_cancelled_run_undoes_its_children_if_that_is_asked_for(orchestrator, shop, gate):
    """And leaves what has completed otherwise."""
    shop.day.step(lambda: gate.opened.wait(GUARD), id="hold", after="open")
    for compensate, expected in ((True, ["closed", "took back a"]), (False, [])):
        shop.told.clear()
        shop.broken = False
        run = orchestrator.start(shop.day, {"names": ["a"]})
        seen(run, "step.completed")
        run.cancel(compensate=compensate)
        run.wait(GUARD)

        assert expected == shop.told[2:]


def test_children_of_a_completed_parent_stay(orchestrator, shop):
    """There is nothing to undo."""
    shop.broken = False
    run = orchestrator.start(shop.day, {"names": ["a"], "last": "b"})

    assert "completed" == run.wait(GUARD).status
    assert ["completed"] * 2 == statuses(orchestrator, run)


def test_an_abandoned_child_stays(orchestrator, shop):
    """Its parent has nothing to say about it any more."""
    run = orchestrator.start(shop.day, {"names": ["a"], "last": "b", "ends": "abandon"})
    run.wait(GUARD)

    assert ["cancelled", "completed"] == statuses(orchestrator, run)
    assert "took back b" not in shop.told


def test_a_child_with_nothing_to_undo_stays_completed(orchestrator):
    """It has no compensators, and no children."""
    plain, parent = Workflow("plain"), Workflow("parent")
    plain.step(lambda: None, id="plain")

    @parent.step(async_=True)
    async def runs(ctx):
        await ctx.run(plain)
        raise LookupError("no")

    orchestrator.register(plain)
    run = orchestrator.start(parent)
    run.wait(GUARD)

    assert ["completed"] == statuses(orchestrator, run)
    assert "run.compensating" not in {event.kind for event in run.events()}


def test_a_compensator_that_fails_stops_nothing(orchestrator, shop):
    """The child ends as cancelled all the same, and its record says what could not be undone."""
    shop.held.add("b")
    shop.go.set()
    run = orchestrator.start(shop.day, {"names": ["a", "b"]})
    run.wait(GUARD)
    _, second = children_of(orchestrator, run)
    result = orchestrator.get(second.run_id).wait(GUARD)

    assert ["closed", "took back a"] == shop.told[-2:]
    assert ("cancelled", ()) == (result.status, result.compensated)
    assert "compensation_failed" == result.steps["sell"].status


def test_children_of_compensators_are_not_undone(orchestrator, shop):
    """They are part of undoing."""
    parent = Workflow("parent")

    async def undo(ctx):
        await ctx.run(shop.sale, {"name": "refund"})

    parent.step(lambda: None, id="done", compensate=undo, async_=True)
    parent.step(shop._end, id="fails", after="done", async_=True)
    run = orchestrator.start(parent)

    assert ("done",) == run.wait(GUARD).compensated
    assert ["completed"] == statuses(orchestrator, run)
    assert ["sold refund"] == shop.told


def test_a_resumed_parent_starts_undone_children_anew(orchestrator, shop):
    """They are cancelled, and their steps have not happened."""
    run = orchestrator.start(shop.day, {"names": ["a"]})
    run.wait(GUARD)
    shop.broken = False

    assert "completed" == orchestrator.resume(run.id, shop.day).wait(GUARD).status
    assert 2 == shop.told.count("sold a")
    assert ["cancelled", "completed"] == statuses(orchestrator, run)


def test_an_idempotency_key_still_means_the_undone_child(orchestrator, shop):
    """As it would if the child had been cancelled in the first place."""
    parent = Workflow("parent")

    @parent.step(async_=True)
    async def keyed(ctx):
        await ctx.run(shop.sale, {"name": "a"}, idempotency_key="once")
        raise LookupError("no")

    run = orchestrator.start(parent)
    run.wait(GUARD)
    (child,) = children_of(orchestrator, run)

    again = orchestrator.start(shop.sale, {"name": "a"}, idempotency_key="once")
    assert (child.run_id, "cancelled") == (again.id, again.wait(GUARD).status)


# ── Where they run ───────────────────────────────────────────────────────────────────────────


def test_undoing_goes_on_elsewhere(make, shop, make_orchestrator):
    """The process is shut down while a child is being undone; nothing is undone twice."""
    shop.held.add("b")
    first = shop.known_to(make_orchestrator(make()))
    run = first.start(shop.day, {"names": ["a", "b", "c"]})
    assert shop.waits.wait(GUARD)
    report = first.shutdown(drain=0, grace=0)
    shop.held.clear()
    other = shop.known_to(make_orchestrator(make(), recover=True, recover_every=0.01))

    assert {run.id} < set(report.left)
    assert "failed" == other.get(run.id).wait(GUARD).status
    assert ["closed", "took back c", "took back b", "took back a"] == shop.told[4:]
    assert ["cancelled"] * 3 == statuses(other, run)


def test_a_person_who_resumes_an_undone_parent_has_it_go_on(make, shop, make_orchestrator):
    """Without recover=True, its children are taken up by it."""
    shop.held.add("b")
    first = shop.known_to(make_orchestrator(make()))
    run = first.start(shop.day, {"names": ["a", "b"]})
    assert shop.waits.wait(GUARD)
    first.shutdown(drain=0, grace=0)
    shop.held.clear()
    other = shop.known_to(make_orchestrator(make()))

    assert "failed" == other.resume(run.id).wait(GUARD).status
    assert ["closed", "took back b", "took back a"] == shop.told[3:]


def test_a_child_that_ran_elsewhere_is_undone(make, shop, make_orchestrator):
    """By the process of its parent, which has not run it."""
    hold = threading.Event()
    parent = Workflow("parent")

    @parent.step(async_=True)
    async def waits(ctx):
        child = await ctx.start(shop.sale, {"name": "a"}, delay=0.001)
        hold.set()
        await child.wait_async()
        raise LookupError("no")

    here = shop.known_to(make_orchestrator(make()))
    elsewhere = shop.known_to(make_orchestrator(make(), recover=True, recover_every=0.01))
    here.register(parent)
    run = here.start(parent)
    run.wait(GUARD)

    assert ["sold a", "took back a"] == shop.told
    assert ["cancelled"] == statuses(elsewhere, run)


# ── What waits for them ──────────────────────────────────────────────────────────────────────


def test_who_asks_for_the_child_while_it_is_undone_waits(orchestrator, shop):
    """A new handle follows the record, which is that of a run in progress again."""
    shop.held.add("a")
    run = orchestrator.start(shop.day, {"names": ["a"]})
    assert shop.waits.wait(GUARD)
    (child,) = children_of(orchestrator, run)
    handle = orchestrator.get(child.run_id)

    assert ("compensating", None) == (handle.status, handle.snapshot().finished_at)
    assert "compensating" == run.status
    shop.held.clear()
    shop.go.set()
    assert "cancelled" == handle.wait(GUARD).status
    assert "run.cancelled" == list(handle.events())[-1].kind
    run.wait(GUARD)


# ── Workflows made at run time ───────────────────────────────────────────────────────────────


def test_a_workflow_made_at_run_time_is_refused_on_a_database(make, make_orchestrator):
    """Before anything of it runs; nobody else could go on with it."""
    ran, parent = [], Workflow("parent")

    @parent.step(async_=True)
    async def makes(ctx):
        made = Workflow("made")
        made.step(lambda: ran.append(1), id="step")
        await ctx.run(made)

    orchestrator = make_orchestrator(make())
    with pytest.raises(RunFailed) as caught:
        orchestrator.run(parent)

    error = caught.value.result.error
    assert isinstance(error, DefinitionError)
    assert "'made'" in str(error)
    assert "orchestrator.register()" in str(error)
    assert ([], 1) == (ran, orchestrator.list().total)


def test_another_definition_than_the_registered_one_is_refused_too(make, make_orchestrator):
    """Whoever took the child over would run the registered one."""
    parent, registered = Workflow("parent"), Workflow("made")
    registered.step(lambda: None, id="step")

    @parent.step
    def makes(ctx):
        made = Workflow("made")
        made.step(lambda: None, id="another")
        ctx.run(made)

    orchestrator = make_orchestrator(make())
    orchestrator.register(registered)
    with pytest.raises(RunFailed, match="differs from the registered one"):
        orchestrator.run(parent)


def test_a_workflow_made_at_run_time_runs_in_memory():
    """Its run does not outlive the process that knows it; it is undone as any other."""
    undone, parent = [], Workflow("parent")

    @parent.step(retry=RetryPolicy(max_attempts=1))
    def makes(ctx):
        made = Workflow("made")
        made.step(lambda: None, id="step", compensate=lambda: undone.append(1))
        ctx.run(made)
        raise LookupError("no")

    with Orchestrator() as orchestrator:
        orchestrator.start(parent).wait(GUARD)

    assert [1] == undone
