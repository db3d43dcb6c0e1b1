"""Sagas, end to end: what a failed run has done is undone, by true functions on true executors."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from actorflow import (
    DefinitionError,
    Orchestrator,
    RetryPolicy,
    RunCancelled,
    RunFailed,
    RunTimeout,
    Step,
    Workflow,
)
from tests.support.flows import GUARD, timed_out

QUICKLY = RetryPolicy(max_attempts=3, initial_interval=0.001, jitter=0)


def keeping(undone):
    """A compensator that keeps what step `a` had made."""

    def undo(a):
        undone.append(a)

    return undo


def trip(calls, *, undo_hotel=None, fails=True):
    """A flight, a hotel and a car; then a payment that fails as long as `fails` says so."""
    flow = Workflow("trip")

    @flow.step(compensate=lambda flight: calls.append(f"cancel {flight}"))
    def flight():
        calls.append("book flight")
        return "F1"

    async def cancel_hotel(hotel, flight):
        calls.append(f"cancel {hotel} beside {flight}")

    @flow.step(after=flight, async_=True, compensate=undo_hotel or cancel_hotel)
    async def hotel(flight):
        calls.append("book hotel")
        return "H1"

    @flow.step(after=hotel)
    def car():
        calls.append("book car")

    @flow.step(after=car)
    def pay():
        if fails:
            raise ConnectionError("the bank is down")
        return "paid"

    return flow


def test_a_failed_run_is_undone_in_reverse_order():
    """On the loop and on threads, by what each step had made."""
    calls = []
    with Orchestrator() as orchestrator, pytest.raises(RunFailed) as caught:
        orchestrator.run(trip(calls))

    result = caught.value.result
    assert ["book flight", "book hotel", "book car", "cancel H1 beside F1", "cancel F1"] == calls
    assert ("hotel", "flight") == result.compensated
    assert {"car": None} == result.outputs
    assert "Not undone" not in str(caught.value)


def test_what_could_not_be_undone_is_told():
    """In the error's text, in the result, and in the log, as a warning."""
    calls = []

    def fails():
        raise OSError("no answer")

    with Orchestrator() as orchestrator, pytest.raises(RunFailed) as caught:
        orchestrator.run(trip(calls, undo_hotel=fails))

    result = caught.value.result
    assert "Not undone: 'hotel'; check them by hand." in str(caught.value)
    assert (("flight",), ("hotel",)) == (result.compensated, result.uncompensated)
    assert "OSError('no answer')" == repr(result.steps["hotel"].error)
    assert isinstance(caught.value.__cause__, ConnectionError)


def test_the_log_tells_of_undoing(caplog):
    """Attempts of a compensator that failed are warnings."""
    caplog.set_level(logging.INFO, logger="actorflow")
    seen = []

    def undo(a, ctx):
        seen.append((ctx.attempt, ctx.compensating, ctx.idempotency_key, ctx.remaining))
        ctx.log.info("undoing")
        if ctx.attempt == 1:
            raise OSError("busy")

    flow = Workflow("flow")
    flow.add(Step("a", lambda: 1, compensate=Step("undo", undo, retry=QUICKLY)))
    flow.add(Step("b", lambda: 1 / 0, after="a"))
    with Orchestrator() as orchestrator:
        run = orchestrator.start(flow, timeout=GUARD)
        run.wait()

    key = f"{run.id}:a:compensate"
    assert [(1, True, key, None), (2, True, key, None)] == seen
    lines = [record for record in caplog.records if "compensation.retrying" in str(record.msg)]
    assert ["WARNING"] == [line.levelname for line in lines]
    assert any("compensating" in str(record.msg) for record in caplog.records)


def test_a_run_that_timed_out_is_undone_after_its_timeout():
    """Undoing has limits of its own."""
    over, undone = threading.Event(), []
    flow = Workflow("flow")
    flow.add(Step("a", lambda: "of a", compensate=keeping(undone)))
    flow.add(Step("b", lambda: over.wait(GUARD), after="a"))
    with Orchestrator(stop_grace=0.01) as orchestrator:
        run = timed_out(
            lambda timeout: orchestrator.start(flow, timeout=timeout), "compensation.completed"
        )
        over.set()
    with pytest.raises(RunTimeout) as caught:
        run.result()

    assert ["of a"] == undone
    assert ("a",) == caught.value.result.compensated


def test_a_cancelled_run_is_undone_when_asked():
    """And raises what a cancelled run raises."""
    calls, begun = [], threading.Event()
    flow = Workflow("flow")
    flow.add(Step("a", lambda: "A", compensate=keeping(calls)))

    async def waits():
        begun.set()
        await asyncio.sleep(3600)

    flow.add(Step("b", waits, after="a"))
    with Orchestrator() as orchestrator:
        run = orchestrator.start(flow)
        assert begun.wait(GUARD)
        run.cancel("changed my mind", compensate=True)
        with pytest.raises(RunCancelled, match="changed my mind"):
            run.result(GUARD)

    assert ["A"] == calls
    assert ("a",) == run.wait().compensated


def test_a_run_whose_steps_were_undone_can_be_resumed():
    """What was undone is done again; what could not be undone is kept."""
    calls = []
    with Orchestrator() as orchestrator:
        run = orchestrator.start(trip(calls))
        run.wait(GUARD)
        again = orchestrator.resume(run.id, trip(calls, fails=False))

    assert "paid" == again.result().output
    assert ["book flight", "book hotel"] == calls[5:]
    assert ["run.failed", "run.resumed", "run.completed"] == [
        event.kind for event in again.events() if event.step_id is None
    ][3:]


def test_a_snapshot_tells_of_undoing_while_it_lasts():
    """The run is compensating, and says why and what."""
    begun, go_on = threading.Event(), threading.Event()

    def undo():
        begun.set()
        assert go_on.wait(GUARD)

    flow = Workflow("flow")
    flow.add(Step("a", lambda: "A", compensate=undo))
    flow.add(Step("b", lambda: 1 / 0, after="a"))
    with Orchestrator() as orchestrator:
        run = orchestrator.start(flow)
        assert begun.wait(GUARD)
        snapshot = run.snapshot()
        listed = orchestrator.list(status="compensating").runs
        go_on.set()
        run.wait(GUARD)

    assert ("compensating", "b", ("a",)) == (
        snapshot.status,
        snapshot.failed_step,
        snapshot.compensations,
    )
    assert [run.id] == [one.run_id for one in listed]


def test_a_shutdown_waits_for_undoing_and_cuts_it_when_its_grace_is_over():
    """It returns, and the record says what is still there."""
    begun = threading.Event()
    flow = Workflow("flow")

    async def endless():
        begun.set()
        await asyncio.sleep(3600)

    flow.add(Step("a", lambda: "A", compensate=lambda: None))
    flow.add(Step("b", lambda: "B", after="a", compensate=endless))
    flow.add(Step("c", lambda: 1 / 0, after="b"))
    with Orchestrator() as orchestrator:
        run = orchestrator.start(flow)
        assert begun.wait(GUARD)
        report = orchestrator.shutdown(drain=0.0, grace=0.01)

    result = run.wait()
    assert ((run.id,), ()) == (report.cancelled, report.abandoned)
    assert ("b", "a") == result.uncompensated
    assert ["compensation_failed", "completed"] == [result.steps[id_].status for id_ in "ba"]
    assert "failed" == result.status


def test_a_compensator_that_hangs_on_a_thread_is_abandoned_and_counted():
    """Its timeout is kept, and the next one's turn comes."""
    release, undone = threading.Event(), []
    hang = Step("hang", lambda: release.wait(GUARD), timeout=0.01)
    flow = Workflow("flow")
    flow.add(Step("a", lambda: "A", compensate=keeping(undone)))
    flow.add(Step("b", lambda: "B", after="a", compensate=hang))
    flow.add(Step("c", lambda: 1 / 0, after="b"))
    with Orchestrator() as orchestrator:
        run = orchestrator.start(flow)
        result = run.wait(GUARD)
        kinds = [event.kind for event in run.events()]
        release.set()

    assert ["A"] == undone
    assert ("b",) == result.uncompensated
    assert "compensation.abandoned" in kinds
    assert "step.abandoned" not in kinds


def test_a_place_for_a_compensator_is_looked_for_before_anything_runs():
    """Not when it is needed."""
    flow = Workflow("flow")
    flow.add(Step("a", lambda: 1, compensate=Step("undo", lambda: 2, executor="coroutine")))
    with Orchestrator() as orchestrator, pytest.raises(DefinitionError, match="step 'a'"):
        orchestrator.start(flow)


def test_a_compensator_of_another_kind_finds_its_own_place():
    """A coroutine can undo what a function in a pool has done."""
    undone = []

    async def undo(a):
        undone.append(a)

    flow = Workflow("flow")
    flow.add(Step("a", lambda: "A", executor="thread", compensate=undo))
    flow.add(Step("b", lambda: 1 / 0, after="a"))
    with Orchestrator() as orchestrator:
        orchestrator.start(flow).wait(GUARD)

    assert ["A"] == undone


def test_a_compensator_may_run_a_workflow():
    """As a step may."""
    other = Workflow("other")
    other.add(Step("x", lambda: "X", async_=True))
    undone = []
    with Orchestrator(async_workers=2) as orchestrator:
        flow = Workflow("flow")
        undo = Step("undo", lambda: undone.append(orchestrator.run(other).output), async_=True)
        flow.add(Step("a", lambda: "A", compensate=undo))
        flow.add(Step("b", lambda: 1 / 0, after="a"))
        orchestrator.start(flow).wait(GUARD)

    assert ["X"] == undone


def test_many_runs_are_undone_beside_each_other():
    """Each in its own order, and each step once."""
    flow = Workflow("flow")
    undone = {}

    def undo(ctx, number):
        undone.setdefault(number, []).append(ctx.step_id)

    for place in range(5):
        before = f"s{place - 1}" if place else ()
        step = Step(f"s{place}", lambda number: number, after=before, compensate=undo)
        flow.add(step)
    flow.add(Step("last", lambda: 1 / 0, after="s4"))
    with Orchestrator() as orchestrator:
        runs = [orchestrator.start(flow, {"number": number}) for number in range(200)]
        results = [run.wait(GUARD) for run in runs]

    assert {("s4", "s3", "s2", "s1", "s0")} == {result.compensated for result in results}
    assert {("s4", "s3", "s2", "s1", "s0")} == {tuple(order) for order in undone.values()}
    assert 200 == len(undone)
