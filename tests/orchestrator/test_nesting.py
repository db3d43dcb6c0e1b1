"""Steps that run workflows and wait for them, in the orchestrator that they themselves run in."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import pytest

from actorflow import Deadlock, Orchestrator, RunFailed, Step, Workflow, WrongLoop
from actorflow.orchestrator.deadlock import Nesting
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
def test_a_step_may_run_a_workflow_where_there_is_room(nest, async_):
    """One place more, and one worker more, than steps wait."""
    outer = flow_of(nest, async_=async_)
    with Orchestrator(max_active_runs=2, async_workers=2) as orchestrator:
        inputs = {"orchestrator": orchestrator, "inner": ASYNC_INNER}

        assert "inner" == orchestrator.run(outer, inputs).output


@every_way
def test_a_step_that_would_wait_for_its_own_place_is_told(nest):
    """Instead of waiting for ever; the run that it has started is let go."""
    with Orchestrator(max_active_runs=1) as orchestrator:
        inputs = {"orchestrator": orchestrator, "inner": INNER}
        with pytest.raises(RunFailed) as caught:
            orchestrator.run(flow_of(nest), inputs)
        stuck = caught.value.__cause__

        assert isinstance(stuck, Deadlock)
        assert stuck.__context__ is None
        assert ("step", "places", 1) == (stuck.step_id, stuck.shortage, stuck.limit)
        assert caught.value.result.run_id == stuck.run_id
        assert orchestrator.get(stuck.awaited).wait(GUARD).status.terminal


@every_way
def test_a_step_that_would_wait_for_its_own_worker_is_told(nest):
    """It holds the only one, which the other run's step needs."""
    with Orchestrator(async_workers=1) as orchestrator:
        inputs = {"orchestrator": orchestrator, "inner": ASYNC_INNER}
        with pytest.raises(RunFailed) as caught:
            orchestrator.run(flow_of(nest, async_=True), inputs)

        assert ("workers", 1) == (caught.value.__cause__.shortage, caught.value.__cause__.limit)


@every_way
@pytest.mark.parametrize(
    ("async_", "inner"), [(True, INNER), (False, ASYNC_INNER)], ids=["outside", "inside"]
)
def test_a_worker_that_is_not_needed_on_both_sides_is_enough(nest, async_, inner):
    """What waits holds the worker, or what is waited for uses it."""
    with Orchestrator(async_workers=1) as orchestrator:
        inputs = {"orchestrator": orchestrator, "inner": inner}

        assert "inner" == orchestrator.run(flow_of(nest, async_=async_), inputs).output


def test_a_run_that_is_past_its_async_steps_is_waited_for():
    """It needs no worker any more."""
    past, gate = threading.Event(), threading.Event()
    inner = Workflow("inner")
    inner.add(Step("first", work, async_=True))
    inner.add(Step("last", lambda: past.set() or gate.wait(GUARD), after="first"))

    async def wait_for(run):
        gate.set()
        return (await run).status

    with Orchestrator(async_workers=1) as orchestrator:
        run = orchestrator.start(inner)
        assert past.wait(GUARD)

        assert "completed" == orchestrator.run(flow_of(wait_for, async_=True), {"run": run}).output


@pytest.mark.parametrize("nest", [run_in, start_and_wait_in])
def test_the_last_one_to_wait_is_told_and_the_others_go_on(nest):
    """It gives up its place, which is all that they need."""
    both = threading.Barrier(2)

    def meet(orchestrator):
        both.wait(GUARD)
        return nest(orchestrator, INNER)

    with Orchestrator(max_active_runs=2) as orchestrator:
        runs = [orchestrator.start(flow_of(meet), {"orchestrator": orchestrator}) for _ in "ab"]
        results = [run.wait(GUARD) for run in runs]

    assert ["completed", "failed"] == sorted(result.status.value for result in results)
    assert {"inner", None} == {result.outputs.get("step") for result in results}


@pytest.mark.parametrize("start", ["start", "start_async"])
def test_a_step_that_would_wait_to_start_a_run_is_told(start):
    """No run gives up its place while all wait for one."""

    def on_thread(orchestrator):
        return orchestrator.start(INNER)

    async def on_loop(orchestrator):
        return await orchestrator.start_async(INNER)

    outer = flow_of(on_thread if start == "start" else on_loop)
    with Orchestrator(max_active_runs=1, max_queued_runs=0) as orchestrator:
        stuck = orchestrator.start(outer, {"orchestrator": orchestrator}).wait(GUARD).error

    assert isinstance(stuck, Deadlock)
    assert (None, "places") == (stuck.awaited, stuck.shortage)


def test_a_step_that_keeps_the_worker_that_others_need_to_leave_is_told():
    """It waits for a place, and they cannot end without what it keeps."""
    gate, started = threading.Event(), threading.Semaphore(0)
    other = Workflow("other")
    other.add(Step("first", lambda: started.release() or gate.wait(GUARD)))
    other.add(Step("last", work, async_=True, after="first"))

    with Orchestrator(max_active_runs=3, max_queued_runs=0, async_workers=1) as orchestrator:
        others = [orchestrator.start(other) for _ in "ab"]
        assert all(started.acquire(timeout=GUARD) for _ in others)
        inputs = {"orchestrator": orchestrator, "inner": INNER}
        stuck = orchestrator.start(flow_of(run_in, async_=True), inputs).wait(GUARD).error
        gate.set()

        assert (None, "workers") == (stuck.awaited, stuck.shortage)
        assert ["inner", "inner"] == [run.result(GUARD).output for run in others]


def test_a_step_that_waits_for_its_own_run_is_told():
    """However much room there is."""

    def wait(orchestrator, ctx):
        return orchestrator.get(ctx.run_id).wait()

    async def wait_on_loop(orchestrator, ctx):
        return await orchestrator.get(ctx.run_id)

    with Orchestrator() as orchestrator:
        for body in (wait, wait_on_loop):
            result = orchestrator.start(flow_of(body), {"orchestrator": orchestrator}).wait(GUARD)

            assert "itself" == result.error.shortage


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


def test_steps_of_runs_that_have_ended_count_no_more():
    """Their threads still wait, and keep nothing: neither a place nor a worker."""
    waits, gate = threading.Semaphore(0), threading.Event()

    def wait(blocked):
        waits.release()
        blocked.wait()

    with Orchestrator(max_active_runs=3, async_workers=3, stop_grace=0.01) as orchestrator:
        blocked = orchestrator.start(flow_of(lambda: gate.wait(GUARD)))
        for _ in "ab":
            run = orchestrator.start(flow_of(wait, async_=True), {"blocked": blocked})
            assert waits.acquire(timeout=GUARD)
            run.cancel("enough")
            run.wait(GUARD)
        inputs = {"orchestrator": orchestrator, "inner": ASYNC_INNER}
        output = orchestrator.run(flow_of(run_in, async_=True), inputs).output
        gate.set()

    assert "inner" == output


def test_another_orchestrator_has_places_of_its_own():
    """That is one of the cures."""
    with Orchestrator(max_active_runs=1) as outside, Orchestrator(max_active_runs=1) as inside:
        inputs = {"orchestrator": inside, "inner": INNER}

        assert "inner" == outside.run(flow_of(run_in), inputs).output


class Live(dict):
    """The runs in progress, by id, each with its plan."""

    def plan(self, run_id):
        """Return the plan of one."""
        return self.get(run_id)


@pytest.fixture
def nesting():
    """Two places, and the runs `a`, `b` and `c`."""
    live = Live(dict.fromkeys("abc", INNER.plan()))
    return Nesting(live, snapshot=None, max_active=2, async_workers=1)


def attempt_in(run_id):
    """An attempt of the run's step."""
    scope = SimpleNamespace(run_id=run_id)
    plan = INNER.plan().by_id["step"]
    return SimpleNamespace(scope=scope, step_id="step", plan=plan, cancelled=False)


def waits(nesting, attempt):
    """Whether an attempt may wait for the run `c`."""
    try:
        with nesting.waiting(attempt, "c", lambda: True):
            return True
    except Deadlock:
        return False


@pytest.mark.parametrize("change", ["came", "is to stop"])
def test_a_wait_that_is_over_or_about_to_be_does_not_count(nesting, change):
    """Between the end of a wait and its waiter's awakening others may ask."""
    came, first = threading.Event(), attempt_in("a")
    with nesting.waiting(first, "c", lambda: not came.is_set()):
        before = waits(nesting, attempt_in("b"))
        if change == "came":
            came.set()
        first.cancelled = change == "is to stop"
        after = waits(nesting, attempt_in("b"))

    assert (False, True) == (before, after)
    assert waits(nesting, attempt_in("b"))


def test_who_is_to_stop_may_wait(nesting):
    """It has to see what it started to its end."""
    stopping = attempt_in("b")
    stopping.cancelled = True
    with nesting.waiting(attempt_in("a"), "c", lambda: True):
        assert waits(nesting, stopping)
