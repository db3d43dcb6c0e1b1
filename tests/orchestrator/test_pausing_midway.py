"""Runs are paused at bad moments: in a backoff, while undone, while daemons come and go."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import threading

import pytest

from actorflow import MemoryStateManager, Orchestrator, RetryPolicy, RunStatus, Workflow
from actorflow.errors.running import RunEnded
from actorflow.model.pausing import Pause
from actorflow.state.sql import SQLStateManager
from tests.support.flows import GUARD

# Their steps are closures, which tell the test what they do.
pytestmark = pytest.mark.filterwarnings("ignore:.*a lambda or a closure:actorflow.ActorflowWarning")

AGAIN = RetryPolicy(max_attempts=2, initial_interval=0.01, jitter=0.0)


@pytest.fixture(params=["memory", "database"])
def state(request, tmp_path):
    """A state manager that the test shares with the orchestrator."""
    if request.param == "memory":
        yield MemoryStateManager()
        return
    durable = SQLStateManager(f"sqlite:///{tmp_path}/here.db", create=True)
    yield durable
    durable.close()


def until(run, kind, step_id=None, after=0):
    """Follow a run until an event of a kind, after the event with a number; return that."""
    return next(
        event
        for event in run.events(timeout=GUARD)
        if event.number > after and event.kind == kind and step_id in {None, event.step_id}
    )


def told(state, run_id):
    """What has happened to a run and its steps."""
    return [
        event.kind.value + ("" if event.step_id is None else f" {event.step_id}")
        for event in state.events(run_id)
    ]


def in_order(state, run_id):
    """Whether a run's pauses begin and end by turns, and nothing starts in one."""
    paused = False
    for kind in told(state, run_id):
        if kind in {"run.paused", "run.unpaused"}:
            if paused is (kind == "run.paused"):
                return False
            paused = not paused
        elif paused and kind.split(" ")[0] in {"step.started", "step.continued"}:
            return False
    return not paused


# ── In the middle of something ───────────────────────────────────────────────────────────────


def test_a_run_is_paused_in_a_backoff(state, make_orchestrator, gate):
    """The next attempt waits for the end of the pause."""
    flow, tries = Workflow("flow"), []

    @flow.step(retry=AGAIN)
    def first():
        tries.append(1)
        if len(tries) == 1:
            gate.opened.wait(GUARD)
            raise ValueError("once")

    run = make_orchestrator(state).start(flow)
    until(run, "step.started")
    run.pause()
    paused = until(run, "run.paused")
    gate.open()
    until(run, "step.ready", after=paused.number)

    assert "step.ready first" == told(state, run.id)[-1]
    run.unpause()
    assert RunStatus.COMPLETED is run.wait(GUARD).status
    assert in_order(state, run.id)


def test_a_run_is_paused_while_it_is_undone(state, make_orchestrator, gate):
    """The compensator in flight ends, and the next one begins after the pause."""
    flow, undone = Workflow("flow"), []

    def undo(name):
        undone.append(name)
        gate.opened.wait(GUARD)

    flow.step(lambda: None, id="a", compensate=lambda: undo("a"))
    flow.step(lambda: None, id="b", after="a", compensate=lambda: undo("b"))

    @flow.step(after="b")
    def c():
        raise ValueError("no")

    run = make_orchestrator(state).start(flow)
    until(run, "compensation.started", "b")
    run.pause()
    until(run, "run.paused")
    gate.open()
    until(run, "compensation.completed", "b")

    assert (["b"], RunStatus.COMPENSATING) == (undone, run.status)
    run.unpause()
    assert (RunStatus.FAILED, ["b", "a"]) == (run.wait(GUARD).status, undone)
    assert in_order(state, run.id)


def test_a_run_is_paused_while_its_child_runs(state, make_orchestrator, gate):
    """The child is not, ends, and is heard of after the pause; meanwhile others have the place."""
    parent, other = Workflow("parent"), Workflow("other")
    other.step(lambda: "other", id="only")

    @parent.step(async_=True)
    async def asks(ctx):
        return (await ctx.run(gate.flow)).status.value

    orchestrator = make_orchestrator(state, max_active_runs=1)
    orchestrator.register(gate.flow)
    run = orchestrator.start(parent)
    until(run, "step.suspended")
    run.pause()
    until(run, "run.paused")
    gate.open()
    child = orchestrator.get(orchestrator.list(parent_run_id=run.id).runs[0].run_id)

    assert RunStatus.COMPLETED is child.wait(GUARD).status
    assert "other" == orchestrator.run(other).output
    assert "step.continued asks" not in told(state, run.id)
    run.unpause()
    assert "completed" == run.result(GUARD).output
    assert in_order(state, run.id)


def test_a_run_is_paused_while_its_child_is_undone(make_orchestrator, gate):
    """The child needs the only place, also when the pause is over."""
    sale, day, undone, begun = Workflow("sale"), Workflow("day"), [], threading.Event()

    def take_back():
        undone.append("begun")
        begun.set()
        gate.opened.wait(GUARD)
        undone.append("ended")

    sale.step(lambda: None, id="sell", compensate=take_back)

    @day.step(async_=True, compensate=lambda: undone.append("closed"))
    async def serve(ctx):
        await ctx.run(sale)

    @day.step(after="serve")
    def end():
        raise ValueError("no")

    state = MemoryStateManager()
    orchestrator = make_orchestrator(state, max_active_runs=1)
    orchestrator.register(sale)
    run = orchestrator.start(day)
    assert begun.wait(GUARD)
    run.pause()
    until(run, "run.paused")
    run.unpause()
    until(run, "run.unpaused")
    gate.open()

    assert RunStatus.FAILED is run.wait(GUARD).status
    assert ["closed", "begun", "ended"] == undone


def test_a_run_is_paused_while_steps_wait_for_workers(state, make_orchestrator, gate):
    """They are withdrawn from the queue, where they would keep a place before others."""
    flow, order = Workflow("flow"), []

    async def held():
        await asyncio.to_thread(gate.opened.wait, GUARD)

    flow.step(held, id="held", async_=True)
    for name in ("b", "c"):

        async def follows(name=name):
            order.append(name)

        flow.step(follows, id=name, async_=True, priority=-1)
    another = Workflow("another")

    @another.step(async_=True)
    async def only():
        order.append("only")

    orchestrator = make_orchestrator(state, async_workers=1)
    run = orchestrator.start(flow)
    until(run, "step.started", "held")
    rival = orchestrator.start(another)
    until(rival, "step.ready")
    run.pause()
    until(run, "run.paused")
    gate.open()

    assert RunStatus.COMPLETED is rival.wait(GUARD).status
    assert ["only"] == order
    run.unpause()
    assert RunStatus.COMPLETED is run.wait(GUARD).status
    assert {"b", "c"} == {*order[1:]}


# ── Storms ───────────────────────────────────────────────────────────────────────────────────


def storm(run, freeze):
    """Pause a run and let it go on, again and again."""
    with contextlib.suppress(RunEnded):
        for _ in range(60):
            run.pause(freeze=freeze)
            run.unpause()


@pytest.mark.parametrize("where", ["memory", "one daemon", "two daemons"])
def test_a_storm_of_pauses_loses_no_run(make, make_orchestrator, where):
    """Two threads pause and unpause it, of one daemon or of two; what is said last counts."""
    state = MemoryStateManager() if where == "memory" else make()
    flow, order = Workflow("flow", timeout=GUARD), []
    for number in range(12):
        after = f"s{number - 1}" if number else ()
        flow.step(lambda number=number: order.append(number), id=f"s{number}", after=after)
    orchestrator = make_orchestrator(state)
    run = orchestrator.start(flow)
    others = [run, make_orchestrator(make()).get(run.id) if where == "two daemons" else run]
    threads = [
        threading.Thread(target=storm, args=(one, freeze))
        for one, freeze in zip(others, (False, True), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GUARD)
    result = run.wait(GUARD)

    assert (RunStatus.COMPLETED, [*range(12)]) == (result.status, order)
    assert in_order(state, run.id)
    assert None is run.snapshot().paused


def test_the_supervisor_hears_last_what_is_recorded_last(make_orchestrator, gate, monkeypatch):
    """Although the thread that unpauses comes while the pause is being told."""
    state = MemoryStateManager()
    orchestrator = make_orchestrator(state)
    run = orchestrator.start(gate.flow)
    until(run, "step.started")
    record, threads = state.pause_run, []

    def slowly(*arguments):
        record(*arguments)
        threads.append(threading.Thread(target=run.unpause))
        threads[0].start()
        threads[0].join(0.2)  # it has to wait, and would be told of first otherwise

    monkeypatch.setattr(state, "pause_run", slowly)
    run.pause()
    threads[0].join(GUARD)
    gate.open()

    assert RunStatus.COMPLETED is run.wait(GUARD).status


# ── Daemons that come and go ─────────────────────────────────────────────────────────────────

DAEMON = """
import sys, threading
from actorflow import Orchestrator, Workflow
from actorflow.state.sql import SQLStateManager

flow = Workflow("flow")

@flow.step(id="a")
def hangs():
    print("began", flush=True)
    threading.Event().wait()

with Orchestrator(SQLStateManager(sys.argv[1], lease=3000)) as orchestrator:
    run = orchestrator.start(flow)
    for event in run.events():
        if event.kind == "run.paused":
            print("paused", flush=True)
"""


def successor(make):
    """A daemon that takes runs over, and how often their step has run here."""
    flow, ran = Workflow("flow"), threading.Semaphore(0)
    flow.step(ran.release, id="a")
    other = Workflow("other")
    other.step(lambda: None, id="a")
    orchestrator = Orchestrator(make(lease=3000), recover=True, recover_every=0.01)
    orchestrator.register(flow)
    orchestrator.register(other)
    return orchestrator, ran, other


@pytest.mark.parametrize("how", ["unpaused", "cancelled"])
def test_a_paused_run_of_a_killed_daemon_waits_for_the_end_of_its_pause(url, make, how):
    """Nobody takes it over before, and at once afterwards; or to cancel it."""
    state = make(lease=3000)
    command = [sys.executable, "-c", DAEMON, url]
    orchestrator, ran, other = successor(make)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert "began\n" == process.stdout.readline()
        (run,) = state.list().runs
        state.pause_run(run.run_id, Pause(reason="a rest"), 0.0)
        assert "paused\n" == process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait()
    with orchestrator:
        # It looks for runs, and finds one that was enqueued later.
        assert RunStatus.COMPLETED is orchestrator.enqueue(other).wait(GUARD).status
        handle = orchestrator.get(run.run_id)
        assert ("running", "a rest") == (handle.status, handle.snapshot().paused)
        assert not ran.acquire(blocking=False)
        if how == "unpaused":
            handle.unpause()
            assert RunStatus.COMPLETED is handle.wait(GUARD).status
            assert ran.acquire(timeout=GUARD)
        else:
            handle.cancel("enough")
            assert RunStatus.CANCELLED is handle.wait(GUARD).status
            assert not ran.acquire(blocking=False)
    unpaused = told(state, run.run_id).count("run.unpaused")
    assert (how == "unpaused") == unpaused  # an end is the end of the pause as well
    assert None is state.snapshot(run.run_id).paused


def test_a_paused_run_is_left_at_a_shutdown(url, make, gate):
    """It holds the shutdown up no longer than others, and goes on elsewhere after its pause."""
    flow = Workflow("flow")
    flow.step(lambda: gate.opened.wait(GUARD), id="a")
    flow.step(lambda: None, id="b", after="a")
    with Orchestrator(make(), stop_grace=0.1) as first:
        run = first.start(flow)
        until(run, "step.started")
        run.pause()
        until(run, "run.paused")
        gate.open()
        until(run, "step.ready", "b")
        report = first.shutdown(drain=0.0)
    state = make()

    assert ((run.id,), "running") == (report.left, state.snapshot(run.id).status.value)
    second = Orchestrator(make(), recover=True, recover_every=0.01)
    second.register(flow)
    with second:
        handle = second.get(run.id)
        handle.unpause()
        assert RunStatus.COMPLETED is handle.wait(GUARD).status
    assert in_order(state, run.id)


def test_a_paused_run_without_an_owner_is_undone_when_that_is_asked_for(make, gate):
    """That needs its workflow, so a daemon takes it although it is paused."""
    flow, undone = Workflow("flow"), []
    flow.step(lambda: None, id="a", compensate=lambda: undone.append("a"))
    flow.step(lambda: gate.opened.wait(GUARD), id="b", after="a")
    with Orchestrator(make(), stop_grace=0.1) as first:
        run = first.start(flow)
        until(run, "step.started", "b")
        run.pause()
        until(run, "run.paused")
        first.shutdown(drain=0.0)
    second = Orchestrator(make(), recover=True, recover_every=0.01)
    second.register(flow)
    with second:
        handle = second.get(run.id)
        handle.cancel("enough", compensate=True)
        assert RunStatus.CANCELLED is handle.wait(GUARD).status

        assert ["a"] == undone
        assert {} == second.count(paused=True)
