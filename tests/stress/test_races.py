"""What threads do to each other at one place: each of these is a race that a thread could lose.

The threads switch at almost every instruction, and begin at the same moment. How often is a
number: a few hundred times in every run of the suite, and more in a soak (see `soaking`).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import threading

import pytest

from actorflow import (
    MemoryStateManager,
    Orchestrator,
    OrchestratorClosed,
    Overloaded,
    RetryPolicy,
    Workflow,
)
from tests.support.executor_rigs import ThreadRig
from tests.support.flows import flow_of
from tests.support.soak_factor import SOAK
from tests.support.thread_races import GUARD, busy_switching, remaining_threads, together

pytestmark = pytest.mark.slow

SOME = 4
"""How many threads are at it."""


@pytest.fixture(autouse=True)
def busy():
    """All of them interrupt each other all the time; afterwards there are none left."""
    with busy_switching():
        yield

    assert [] == remaining_threads()


def often(times, call):
    """A function that makes a call so many times."""
    return lambda: [call() for _ in range(times)]


# ── Starting and cancelling ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("async_", [False, True])
def test_a_run_that_is_cancelled_while_it_ends_has_one_end(async_):
    """Its step ran as often as its result says, and its result is what is recorded."""
    begun = []

    def body(ctx):
        begun.append(ctx.run_id)

    async def coroutine(ctx):
        begun.append(ctx.run_id)
        await asyncio.sleep(0)

    flow = flow_of(coroutine if async_ else body, async_=async_)
    state = MemoryStateManager(max_runs=1_000_000)
    with Orchestrator(state, async_workers=2, stop_grace=0.001) as orchestrator:

        def one():
            run = orchestrator.start(flow)
            run.cancel()
            return run.id, run.wait(GUARD)

        done = dict(itertools.chain(*together(*[often(30 * SOAK, one)] * SOME)))
        recorded = {each: orchestrator.get(each).snapshot().status for each in done}

    assert {True} == {
        result.steps["step"].attempts >= begun.count(each) for each, result in done.items()
    }
    assert {each: done[each].status for each in recorded} == recorded


def test_a_thread_that_returns_while_it_is_given_up_does_one_of_the_two():
    """Its attempt counts once, and its lease is free for the next one."""
    again = RetryPolicy(max_attempts=2, initial_interval=0.0001, jitter=0)

    def until_stopped(ctx):
        while not ctx.cancelled:
            pass
        return ctx.attempt

    flow = flow_of(until_stopped, async_=True, timeout=0.0001, retry=again)
    with Orchestrator(async_workers=2, stop_grace=0.0001, max_abandoned=1000) as orchestrator:
        run = often(5 * SOAK, lambda: orchestrator.start(flow).wait(GUARD))
        results = list(itertools.chain(*together(*[run] * SOME)))
        runtime = orchestrator._life._runtime
        held = runtime._brain.workers.held
    left = remaining_threads()

    assert {("failed", 2)} == {(each.status, each.steps["step"].attempts) for each in results}
    assert (0, [], 0) == (held, left, runtime._threads.abandoned)


def test_a_place_at_the_door_is_nobodys_twice_and_nobodys_never():
    """However many knock, wait, are turned away or come too late."""
    inside, most = [], []

    async def body(ctx):
        inside.append(ctx.run_id)
        most.append(len(inside))
        await asyncio.sleep(0)
        inside.remove(ctx.run_id)

    with Orchestrator(max_active_runs=2, max_queued_runs=1) as orchestrator:
        run = often(20 * SOAK, lambda: orchestrator.run(flow_of(body, async_=True)))
        together(*[run] * SOME)
        free = orchestrator._life.admission.free

    assert 2 >= max(most)
    assert 3 == free


def test_whoever_is_late_is_turned_away():
    """A start either gets a run that ends, or is refused; there is nothing between."""
    for _ in range(10 * SOAK):
        orchestrator = Orchestrator(max_active_runs=2, when_full="reject").__enter__()

        def starts(orchestrator=orchestrator):
            runs = []
            with contextlib.suppress(OrchestratorClosed):
                while True:
                    with contextlib.suppress(Overloaded):
                        runs.append(orchestrator.start(flow_of(lambda: 1)))
            return runs

        *started, report, same = together(
            *[starts] * SOME,
            functools.partial(orchestrator.shutdown, 0, 0.01),
            functools.partial(orchestrator.shutdown, GUARD),
        )

        assert report is same
        assert {True} >= {run.done for run in itertools.chain(*started)}
        for run in itertools.chain(*started):
            run.wait(0)


def test_a_life_that_is_ended_while_it_begins_has_ended():
    """Whichever comes first, nothing is left behind."""
    for _ in range(30 * SOAK):
        orchestrator = Orchestrator(observers=[lambda _event: None])

        def begins(orchestrator=orchestrator):
            with contextlib.suppress(OrchestratorClosed), orchestrator:
                orchestrator.run(flow_of(lambda: 1))

        together(begins, orchestrator.shutdown, functools.partial(orchestrator.shutdown, 0, 0))

        assert [] == remaining_threads()


def test_a_run_that_several_resume_goes_on_once():
    """The second caller gets the run of the first."""
    begun = []

    def body(ctx, fails):
        begun.append(ctx.run_id)
        if next(fails):
            raise OSError

    flow = flow_of(body)
    with Orchestrator() as orchestrator:
        for _ in range(20 * SOAK):
            failed = orchestrator.start(flow, {"fails": iter([True, False, True])})
            failed.wait(GUARD)
            again = together(*[lambda run=failed: orchestrator.resume(run.id, flow)] * SOME)

            assert {"completed"} == {run.wait(GUARD).status for run in again}
            assert 2 == begun.count(failed.id)


# ── Watching ─────────────────────────────────────────────────────────────────────────────────


def test_whoever_reads_a_run_misses_nothing_of_it():
    """Readers come and go, on threads and on loops of their own."""

    async def body():
        await asyncio.sleep(0)

    flow = Workflow("chain")
    for number in range(20):
        flow.step(body, id=f"s{number}", async_=True, after=[f"s{number - 1}"] if number else ())

    async def reads_async(run):
        return [event.number async for event in run.events()]

    def hops(run):
        for count in range(20):
            list(itertools.islice(run.events(), count))
        return [event.number for event in run.events()]

    with Orchestrator() as orchestrator:
        for _ in range(10 * SOAK):
            run = orchestrator.start(flow)
            reads = together(
                lambda run=run: [event.number for event in run.events()],
                lambda run=run: asyncio.run(reads_async(run)),
                functools.partial(hops, run),
            )

            assert [[*range(1, 64)]] * 3 == reads
        watchers = orchestrator._life._runtime.audience._watchers

    assert {} == watchers


def test_a_loop_of_the_programs_own_bears_threads_as_well():
    """Runs are started, watched and cancelled from threads while the loop itself shuts down."""

    async def body():
        await asyncio.sleep(0)

    async def life():
        async with Orchestrator(max_active_runs=50) as orchestrator:
            started = threading.Event()

            def starts():
                runs = []
                with contextlib.suppress(OrchestratorClosed):
                    while True:
                        runs.append(orchestrator.start(flow_of(body, async_=True)))
                        started.set()
                        runs[-1].cancel()
                        list(itertools.islice(runs[-1].events(), 2))
                return runs

            threads = asyncio.create_task(asyncio.to_thread(together, *[starts] * SOME))
            await asyncio.to_thread(started.wait, GUARD)
            await orchestrator.shutdown_async(drain=0, grace=0.01)
            return list(itertools.chain(*await threads))

    for _ in range(5 * SOAK):
        runs = asyncio.run(life())

        assert {"completed", "cancelled"} >= {run.wait(0).status for run in runs}


# ── Executors ────────────────────────────────────────────────────────────────────────────────


def test_a_thread_learns_what_it_runs_while_others_begin():
    """It asks again and again; meanwhile attempts come and go."""
    rig, release = ThreadRig(), threading.Event()
    for _ in range(50):
        rig.submit(release.wait)

    def asks():
        return {rig.executor.attempt_here() for _ in range(1_000 * SOAK)}

    asking = rig.submit(asks)
    while not rig.of(asking):
        rig.run(lambda: None)
    release.set()
    rig.close()

    assert [({asking}, None)] == rig.of(asking)
