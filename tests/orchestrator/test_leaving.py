"""Runs that a shutdown leaves, for other orchestrators to go on with."""

from __future__ import annotations

import asyncio
import threading

import pytest

from actorflow import (
    MemoryStateManager,
    Orchestrator,
    OrchestratorClosed,
    RetryPolicy,
    RunCancelled,
    RunStatus,
    Workflow,
)
from actorflow.errors.definition import DefinitionError
from actorflow.model.lifecycle import EventKind
from tests.support.flows import GUARD, endless, flow_of, in_thread, seen

# Their steps are lambdas and closures, which tell the test what they do.
pytestmark = pytest.mark.filterwarnings("ignore:.*a lambda or a closure:actorflow.ActorflowWarning")

LONG = 3600.0
"""Seconds of a lease that no test waits for."""


def kinds(state, run_id):
    """The kinds of a run's recorded events."""
    return [event.kind.value for event in state.events(run_id)]


def left_running(orchestrator, flow, begun=None):
    """Start a run, and have the orchestrator shut down in a step of it; return run and report.

    A step that is recorded as started may be stopped before its body begins: `begun` is set there.
    """
    run = orchestrator.start(flow)
    seen(run, "step.started")
    assert begun is None or begun.wait(GUARD)
    return run, orchestrator.shutdown(drain=0.0, grace=GUARD)


def test_a_run_in_a_database_is_left_as_it_is_recorded(make):
    """Its attempt is stopped, and nothing says so."""
    state = make(lease=LONG)
    with Orchestrator(state) as orchestrator:
        run, report = left_running(orchestrator, flow_of(endless, async_=True))

    assert ((run.id,), (), True) == (report.left, report.cancelled, report.clean)
    assert RunStatus.RUNNING is state.snapshot(run.id).status
    assert "step.started" == kinds(state, run.id)[-1]


def test_another_orchestrator_goes_on_with_a_left_run_at_once(make):
    """The lease of the first one, which would last for an hour, is not waited out."""
    attempts, begun = [], threading.Event()

    async def body(ctx):
        attempts.append(ctx.attempt)
        begun.set()
        if len(attempts) == 1:
            await endless()
        return "done"

    flow = flow_of(body, async_=True)
    with Orchestrator(make(lease=LONG)) as first:
        run, _ = left_running(first, flow, begun)
    with Orchestrator(make(lease=LONG)) as second:
        second.register(flow)
        second._resuming.take_over(
            second._life.runtime("test"),
            second._life._powers.queue,
            known=frozenset({(flow.id, flow.version)}),
            unfit=(),
            most=1,
            refused=lambda *_: None,
        )
        result = second.get(run.id).result(GUARD)

    assert ("done", [1, 2]) == (result.output, attempts)


def test_a_recorded_step_of_a_left_run_does_not_run_again(make):
    """Only what was in flight does."""
    bodies, begun = [], threading.Event()
    flow = Workflow("flow")
    flow.step(lambda: bodies.append("a"), id="a")

    async def body(a, ctx):
        bodies.append("b")
        begun.set()
        if bodies.count("b") == 1:
            await endless()

    flow.step(body, id="b", after="a", async_=True)
    with Orchestrator(make()) as first:
        run, _ = left_running(first, flow, begun)
    with Orchestrator(make()) as second:
        result = second.resume(run.id, flow).result(GUARD)

    assert ["a", "b", "b"] == bodies
    assert RunStatus.COMPLETED is result.status


def test_a_run_that_waits_for_a_place_stays_pending(make):
    """Nothing of it has begun, and nothing does."""
    state = make()
    with Orchestrator(state, max_active_runs=1) as orchestrator:
        flow = flow_of(endless, async_=True)
        first, second = orchestrator.start(flow), orchestrator.start(flow)
        seen(first, "step.started")
        report = orchestrator.shutdown(drain=0.0)

    assert {first.id, second.id} == {*report.left}
    assert RunStatus.PENDING is state.snapshot(second.id).status


def test_a_compensating_run_stays_compensating(make):
    """And is undone where it goes on."""
    began, undone = threading.Event(), []

    async def undo():
        if began.is_set():
            undone.append("a")
            return
        began.set()
        await endless()

    async def fail():
        raise ValueError("no")

    flow = Workflow("flow")
    flow.step(lambda: None, id="a", compensate=undo)
    flow.step(fail, id="b", after="a", async_=True)
    state = make()
    with Orchestrator(state) as first:
        run = first.start(flow)
        assert began.wait(GUARD)
        first.shutdown(drain=0.0)
    status = state.snapshot(run.id).status
    with Orchestrator(make()) as second:
        result = second.resume(run.id, flow).wait(GUARD)

    assert (RunStatus.COMPENSATING, ["a"]) == (status, undone)
    assert (RunStatus.FAILED, ("a",)) == (result.status, result.compensated)


def test_a_thread_that_does_not_stop_is_reported_and_its_run_handed_back(make, release):
    """Another owner can have the run although the thread still runs."""
    began = threading.Event()
    flow = flow_of(lambda: (began.set(), release.wait(GUARD)))
    with Orchestrator(make(lease=LONG)) as first:
        run = first.start(flow)
        assert began.wait(GUARD)
        report = first.shutdown(drain=0.0, grace=0.01)
    claimed = make(lease=LONG).claim(run.id)

    assert (run.id,) == report.left
    assert ["step 'step'" in line for line in report.abandoned] == [True]
    assert RunStatus.RUNNING is claimed.status
    assert not report.clean


@pytest.fixture
def release():
    """An event that is set after the test."""
    event = threading.Event()
    yield event
    event.set()


def test_a_run_that_ends_within_the_drain_is_not_left(make, gate):
    """The rest is."""
    with Orchestrator(make()) as orchestrator:
        first = orchestrator.start(gate.flow)
        second = orchestrator.start(flow_of(endless, async_=True))
        seen(second, "step.started")
        gate.open()
        first.wait(GUARD)
        report = orchestrator.shutdown(drain=0.01)

    assert (second.id,) == report.left


# ── Whether to leave ─────────────────────────────────────────────────────────────────────────


def test_runs_in_memory_are_cancelled():
    """No other orchestrator could go on with them."""
    with Orchestrator() as orchestrator:
        run, report = left_running(orchestrator, flow_of(endless, async_=True))

    assert ((), (run.id,)) == (report.left, report.cancelled)
    assert RunStatus.CANCELLED is run.wait().status


def test_runs_in_a_database_can_be_cancelled_as_well(make):
    """Where no other orchestrator will go on with them."""
    state = make()
    with Orchestrator(state) as orchestrator:
        run = orchestrator.start(flow_of(endless, async_=True))
        report = orchestrator.shutdown(drain=0.0, leave=False)

    assert ((), (run.id,)) == (report.left, report.cancelled)
    assert RunStatus.CANCELLED is state.snapshot(run.id).status


@pytest.mark.parametrize("leave", [True, "yes", 1])
def test_what_cannot_be_left_is_refused_before_anything_is_closed(leave):
    """With the cure; the orchestrator goes on."""
    with Orchestrator(MemoryStateManager()) as orchestrator:
        with pytest.raises(DefinitionError) as refused:
            orchestrator.shutdown(leave=leave)
        result = orchestrator.run(flow_of(lambda: 1))

    assert 1 == result.output
    assert "leave" in str(refused.value)


def test_an_asynchronous_shutdown_leaves_runs_as_well(make):
    """On the orchestrator's own loop."""

    async def main():
        async with Orchestrator(make()) as orchestrator:
            run = await orchestrator.start_async(flow_of(endless, async_=True))
            await orchestrator.shutdown_async(drain=0.0)
            return run.id, await orchestrator.shutdown_async()

    run_id, report = asyncio.run(main())

    assert (run_id,) == report.left


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError])
def test_leaving_the_block_by_an_exception_leaves_runs_at_once(make, error):
    """As the handler of a signal does that raises."""
    state, runs = make(), []

    def program():
        with Orchestrator(state) as orchestrator:
            runs.append(orchestrator.start(flow_of(endless, async_=True)))
            seen(runs[0], "step.started")
            raise error

    with pytest.raises(error):
        program()
    (run,) = runs

    assert RunStatus.RUNNING is state.snapshot(run.id).status


def test_a_run_whose_caller_is_interrupted_is_cancelled_and_not_left(make, monkeypatch):
    """The caller of `run` had wanted its result, and wants it no longer."""
    state, orchestrator = make(), Orchestrator(make())

    def interrupted(*_):
        seen(orchestrator.get(orchestrator.list().runs[0].run_id), "step.started")
        raise KeyboardInterrupt

    monkeypatch.setattr("actorflow.run.handle.Run.result", interrupted)
    with pytest.raises(KeyboardInterrupt), orchestrator:
        orchestrator.run(flow_of(endless, async_=True))

    assert [RunStatus.CANCELLED] == [run.status for run in state.list().runs]


# ── Who waits ────────────────────────────────────────────────────────────────────────────────


def test_who_waits_for_a_left_run_is_told_that_it_goes_on_elsewhere(make):
    """However it waits."""
    with Orchestrator(make()) as orchestrator:
        run = orchestrator.start(flow_of(endless, async_=True))
        seen(run, "step.started")
        waiting = in_thread(run.wait)
        orchestrator.shutdown(drain=0.0)

    for wait in (lambda: waiting.result(GUARD), run.result, lambda: asyncio.run(run.wait_async())):
        with pytest.raises(OrchestratorClosed, match="left the run, which goes on") as told:
            wait()
        assert run.id in str(told.value)


def test_a_handle_of_a_left_run_says_what_its_record_says(make):
    """Also after its orchestrator has shut down: the run is not done until another has ended it."""
    with Orchestrator(make()) as orchestrator:
        run = orchestrator.start(flow_of(endless, async_=True))
        later = orchestrator.start(flow_of(endless, async_=True), delay=LONG)
        seen(run, "step.started")
        orchestrator.shutdown(drain=0.0)

    assert (False, RunStatus.RUNNING) == (run.done, run.status)
    assert (False, RunStatus.PENDING) == (later.done, later.status)
    with Orchestrator(make()) as other:
        for each in (run, later):
            other.get(each.id).cancel()
            assert (True, RunStatus.CANCELLED) == (each.done, each.status)


@pytest.mark.parametrize("awaits", [False, True])
def test_a_reader_of_the_events_of_a_left_run_is_told_that_these_are_not_all(make, awaits):
    """After all that is recorded, and not by an end that looks like the end of the run."""
    events = []

    async def read_async(run):
        async for event in run.events():
            events.append(event)  # noqa: PERF401 - a list that is not finished would be lost

    def read(run):
        if awaits:
            asyncio.run(read_async(run))
        else:
            events.extend(run.events())

    with Orchestrator(make()) as orchestrator:
        run = orchestrator.start(flow_of(endless, async_=True))
        reading = in_thread(lambda: read(run))
        seen(run, "step.started")
        orchestrator.shutdown(drain=0.0)

    with pytest.raises(OrchestratorClosed, match="left the run, which goes on in another one"):
        reading.result(GUARD)
    assert EventKind.STEP_STARTED is events[-1].kind


def test_a_run_that_is_cancelled_while_its_attempt_stops_is_cancelled(make):
    """The cancellation is not lost with the shutdown."""

    async def main():
        entered, asked, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def slow():
            entered.set()
            try:
                await endless()
            finally:
                asked.set()
                await stop.wait()

        async with Orchestrator(make()) as orchestrator:
            run = await orchestrator.start_async(flow_of(slow, async_=True))
            await entered.wait()
            closing = asyncio.create_task(orchestrator.shutdown_async(drain=0.0, grace=GUARD))
            await asked.wait()
            run.cancel("enough")
            await asyncio.sleep(0)
            stop.set()
            return await closing, run

    report, run = asyncio.run(main())

    assert () == report.left
    with pytest.raises(RunCancelled):
        run.result()


# ── Attempts over several lives ──────────────────────────────────────────────────────────────


def test_an_attempt_that_a_shutdown_cut_uses_up_none_of_the_steps_attempts(make):
    """Two may fail, and both do after the hand-over; each has a number of its own."""
    numbers, began = [], threading.Event()

    async def body(ctx):
        numbers.append(ctx.attempt)
        if not began.is_set():
            began.set()
            await endless()
        raise ValueError("no")

    retry = RetryPolicy(max_attempts=2, initial_interval=0.01)
    flow = flow_of(body, async_=True, retry=retry)
    with Orchestrator(make()) as first:
        run = first.start(flow)
        assert began.wait(GUARD)
        first.shutdown(drain=0.0)
    with Orchestrator(make(), recover=True, recover_every=0.01) as second:
        second.register(flow)
        while not second.get(run.id).snapshot().status.terminal:
            pass
        step = second.get(run.id).wait().steps["step"]

    assert [1, 2, 3] == numbers
    assert ["cut", "failed", "failed"] == [one.outcome for one in step.attempts_taken]
    assert 3 == step.attempts
