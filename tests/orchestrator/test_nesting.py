"""Steps that run workflows and wait for them, in the orchestrator that they themselves run in."""

from __future__ import annotations

import asyncio
import re
import threading

import pytest

from actorflow import Deadlock, Orchestrator, RunFailed, WrongLoop
from tests.support.flows import GUARD, broken, flow_of


async def work():
    """Be a step that ends."""
    return "inner"


INNER = flow_of(work)
ASYNC_INNER = flow_of(work, async_=True)


def run_in(orchestrator, inner):
    """Run a workflow from a step on a thread."""
    return orchestrator.run(inner).output


async def await_in(orchestrator, inner):
    """Run a workflow from a step on the loop."""
    return (await orchestrator.run_async(inner)).output


def start_and_wait_in(orchestrator, inner):
    """Run a workflow by its handle."""
    return orchestrator.start(inner).wait().output


async def start_and_await_in(orchestrator, inner):
    """Run a workflow by its handle, on the loop."""
    return (await orchestrator.start(inner)).output


every_way = pytest.mark.parametrize(
    "nest", [run_in, await_in, start_and_wait_in, start_and_await_in]
)


def test_a_thread_step_may_run_another_workflow(orchestrator):
    """Here three deep, each with its own run."""

    def descend(depth):
        if not depth:
            return "bottom"
        return [orchestrator.run(flow, {"depth": depth - 1}).output]

    flow = flow_of(descend)

    assert [[["bottom"]]] == orchestrator.run(flow, {"depth": 3}).output
    assert 4 == orchestrator.list().total


def test_a_coroutine_step_may_run_another_workflow(orchestrator):
    """By awaiting it; blocking is refused."""

    async def descend(depth):
        if not depth:
            return "bottom"
        with pytest.raises(WrongLoop):
            orchestrator.run(flow, {"depth": 0})
        return [(await orchestrator.run_async(flow, {"depth": depth - 1})).output]

    flow = flow_of(descend, async_=True)

    assert [[["bottom"]]] == orchestrator.run(flow, {"depth": 3}).output


def test_a_nested_run_that_fails_fails_the_step_that_ran_it(orchestrator):
    """The chain of causes leads down to the first error."""

    def outer():
        orchestrator.run(flow_of(broken))

    error = orchestrator.start(flow_of(outer)).wait(GUARD).error

    assert (RunFailed, LookupError) == (type(error), type(error.__cause__))


@every_way
@pytest.mark.parametrize("async_", [False, True])
@pytest.mark.parametrize("inner", [INNER, ASYNC_INNER], ids=["sync", "async"])
def test_a_step_that_waits_for_a_run_holds_nothing(nest, async_, inner):
    """One place and one worker are enough, and no run has to queue."""
    outer = flow_of(nest, async_=async_)
    with Orchestrator(max_active_runs=1, max_queued_runs=0, async_workers=1) as orchestrator:
        inputs = {"orchestrator": orchestrator, "inner": inner}

        assert "inner" == orchestrator.run(outer, inputs).output


@pytest.mark.parametrize("nest", [run_in, await_in])
def test_many_steps_that_wait_hold_nothing(nest):
    """All runs that may be accepted wait for runs at once."""
    outer = flow_of(nest, async_=True)
    with Orchestrator(max_active_runs=2, max_queued_runs=8, async_workers=1) as orchestrator:
        inputs = {"orchestrator": orchestrator, "inner": ASYNC_INNER}
        runs = [orchestrator.start(outer, inputs) for _ in range(10)]

        assert ["inner"] * 10 == [run.result(GUARD).output for run in runs]


@pytest.mark.parametrize("nest", [run_in, await_in])
def test_what_a_step_that_waits_gives_back_is_said(nest):
    """By two events, between its start and its end."""
    waits = threading.Event()

    def seen(event):
        if event.kind == "step.suspended":
            waits.set()

    with Orchestrator(observers=[seen]) as orchestrator:
        inner = flow_of(lambda: waits.wait(GUARD))
        inputs = {"orchestrator": orchestrator, "inner": inner}
        events = list(orchestrator.start(flow_of(nest), inputs).events())
    kinds = [event.kind.value for event in events if event.step_id]
    suspended = next(event for event in events if event.kind == "step.suspended")

    assert ["ready", "started", "suspended", "continued", "completed"] == [
        kind.removeprefix("step.") for kind in kinds
    ]
    assert re.fullmatch("run [0-9a-f-]{36}", suspended.data["reason"])


def test_a_step_that_waits_for_its_own_run_is_told():
    """However much room there is."""

    def wait(orchestrator, ctx):
        return orchestrator.get(ctx.run_id).wait()

    async def wait_on_loop(orchestrator, ctx):
        return await orchestrator.get(ctx.run_id)

    with Orchestrator() as orchestrator:
        for body in (wait, wait_on_loop):
            result = orchestrator.start(flow_of(body), {"orchestrator": orchestrator}).wait(GUARD)

            assert isinstance(result.error, Deadlock)
            assert "itself" == result.error.circle


@pytest.mark.parametrize("size", [2, 5])
def test_the_step_whose_wait_closes_a_circle_is_told(size):
    """The others then end as well, because the run that they wait for has ended."""
    handles, started = {}, threading.Barrier(size + 1)

    def wait(number):
        started.wait(GUARD)
        handles[(number + 1) % size].wait()

    with Orchestrator() as orchestrator:
        flow = flow_of(wait)
        handles |= {n: orchestrator.start(flow, {"number": n}) for n in range(size)}
        started.wait(GUARD)
        results = [handles[number].wait(GUARD) for number in range(size)]
    told = [result.error for result in results if result.error is not None]

    assert ["circle"] == [error.circle for error in told]
    assert size - 1 == sum(result.status == "completed" for result in results)


@pytest.mark.parametrize("nest", [run_in, await_in])
def test_a_step_that_waits_is_stopped(nest):
    """A thread too: its wait ends by `StepCancelled`."""
    gate, waits = threading.Event(), threading.Event()

    def seen(event):
        if event.kind == "step.suspended":
            waits.set()

    with Orchestrator(observers=[seen]) as orchestrator:
        inputs = {"orchestrator": orchestrator, "inner": flow_of(lambda: gate.wait(GUARD))}
        run = orchestrator.start(flow_of(nest), inputs)
        assert waits.wait(GUARD)
        run.cancel("enough")
        result = run.wait(GUARD)
        gate.set()

    assert ("cancelled", "enough") == (result.status, result.reason)
    assert "step.abandoned" not in {event.kind for event in run.events()}


def test_a_wait_with_a_timeout_is_not_refused():
    """It ends by itself."""

    def wait(orchestrator):
        run = orchestrator.start(INNER)
        with pytest.raises(TimeoutError, match="it goes on"):
            run.wait(0.01)
        return run

    with Orchestrator(max_active_runs=1) as orchestrator:
        inner = orchestrator.run(flow_of(wait), {"orchestrator": orchestrator}).output

        assert "inner" == inner.result(GUARD).output


def test_a_task_of_the_steps_own_may_wait_longer_than_the_step():
    """That it will not cannot be known; and the run that it waits for gets the step's place."""

    async def leave_a_task(orchestrator):
        task = asyncio.ensure_future(orchestrator.run_async(INNER))
        await asyncio.sleep(0)
        return task

    async def main():
        async with Orchestrator(max_active_runs=1) as orchestrator:
            inputs = {"orchestrator": orchestrator}
            result = await orchestrator.run_async(flow_of(leave_a_task), inputs)
            return (await result.output).output

    assert "inner" == asyncio.run(main())


def test_another_orchestrator_has_places_of_its_own():
    """A step that waits for a run there keeps what it holds here."""
    with Orchestrator(max_active_runs=1) as outside, Orchestrator(max_active_runs=1) as inside:
        inputs = {"orchestrator": inside, "inner": INNER}

        assert "inner" == outside.run(flow_of(run_in), inputs).output
