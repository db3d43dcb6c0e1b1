"""Runs that wait for messages and are evicted while they are paused, cancelled, or have parents."""

from __future__ import annotations

import asyncio
import time

import pytest

from actorflow import RunStatus, RunTimeout, Workflow, as_completed, wait_first
from actorflow.model.messages import CancelRun
from tests.orchestrator.test_evictions import (
    RECEIVE,
    SOON,
    evicted,
    evicted_in_time,
    receive,
    recorded,
    until,
)
from tests.support.flows import GUARD, flow_of, in_thread

# The steps of some tests are closures, which tell the test what they do.
pytestmark = pytest.mark.filterwarnings("ignore:.*a lambda or a closure:actorflow.ActorflowWarning")

CHILD = flow_of(receive, "child", async_=True)


@pytest.fixture
def opened(make, make_orchestrator):
    """A function that opens orchestrators with one database, in which flows are registered."""

    def open_one(*flows, **options):
        orchestrator = make_orchestrator(make(), **{**SOON, **options})
        for flow in flows or (RECEIVE,):
            orchestrator.register(flow)
        return orchestrator

    return open_one


def gone(orchestrator, run):
    """Wait until a run is evicted, and out of this orchestrator's memory."""
    evicted(run)
    until(lambda: run.id not in orchestrator._life.live)


def child_of(orchestrator):
    """Wait until the only child is evicted, and return it."""
    until(lambda: orchestrator.list(workflow_id="child", waiting=True).runs)
    [found] = orchestrator.list(workflow_id="child").runs
    return orchestrator.get(found.run_id)


# ── Pauses ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("freeze", [False, True])
def test_an_evicted_run_is_paused(opened, freeze):
    """A message does not wake it before the end of the pause, which another process asks for."""
    orchestrator, other = opened(), opened()
    run = orchestrator.start(RECEIVE)
    evicted(run)
    before = len(recorded(orchestrator, run))
    run.pause(freeze=freeze)
    assert [run.id] == [it.run_id for it in other.list(waiting=True, paused=True).runs]
    run.send("go", 1)
    assert [run.id] == [it.run_id for it in other.list(waiting=False, paused=True).runs]
    assert before == len(recorded(orchestrator, run))
    other.get(run.id).unpause()

    assert 1 == run.result(GUARD).output
    assert 0 == other.list(paused=True).total


def test_an_evicted_run_is_resumed_within_its_pause(opened):
    """It is in memory then, and still paused."""
    orchestrator = opened()
    run = orchestrator.start(RECEIVE)
    evicted(run)
    run.pause()
    again = orchestrator.resume(run.id)
    again.send("go", 1)
    until(lambda: any(it.kind == "run.paused" for it in recorded(orchestrator, run)))
    assert not again.done
    again.unpause()

    assert 1 == run.result(GUARD).output


@pytest.mark.parametrize("compensate", [False, True])
def test_an_evicted_run_is_cancelled_within_its_pause(opened, compensate):
    """Neither its wait nor its pause is left."""
    orchestrator = opened()
    run = orchestrator.start(RECEIVE)
    evicted(run)
    run.pause()
    run.cancel("enough", compensate=compensate)

    assert (RunStatus.CANCELLED, "enough") == ((ended := run.wait(GUARD)).status, ended.reason)
    assert 0 == orchestrator.list(paused=True).total == orchestrator.list(waiting=True).total


def test_the_clock_of_an_evicted_run_stands_still(opened):
    """Its deadline is later by the length of the pause, and so it is after the next eviction."""
    orchestrator = opened()
    run = orchestrator.start(RECEIVE, timeout=1000.0)
    before = evicted(run).deadline_at
    run.pause(freeze=True)
    end = time.monotonic() + 0.1
    until(lambda: time.monotonic() > end)
    run.unpause()
    moved = run.snapshot().deadline_at
    run.send("other")
    until(lambda: any(it.kind == "run.resumed" for it in recorded(orchestrator, run)))

    assert moved - before > 0.09
    assert moved == pytest.approx(evicted(run).deadline_at, abs=0.01)
    run.cancel()


def test_the_timeout_of_an_evicted_run_passes_within_its_pause(opened):
    """As that of a run in memory does, if the pause does not freeze."""
    orchestrator = opened()
    run, _ = evicted_in_time(lambda it: orchestrator.start(RECEIVE, timeout=it))
    run.pause()

    with pytest.raises(RunTimeout):
        run.result(GUARD)


# ── Cancellations that meet an eviction ──────────────────────────────────────────────────────


@pytest.mark.parametrize("compensate", [False, True])
def test_a_cancellation_that_meets_an_eviction_is_not_lost(opened, compensate, monkeypatch):
    """The run is evicted after it was in progress for `cancel`, and before that is heard."""
    orchestrator = opened()
    runtime = orchestrator._life._runtime
    run = orchestrator.start(RECEIVE)
    tell = runtime._tell

    def tell_late(message):
        if isinstance(message, CancelRun):
            gone(orchestrator, run)
            runtime._tell = tell
        tell(message)

    with monkeypatch.context() as patch:
        patch.setattr(runtime, "_tell", tell_late)
        run.cancel("enough", compensate=compensate)

    assert (RunStatus.CANCELLED, "enough") == ((ended := run.wait(GUARD)).status, ended.reason)


def test_what_is_asked_by_the_record_is_left_to_the_record(opened, monkeypatch):
    """A run that another orchestrator has taken over is not cancelled in its hands."""
    orchestrator = opened()
    runtime = orchestrator._life._runtime
    run = orchestrator.start(RECEIVE)
    gone(orchestrator, run)
    works = []
    monkeypatch.setattr(runtime, "_work", works.append)
    message = CancelRun(run.id, "it was taken over", None, kept=True)
    runtime.unknown(run.id, message)

    assert [] == works
    run.cancel()


def test_run_async_cancels_an_evicted_run(opened):
    """As `run` does when it is interrupted; it waits for the run's end."""
    orchestrator = opened()

    def is_gone():
        return orchestrator.list(waiting=True).runs and not orchestrator._life.live

    async def interrupted():
        running = asyncio.create_task(orchestrator.run_async(RECEIVE))
        await asyncio.to_thread(until, is_gone)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return orchestrator.list().runs

    [found] = asyncio.run(interrupted())
    assert (RunStatus.CANCELLED, "the caller was cancelled") == (found.status, found.reason)


# ── Families ─────────────────────────────────────────────────────────────────────────────────


async def awaits(ctx):
    """Return what a child returns."""
    return (await ctx.run(CHILD)).output


async def starts(ctx):
    """Start a child, and wait for messages before and after its end."""
    child = await ctx.start(CHILD)
    return [await ctx.wait_for("go"), (await child).output, await ctx.wait_for("go")]


AWAITS = flow_of(awaits, "awaits", async_=True)
STARTS = flow_of(starts, "starts", async_=True)


@pytest.mark.parametrize("first", ["parent", "child"])
def test_a_parent_and_its_child_are_paused(opened, first):
    """The parent goes on when both pauses are over."""
    orchestrator = opened(AWAITS, CHILD)
    run = orchestrator.start(AWAITS)
    below = child_of(orchestrator)
    order = [run, below] if first == "parent" else [below, run]
    for one in order:
        one.pause()
    below.send("go", 1)
    order[0].unpause()
    assert not run.done
    order[1].unpause()

    assert 1 == run.result(GUARD).output


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("compensate", [False, True])
@pytest.mark.parametrize("flow", [AWAITS, STARTS], ids=lambda it: it.id)
def test_a_child_is_cancelled_with_its_parent(opened, flow, compensate, paused):
    """Also if one of them or both are evicted and paused."""
    orchestrator = opened(flow, CHILD)
    run = orchestrator.start(flow)
    below = child_of(orchestrator)
    if flow is STARTS:
        evicted(run)
    if paused:
        below.pause()
        run.pause()
    run.cancel("enough", compensate=compensate)

    assert [RunStatus.CANCELLED] * 2 == [it.wait(GUARD).status for it in (run, below)]


def test_an_evicted_parent_finds_its_child(opened):
    """There is one, whichever of the two is in memory; nothing is known of them afterwards."""
    orchestrator, other = opened(STARTS, CHILD), opened(STARTS, CHILD)
    run = orchestrator.start(STARTS)
    below = child_of(orchestrator)
    evicted(run)
    below.pause()
    orchestrator.shutdown(drain=0, grace=1)
    run, below = other.get(run.id), other.get(below.id)
    run.send("go", 1)
    until(lambda: run.snapshot().waiting is None)
    below.send("go", 2)
    below.unpause()
    evicted(run)
    run.send("go", 3)

    assert [1, 2, 3] == run.result(GUARD).output
    assert 1 == other.list(workflow_id="child").total
    family = other._life._runtime.family
    assert {} == family._taken == family._children == family._plans


def test_children_are_undone_that_were_evicted(opened):
    """One has completed; another one is paused, and is cancelled."""
    undone = []
    child = Workflow("child")
    child.step(receive, compensate=lambda ctx: undone.append(ctx.run_id))

    async def above(ctx):
        await ctx.run(child)
        await ctx.start(child)
        await ctx.wait_for("go")
        raise LookupError

    parent = flow_of(above, "parent", async_=True)
    orchestrator = opened(parent, child)
    run = orchestrator.start(parent)
    one = child_of(orchestrator)
    one.send("go", 1)
    one.result(GUARD)
    evicted(run)
    until(lambda: orchestrator.list(workflow_id="child", waiting=True).runs)
    two = orchestrator.get(orchestrator.list(workflow_id="child", waiting=True).runs[0].run_id)
    two.pause()
    run.send("go", 2)

    assert RunStatus.FAILED is run.wait(GUARD).status
    assert RunStatus.CANCELLED is two.wait(GUARD).status
    assert [one.id] == undone


# ── Keys and waiters ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("on_conflict", ["cancel_running", "queue"])
def test_an_evicted_run_keeps_its_key(opened, on_conflict, paused):
    """Until it ends, by itself or because the next one asks for that."""
    orchestrator = opened()
    run = orchestrator.start(RECEIVE, key="one")
    evicted(run)
    if paused:
        run.pause()
    later = orchestrator.start(RECEIVE, key="one", on_conflict=on_conflict)
    if on_conflict == "queue":
        assert RunStatus.PENDING is later.status
        run.send("go", 1)
        run.unpause()
    ended = RunStatus.COMPLETED if on_conflict == "queue" else RunStatus.CANCELLED
    assert ended is run.wait(GUARD).status
    later.send("go", 2)

    assert 2 == later.result(GUARD).output


def test_those_who_wait_for_paused_runs_wait_on(opened):
    """Although these are in no memory."""
    orchestrator = opened()
    run, other = orchestrator.start(RECEIVE), orchestrator.start(RECEIVE)
    for one in (run, other):
        evicted(one)
        one.pause()
    calls = [
        lambda: [event.kind for event in run.events()][-1],
        lambda: wait_first([run, other]).id,
        lambda: next(iter(as_completed([other, run]))).id,
    ]
    waits = [in_thread(call) for call in calls]
    run.send("go", 1)
    assert not any(wait.done() for wait in waits)
    run.unpause()

    assert ["run.completed", run.id, run.id] == [wait.result(GUARD) for wait in waits]
    other.cancel()


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("options", [{}, {"evict_after": None}], ids=["evicted", "in memory"])
def test_a_run_that_waits_is_left(opened, options, paused):
    """Its pause and its messages come with it."""
    first = opened(**options)
    run = first.start(RECEIVE)
    until(lambda: any(it.kind == "step.awaiting" for it in recorded(first, run)))
    if not options:
        evicted(run)
    if paused:
        run.pause()
    first.shutdown(drain=0, grace=1, leave=True)
    again = opened().get(run.id)
    again.send("go", 1)
    if paused:
        assert again.snapshot().paused is not None
        again.unpause()

    assert 1 == again.result(GUARD).output
