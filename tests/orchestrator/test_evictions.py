"""Runs that wait for messages leave memory, and cost a row until there is news for them."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import pytest

from actorflow import (
    DefinitionError,
    MemoryStateManager,
    Orchestrator,
    OrchestratorClosed,
    RetryPolicy,
    RunStatus,
    RunTimeout,
    as_completed,
    wait_first,
)
from actorflow.state.sql import SQLStateManager
from tests.support.flows import GUARD, flow_of, in_thread

SOON = {"recover": True, "recover_every": 0.02, "evict_after": 0.02}
"""What an orchestrator is told that evicts runs at once, and looks for runs very often."""

# The steps of some tests are closures, which tell the test what they do.
pytestmark = pytest.mark.filterwarnings("ignore:.*a lambda or a closure:actorflow.ActorflowWarning")


async def receive(ctx):
    """Wait for one message."""
    return await ctx.wait_for("go")


RECEIVE = flow_of(receive, "receive", async_=True)


def until(condition):
    """Return as soon as something is so."""
    while not condition():
        threading.Event().wait(0.002)


def evicted(run):
    """Wait until a run is evicted; return how it stands then, or None if it has ended."""
    while not (found := run.snapshot()).status.terminal:
        if found.waiting is not None:
            return found
        threading.Event().wait(0.002)
    return None


def evicted_in_time(start):
    """Start runs with ever longer timeouts until one is evicted before its deadline.

    Return it, and how it stands.
    """
    seconds = 0.25
    while True:
        run = start(seconds)
        found = evicted(run)
        if found is not None and found.waiting_since < found.deadline_at:
            return run, found
        seconds *= 2


@pytest.fixture
def opened(make, make_orchestrator):
    """A function that opens orchestrators with one database, in which flows are registered."""

    def open_one(*flows, **options):
        orchestrator = make_orchestrator(make(), **{**SOON, **options})
        for flow in flows or (RECEIVE,):
            orchestrator.register(flow)
        return orchestrator

    return open_one


# ── Out of memory and back ───────────────────────────────────────────────────────────────────


def test_a_run_that_waits_leaves_memory(opened):
    """It stays `running`, has no owner, and says what it waits for."""
    orchestrator = opened()
    run = orchestrator.start(RECEIVE)
    found = evicted(run)

    assert (RunStatus.RUNNING, "message 'go'", None) == (found.status, found.waiting, found.owner)
    assert found.waiting_since >= found.started_at
    assert [run.id] == [it.run_id for it in orchestrator.list(waiting=True).runs]
    assert 0 == orchestrator.list(waiting=False).total
    until(lambda: not orchestrator._life.live)
    assert not run.done
    assert 0 == len(orchestrator._life._runtime._brain.runs)
    run.send("go", 1)
    assert 1 == run.result(GUARD).output
    assert None is run.snapshot().waiting


def test_a_body_begins_again_as_the_same_attempt(opened):
    """Its waits return what they returned before, and the record has each once."""
    attempts = []

    async def twice(ctx):
        attempts.append(ctx.attempt)
        return [await ctx.wait_for("go"), await ctx.wait_for("go")]

    flow = flow_of(twice, async_=True)
    run = opened(flow).start(flow)
    for number in (1, 2):
        evicted(run)
        run.send("go", number)
        until(lambda number=number: len(attempts) > number)
    result = run.result(GUARD)

    assert [1, 2] == result.output
    assert [1, 1, 1] == attempts
    assert 1 == result.steps["step"].attempts
    received = [it.data["message"] for it in run.events() if it.kind == "step.received"]
    assert [1, 2] == received
    assert list(range(1, 1 + len(list(run.events())))) == [it.number for it in run.events()]


def test_any_orchestrator_takes_an_evicted_run_up(opened):
    """Here the first one is gone."""
    first, second = opened(), opened()
    run = first.start(RECEIVE)
    evicted(run)
    first.shutdown(drain=0, grace=1)
    again = second.get(run.id)
    again.send("go", 1)

    assert 1 == again.result(GUARD).output


def test_a_message_from_outside_wakes_a_run(opened, make):
    """It is sent by a process without an orchestrator, as by the command line."""
    run = opened().start(RECEIVE)
    evicted(run)
    make().send_message(run.id, "go", 1, None, 0.0)

    assert 1 == run.result(GUARD).output


def test_a_message_that_nothing_waits_for_is_kept(opened):
    """The run is evicted again."""
    orchestrator = opened(flow_of(receive, async_=True))
    run = orchestrator.start("flow")
    evicted(run)
    run.send("other", 1)
    until(lambda: any(it.kind == "run.resumed" for it in recorded(orchestrator, run)))
    evicted(run)
    run.send("go", 2)

    assert 2 == run.result(GUARD).output


def recorded(orchestrator, run):
    """What is recorded of a run."""
    return orchestrator._life._powers.state.events(run.id)


def test_a_wait_may_keep_its_frame(opened):
    """With `evict=False`."""
    began = []

    async def stays(ctx):
        began.append(ctx.attempt)
        return await ctx.wait_for("go", evict=False)

    flow, other = flow_of(stays, "stays", async_=True), RECEIVE
    orchestrator = opened(flow, other)
    run, gone = orchestrator.start(flow), orchestrator.start(other)
    evicted(gone)
    assert None is run.snapshot().waiting
    run.send("go", 1)

    assert 1 == run.result(GUARD).output
    assert [1] == began


def test_a_run_that_waits_for_a_child_as_well_stays(opened):
    """And goes when the child has ended."""
    child = flow_of(receive, "child", async_=True)

    async def both(ctx):
        waits = ctx.run(child), ctx.wait_for("go")
        result, message = await asyncio.gather(*waits)
        return [result.output, message]

    parent = flow_of(both, "parent", async_=True)
    orchestrator = opened(parent, child)
    run = orchestrator.start(parent)
    until(lambda: orchestrator.list(workflow_id="child", waiting=True).runs)
    [below] = orchestrator.list(workflow_id="child").runs
    assert None is run.snapshot().waiting
    orchestrator.get(below.run_id).send("go", 1)
    evicted(run)
    run.send("go", 2)

    assert [1, 2] == run.result(GUARD).output


# ── Time ─────────────────────────────────────────────────────────────────────────────────────


def test_a_wait_expires_without_memory(opened):
    """The body begins again for that."""

    async def patient(ctx):
        try:
            return await ctx.wait_for("go", timeout=0.3)
        except TimeoutError as error:
            return str(error)

    flow = flow_of(patient, async_=True)
    run = opened(flow).start(flow)

    assert "got no message 'go' within 0.3 s" in run.result(GUARD).output


def test_the_timeout_of_a_run_goes_on_without_memory(opened):
    """It is not begun anew when the run is taken up."""
    orchestrator = opened()
    run, _ = evicted_in_time(lambda it: orchestrator.start(RECEIVE, timeout=it))

    with pytest.raises(RunTimeout):
        run.result(GUARD)


def test_the_timeout_of_a_run_is_not_begun_anew(opened):
    """It ends at the moment at which it would have ended, not a timeout after it went on."""
    orchestrator = opened()
    run = orchestrator.start(RECEIVE, timeout=1000.0)
    before = evicted(run).deadline_at
    run.send("other")
    until(lambda: any(it.kind == "run.resumed" for it in recorded(orchestrator, run)))
    after = evicted(run).deadline_at

    assert before == pytest.approx(after, abs=0.01)
    run.cancel()


def test_a_person_who_resumes_gives_the_run_its_time_again(opened):
    """That of the evicted run does not count any more."""
    orchestrator = opened()
    run, found = evicted_in_time(lambda it: orchestrator.start(RECEIVE, timeout=it))
    assert RunStatus.FAILED is run.wait(GUARD).status
    ended = orchestrator.resume(run.id).wait(GUARD).finished_at
    resumed = [it for it in recorded(orchestrator, run) if it.kind == "run.resumed"]
    by_person = next(it.time for it in resumed if "taken_over" not in it.data)

    assert ended - by_person > found.timeout - 0.01


# ── Those who wait for it ────────────────────────────────────────────────────────────────────


def test_those_who_wait_for_a_run_wait_on(opened):
    """By whatever call they began to, before it was evicted."""
    orchestrator = opened()
    run, other = orchestrator.start(RECEIVE), orchestrator.start(RECEIVE)
    calls = [
        run.wait,
        lambda: run.wait(GUARD),
        lambda: asyncio.run(run.wait_async()),
        lambda: [event.kind for event in run.events()][-1],
        lambda: wait_first([run, other]).id,
        lambda: next(iter(as_completed([other, run]))).id,
    ]
    waits = [in_thread(call) for call in calls]
    evicted(run)
    evicted(other)
    assert not any(wait.done() for wait in waits)
    run.send("go", 1)
    results = [wait.result(GUARD) for wait in waits]

    assert [1, 1, 1] == [result.output for result in results[:3]]
    assert ["run.completed", run.id, run.id] == results[3:]
    other.cancel()


def test_a_wait_may_time_out_across_an_eviction(opened):
    """With what is left of its time."""
    run = opened().start(RECEIVE)
    waiting = in_thread(lambda: run.wait(0.2))
    evicted(run)

    with pytest.raises(TimeoutError, match="has not ended within"):
        waiting.result(GUARD)
    run.cancel()


def test_those_who_wait_are_told_of_the_end_of_the_orchestrator(opened):
    """The run itself is not touched by it."""
    orchestrator = opened()
    run = orchestrator.start(RECEIVE)
    waiting = in_thread(run.wait)
    evicted(run)
    report = orchestrator.shutdown(drain=0, grace=1)

    with pytest.raises(OrchestratorClosed):
        waiting.result(GUARD)
    assert ((), ()) == (report.left, report.cancelled)


@pytest.mark.parametrize("compensate", [False, True])
def test_an_evicted_run_may_be_cancelled(opened, compensate):
    """Also with compensation, for which it is taken up."""
    run = opened().start(RECEIVE)
    evicted(run)
    run.cancel("no more", compensate=compensate)
    result = run.wait(GUARD)

    assert (RunStatus.CANCELLED, "no more") == (result.status, result.reason)


def test_a_run_that_is_being_cancelled_is_not_taken_up(opened):
    """A search waits until the one who cancels it has handed it back."""
    orchestrator = opened()
    run = orchestrator.start(RECEIVE)
    evicted(run)
    until(lambda: run.id not in orchestrator._life.live)
    state = orchestrator._life._powers.state
    asked, taken, hand_back = threading.Event(), [], state.hand_back
    take = state.take

    def slow(run_id, parked=None):
        asked.wait(0.3)  # long enough for several searches
        hand_back(run_id, parked)

    def noted(*wanted):
        found = take(*wanted)
        if found.taken:
            taken.append(asked.is_set())
        return found

    state.hand_back, state.take = slow, noted
    try:
        in_thread(lambda: run.cancel("no more", compensate=True)).result(GUARD)
        asked.set()
        result = run.wait(GUARD)
    finally:
        del state.hand_back, state.take

    assert (RunStatus.CANCELLED, "no more") == (result.status, result.reason)
    assert taken
    assert all(taken)


# ── Many ─────────────────────────────────────────────────────────────────────────────────────


class Large:
    """What only the frame of a body holds."""


@pytest.mark.parametrize("many", [100, pytest.param(2_000, marks=pytest.mark.slow)])
def test_waiting_runs_hold_no_memory(tmp_path, make_orchestrator, many):
    """Neither their frames nor anything that actorflow made for them."""
    frames = weakref.WeakSet()

    async def holds(ctx):
        mine = Large()
        frames.add(mine)
        await ctx.wait_for("go")
        return ctx.run_id

    flow = flow_of(holds, async_=True)
    url = f"sqlite:///{tmp_path}/runs.db"
    state = SQLStateManager(url, create=True, synchronous="NORMAL")
    orchestrator = make_orchestrator(state, max_active_runs=3, **SOON)
    orchestrator.register(flow)
    ids = [orchestrator.start(flow).id for _ in range(many)]
    until(lambda: many == orchestrator.list(waiting=True, limit=1).total)
    until(lambda: not orchestrator._life.live)
    runtime = orchestrator._life._runtime
    gc.collect()

    assert 0 == len(frames)
    assert {} == runtime._brain.runs == runtime.mail._known == runtime.mail._asked
    assert 0 == len(runtime._brain.deadlines) == len(runtime.waits._waits)
    chosen = [orchestrator.get(run_id) for run_id in ids[:: many // 4]]
    for run in chosen:
        run.send("go")
    assert [run.id for run in chosen] == [run.result(GUARD).output for run in chosen]


def test_runs_that_wait_leave_room_for_enqueued_ones(make, make_orchestrator):
    """Even those that are not evicted: three of them do not fill a daemon of three."""
    orchestrator = make_orchestrator(
        make(), max_active_runs=3, recover=True, recover_every=0.02, evict_after=None
    )
    orchestrator.register(RECEIVE)
    waiting = [orchestrator.start(RECEIVE) for _ in range(3)]
    until(lambda: 3 == orchestrator._life._runtime.idle)
    late = orchestrator.enqueue(RECEIVE)
    late.send("go", 1)

    assert 1 == late.result(GUARD).output
    for run in waiting:
        run.cancel()


# ── Where it does not happen ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("options", [{"recover": False}, {"evict_after": None}])
def test_a_run_stays_where_nothing_would_take_it_up(make, make_orchestrator, options):
    """Or where that is not wanted."""
    told = {"recover": True, "evict_after": 0.02, **options}
    orchestrator = make_orchestrator(make(), **told)

    assert None is orchestrator._life._runtime._brain._mail.evict_after


def test_memory_evicts_nothing(make_orchestrator):
    """It is where the runs are."""
    orchestrator = make_orchestrator(MemoryStateManager(), evict_after=0.02)

    assert None is orchestrator._life._runtime._brain._mail.evict_after


@pytest.mark.parametrize("value", [0, -1.0, "soon", True])
def test_a_time_that_makes_no_sense_is_refused(value):
    """When the orchestrator is made."""
    with pytest.raises(DefinitionError, match="evict_after"):
        Orchestrator(evict_after=value)


def test_a_failure_after_an_eviction_counts_once(opened):
    """The attempt that began again is the same one."""
    seen = []

    async def fails(ctx):
        seen.append((ctx.attempt, await ctx.wait_for("go")))
        raise LookupError(ctx.attempt)

    again = RetryPolicy(max_attempts=2, initial_interval=0.0, jitter=0.0)
    flow = flow_of(fails, async_=True, retry=again)
    run = opened(flow).start(flow)
    evicted(run)
    run.send("go", 1)
    result = run.wait(GUARD)

    assert [(1, 1), (2, 1)] == seen
    assert (RunStatus.FAILED, 2) == (result.status, result.steps["step"].attempts)
