"""Coroutine steps that end at once, next to others that wait, on a real event loop."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading

import pytest

from actorflow import Orchestrator, RetryPolicy, Workflow
from actorflow.orchestrator.runtime import Runtime
from tests.support.executor_rigs import starts_in
from tests.support.flows import GUARD

__all__ = ["starts_in"]


def returns():
    """A body that ends without suspending."""

    async def body():
        return "returned"

    return body


def raises():
    """A body that fails without suspending."""

    async def body():
        raise LookupError("at once")

    return body


def waits_for(event):
    """A body that waits for another step."""

    async def body():
        await event.wait()
        return "waited"

    return body


@pytest.mark.parametrize("order", list(itertools.permutations(["returns", "raises", "waits"])))
@pytest.mark.parametrize("after", [(), ("first",)])
def test_a_step_that_ends_at_once_is_settled_while_others_wait(order, after):
    """Its dependents start, and it is retried, whatever is granted together with it."""
    flow, followed, retried = Workflow("mixed"), asyncio.Event(), asyncio.Event()
    attempts = itertools.count(1)

    @flow.step(async_=True)
    async def first():
        return "first"

    async def fails_once():
        if next(attempts) == 1:
            raise LookupError("at once")
        retried.set()

    async def waits():
        await followed.wait()
        await retried.wait()

    bodies = {"returns": returns(), "raises": fails_once, "waits": waits}
    policy = RetryPolicy(max_attempts=2, initial_interval=0.001)
    for name in order:
        retry = policy if name == "raises" else None
        flow.step(bodies[name], id=name, async_=True, after=after, retry=retry)

    @flow.step(async_=True, after="returns")
    async def then():
        followed.set()

    with Orchestrator() as orchestrator:
        run = orchestrator.start(flow)
        result = run.wait(GUARD)

    assert "completed" == result.status


@pytest.mark.parametrize("order", list(itertools.permutations(["raises", "waits"])))
def test_a_step_that_fails_at_once_ends_its_run_while_others_wait(order):
    """The one that waits for ever is cancelled."""
    flow = Workflow("mixed")
    bodies = {"raises": raises(), "waits": waits_for(asyncio.Event())}
    for name in order:
        flow.step(bodies[name], id=name, async_=True)

    with Orchestrator() as orchestrator:
        result = orchestrator.start(flow).wait(GUARD)

    assert ("failed", "cancelled") == (result.status, result.steps["waits"].status)


@pytest.mark.parametrize("undone", [False, True])
def test_a_body_that_blocks_and_then_returns_is_reported(monkeypatch, undone):
    """The report of the watchdog comes before the end, which the body itself reports."""
    reported = threading.Event()
    report = Runtime._loop_blocked

    def reports(runtime, *blocked):
        report(runtime, *blocked)
        reported.set()

    monkeypatch.setattr(Runtime, "_loop_blocked", reports)
    flow = Workflow("blocking")

    async def blocks():
        assert reported.wait(GUARD)

    async def nothing():
        """Be undone."""

    def fails(a):
        raise ValueError("undo the first one")

    if undone:
        flow.step(id="a", compensate=blocks)(nothing)
        flow.step(id="b", after="a")(fails)
    else:
        flow.step(id="a")(blocks)
    with Orchestrator(blocked_after=0.01) as orchestrator:
        run = orchestrator.start(flow)
        run.wait(GUARD)
        kinds = [event.kind.value for event in run.events() if event.step_id == "a"]

    blocking, end = (
        ("compensation.blocking", "compensation.completed")
        if undone
        else ("step.blocking", "step.completed")
    )
    assert kinds.index(blocking) < kinds.index(end)


async def exits():
    """Suspend, and raise GeneratorExit."""
    await asyncio.sleep(0)
    raise GeneratorExit


async def awaits_what_exits():
    """Suspend until a task of its own raises GeneratorExit."""
    await asyncio.create_task(exits())


async def ignores_what_exits():
    """Go on after that."""
    with contextlib.suppress(GeneratorExit):
        await awaits_what_exits()
    await asyncio.sleep(0)


@pytest.mark.parametrize("body", [exits, awaits_what_exits, ignores_what_exits])
def test_a_body_that_ends_by_a_generator_exit_has_failed(body):
    """In the task of a runner, and later in a plain task."""
    flow = Workflow("exits")
    flow.step(async_=True)(body)
    with Orchestrator() as orchestrator:
        results = [orchestrator.start(flow).wait(GUARD) for _ in range(3)]

    error = results[0].steps[body.__name__].error
    assert isinstance(error, RuntimeError if body is ignores_what_exits else GeneratorExit)
    assert ["failed"] * 3 == [result.status.value for result in results]


@pytest.mark.parametrize("suspends", [False, True])
def test_a_body_that_cancels_all_tasks_of_the_loop_does_not_end_the_loop(suspends):
    """The loop belongs to the orchestrator, and other runs use it."""
    flow = Workflow("cancels")

    @flow.step(async_=True)
    async def cancels():
        if suspends:
            await asyncio.sleep(0)
        for task in asyncio.all_tasks():
            task.cancel()
        return "cancelled"

    with Orchestrator() as orchestrator:
        results = [orchestrator.start(flow).wait(GUARD) for _ in range(3)]

    assert ["cancelled"] * 3 == [result.output for result in results]
