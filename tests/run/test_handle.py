"""`Run`: waiting for a run, stopping it, and reading what happened in it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import re
import threading
import traceback
from datetime import timedelta

import pytest

from actorflow import (
    MemoryStateManager,
    Orchestrator,
    RetryPolicy,
    Run,
    RunCancelled,
    RunFailed,
    RunNotFound,
    RunResult,
    RunStatus,
    RunTimeout,
    Workflow,
    WrongLoop,
)
from actorflow.errors.definition import DefinitionError
from actorflow.errors.running import DeadlineExceeded
from actorflow.support.oneshot import Once
from tests.support.flows import GUARD, broken, endless, fine, flow_of, seen

KINDS = [
    *("run.accepted", "run.started", "step.ready", "step.started", "step.completed"),
    "run.completed",
]


async def broken_on_loop():
    """Be a coroutine that fails after a while."""
    await asyncio.sleep(0)
    broken()


def kinds(events):
    """What happened, as texts."""
    return [event.kind.value for event in events]


# ── Waiting ──────────────────────────────────────────────────────────────────────────────────


def test_a_run_is_there_at_once(orchestrator, gate):
    """Its id, its workflow and its state can be asked for while it goes on."""
    run = orchestrator.start(gate.flow)
    seen(run, "step.started")

    assert (False, "running", "gate") == (run.done, run.status, run.workflow_id)
    assert f"<Run {run.id} of 'gate', in progress>" == repr(run)


def test_a_run_that_has_ended_says_so(orchestrator):
    """Without being asked twice."""
    run = orchestrator.start(flow_of(fine))
    run.wait(GUARD)

    assert (True, RunStatus.COMPLETED) == (run.done, run.status)
    assert f"<Run {run.id} of 'flow', completed>" == repr(run)


def test_waiting_returns_the_result_whatever_it_is(orchestrator):
    """A failure and a cancellation are values here."""
    runs = [orchestrator.start(flow_of(body)) for body in (fine, broken, endless)]
    runs[2].cancel()

    results = [run.wait(GUARD) for run in runs]

    assert ["completed", "failed", "cancelled"] == [result.status for result in results]
    assert [run.id for run in runs] == [result.run_id for result in results]


def test_a_wait_that_is_too_short_leaves_the_run_alone(orchestrator, gate):
    """It is no `RunTimeout`: the run goes on and is waited for again."""
    run = orchestrator.start(gate.flow)

    with pytest.raises(TimeoutError, match="it goes on") as caught:
        run.wait(0.001)
    with pytest.raises(TimeoutError):
        run.result(timeout=0)
    gate.open()

    assert not isinstance(caught.value, RunTimeout)
    assert run.result(GUARD).output is True


@pytest.mark.parametrize("timeout", [timedelta(0), timedelta(seconds=-1), -1, 0.001])
def test_a_wait_may_be_as_short_as_nothing(orchestrator, gate, timeout):
    """Seconds or a `timedelta`; a moment that has passed is a wait of nothing."""
    run = orchestrator.start(gate.flow)

    for wait in (run.wait, run.result):
        with pytest.raises(TimeoutError, match="it goes on"):
            wait(timeout)


@pytest.mark.parametrize("timeout", ["5", True, float("nan")])
def test_a_wait_that_makes_no_sense_is_refused(orchestrator, timeout):
    """Also for a run that has ended."""
    run = orchestrator.start(flow_of(fine))
    run.wait(timedelta(seconds=GUARD))

    with pytest.raises(DefinitionError, match=f"timeout must be a number of .* got {timeout!r}"):
        run.wait(timeout)


def test_any_number_of_threads_may_wait(orchestrator, gate):
    """They all get the same result."""
    run, results = orchestrator.start(gate.flow), []
    waiting = [threading.Thread(target=lambda: results.append(run.wait(GUARD))) for _ in range(8)]
    for thread in waiting:
        thread.start()
    gate.open()
    for thread in waiting:
        thread.join(GUARD)

    assert 8 == len(results)
    assert {id(run.wait())} == {id(result) for result in results}


def test_the_output_is_that_of_the_last_step_or_of_the_last_steps(orchestrator):
    """One last step gives its own output, several a dictionary."""
    flow = Workflow("flow")
    flow.step(lambda: 1, id="a")
    flow.step(lambda a: a + 1, id="b", after="a")
    one = orchestrator.run(flow)
    flow.step(lambda a: a + 2, id="c", after="a")
    two = orchestrator.run(flow)

    assert (2, {"a": 1, "b": 2}) == (one.output, one.outputs)
    assert ({"b": 2, "c": 3}, {"a": 1, "b": 2, "c": 3}) == (two.output, two.outputs)


def test_a_result_has_times_that_fit_together(orchestrator):
    """The run spans its steps."""
    flow = Workflow("flow")
    flow.step(lambda: 1, id="a")
    flow.step(lambda: 2, id="b", after="a")
    result = orchestrator.run(flow)

    a, b = result.steps["a"], result.steps["b"]
    moments = [
        result.started_at,
        a.started_at,
        a.finished_at,
        b.started_at,
        b.finished_at,
        result.finished_at,
    ]
    assert sorted(moments) == moments
    assert result.duration == result.finished_at - result.started_at
    assert a.duration == a.finished_at - a.started_at


# ── Raising ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("body", [broken, broken_on_loop])
def test_a_failure_is_chained_from_the_steps_own_error_with_its_traceback(orchestrator, body):
    """The innermost line is the one in the step that raised; `run` raises as `result` does."""
    run = orchestrator.start(flow_of(body))

    with pytest.raises(RunFailed) as caught:
        run.result(GUARD)
    with pytest.raises(RunFailed):
        orchestrator.run(flow_of(body))

    cause = caught.value.__cause__
    assert ('LookupError("the step\'s own")', run.wait()) == (repr(cause), caught.value.result)
    assert (
        'raise LookupError("the step\'s own")' == traceback.extract_tb(cause.__traceback__)[-1].line
    )
    assert f"run {run.id!r} of workflow 'flow' failed: step 'step', attempt 1" in str(caught.value)


def test_a_failure_can_be_raised_any_number_of_times(orchestrator):
    """Each time a new exception: they do not grow each other's tracebacks."""
    run = orchestrator.start(flow_of(broken))
    depths = []
    for _ in range(3):
        with pytest.raises(RunFailed) as caught:
            run.result(GUARD)
        depths.append(len(traceback.extract_tb(caught.value.__cause__.__traceback__)))

    assert 1 == len(set(depths))


def test_a_cancellation_carries_its_reason_and_the_result(orchestrator):
    """The text says why, and what had been completed is there."""
    flow = Workflow("flow")
    flow.step(fine)
    flow.step(endless, after=fine)
    run = orchestrator.start(flow)
    list(itertools.takewhile(lambda event: event.step_id != "endless", run.events()))
    run.cancel("enough of it")

    with pytest.raises(RunCancelled, match="was cancelled: enough of it") as caught:
        run.result(GUARD)

    assert {"fine": "fine"} == caught.value.result.outputs
    assert "enough of it" == caught.value.result.reason


def test_a_runs_own_timeout_is_an_error_of_its_own(orchestrator):
    """It is neither a failure of a step nor a wait that was too short."""
    run = orchestrator.start(flow_of(endless), timeout=0.01)

    with pytest.raises(RunTimeout) as caught:
        run.result(GUARD)

    assert not isinstance(caught.value, (TimeoutError, RunFailed))
    assert isinstance(caught.value.__cause__, DeadlineExceeded)
    assert (RunStatus.FAILED, None) == (
        caught.value.result.status,
        caught.value.result.failed_step,
    )


# ── Awaiting ─────────────────────────────────────────────────────────────────────────────────


def test_a_run_is_awaited_on_any_loop(orchestrator):
    """Not only on its own; it raises as `result` does, and `wait_async` never."""
    run, failed = orchestrator.start(flow_of(fine)), orchestrator.start(flow_of(broken))

    async def main():
        with pytest.raises(RunFailed):
            await failed
        return (await run).output, (await run.wait_async()).output, await failed.wait_async()

    output, again, failure = asyncio.run(main())

    assert ("fine", "fine", RunStatus.FAILED) == (output, again, failure.status)


def test_a_run_is_awaited_on_its_own_loop():
    """In a block that shares the caller's loop."""

    async def main():
        async with Orchestrator() as orchestrator:
            return (await orchestrator.start(flow_of(fine))).output

    assert "fine" == asyncio.run(main())


def test_cancelling_one_who_awaits_leaves_the_run_and_the_others_alone(orchestrator, gate):
    """To await is to watch, not to own."""
    run = orchestrator.start(gate.flow)

    async def main():
        impatient = asyncio.ensure_future(run.wait_async())
        patient = asyncio.ensure_future(run.wait_async())
        await asyncio.sleep(0)
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        gate.open()
        return await patient

    result = asyncio.run(main())

    assert (RunStatus.COMPLETED, True) == (result.status, result.output)


def futures():
    """All futures of asyncio's that are alive."""
    gc.collect()
    return [thing for thing in gc.get_objects() if isinstance(thing, asyncio.Future)]


def test_whoever_stops_awaiting_leaves_nothing_with_the_run(orchestrator, gate):
    """A loop that looks in again and again, with a timeout, does not make the run grow."""
    run = orchestrator.start(gate.flow)

    async def look_in(times):
        for _ in range(times):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(run.wait_async(), 0)
            impatient = asyncio.ensure_future(run.wait_async())
            await asyncio.sleep(0)
            impatient.cancel()
            await asyncio.wait([impatient])

    asyncio.run(look_in(1))
    before = len(futures())
    asyncio.run(look_in(50))

    assert (before, {}) == (len(futures()), run._end._waiting)


class EndsWhileAsked:
    """A runtime whose run ends in the instant in which a caller begins to await it."""

    def __init__(self, result):
        self.end = Once()
        self._result = result

    def check_process(self):
        """End the run."""
        self.end.set(self._result)

    def staying(self):
        """Keep nothing in memory: no step asks."""
        return contextlib.nullcontext()

    async def wait_async(self, _run_id, end):
        """Mind nothing."""
        return await end.result_async()


def test_a_run_that_ends_while_somebody_gets_in_line_is_not_waited_for(orchestrator):
    """It looked while the run went on, and gets in line when all have been told."""
    result = orchestrator.run(flow_of(fine))
    runtime = EndsWhileAsked(result)
    run = Run(runtime, "run", "flow", runtime.end)

    assert result is asyncio.run(asyncio.wait_for(run.wait_async(), GUARD))


def left_on_a_closed_loop(run):
    """Await a run on a loop that is closed then; return the task, which will never finish."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(run.wait_async())
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    return task


def test_somebody_who_awaited_on_a_loop_that_is_gone_keeps_nobody_else_waiting(orchestrator, gate):
    """The run ends, and the others hear of it, whether they began before or after."""
    run = orchestrator.start(gate.flow)
    left = [left_on_a_closed_loop(run)]

    async def stay():
        staying = asyncio.ensure_future(run.wait_async())
        await asyncio.sleep(0)
        left.append(await asyncio.to_thread(left_on_a_closed_loop, run))
        gate.open()
        return (await asyncio.wait_for(staying, GUARD)).status

    status = asyncio.run(stay())
    for task in left:
        task._log_destroy_pending = False
        task.get_coro().close()

    assert RunStatus.COMPLETED is status


def test_blocking_the_runs_own_loop_is_refused():
    """It could never end; a run that has ended does not block."""

    async def main():
        async with Orchestrator() as orchestrator:
            run = orchestrator.start(flow_of(fine))
            for call, instead in (
                (run.wait, "await run.wait_async()"),
                (run.result, "await run"),
                (lambda: list(run.events()), "async for event in run.events()"),
            ):
                with pytest.raises(WrongLoop, match=re.escape(f"Instead, use `{instead}`.")):
                    call()
            await run
            return run.wait().output, run.result().output, kinds(run.events())

    assert ("fine", "fine", KINDS) == asyncio.run(main())


def test_a_coroutine_step_may_not_block_its_loop_either(orchestrator, gate):
    """The error reaches the step that tried."""
    other = orchestrator.start(gate.flow)

    async def step():
        other.wait()

    assert isinstance(orchestrator.start(flow_of(step)).wait(GUARD).error, WrongLoop)


def test_a_thread_step_may_wait_for_another_run(orchestrator, gate):
    """It blocks only its own thread."""
    other = orchestrator.start(gate.flow)

    def step():
        gate.open()
        return other.wait(GUARD).status

    assert "completed" == orchestrator.run(flow_of(step)).output


# ── Cancelling ───────────────────────────────────────────────────────────────────────────────


def test_cancelling_returns_at_once_and_says_by_whom(orchestrator):
    """The default reason blames the owner."""
    run = orchestrator.start(flow_of(endless))

    assert run.cancel() is None
    assert "cancelled by its owner" == run.wait(GUARD).reason


def test_a_step_may_cancel_its_own_run(orchestrator):
    """From a thread or on the loop: the step is told to stop like any other."""

    def on_thread(ctx):
        orchestrator.get(ctx.run_id).cancel("from within")
        while not ctx.cancelled:
            stop.wait(0.001)

    async def on_loop(ctx):
        orchestrator.get(ctx.run_id).cancel("from within")
        await asyncio.Event().wait()

    stop = threading.Event()
    results = [orchestrator.start(flow_of(body)).wait(GUARD) for body in (on_thread, on_loop)]

    assert [("cancelled", "from within")] * 2 == [(r.status, r.reason) for r in results]


def test_a_run_is_cancelled_from_any_loop(orchestrator):
    """Here by a task of a loop that knows nothing of the run."""
    run = orchestrator.start(flow_of(endless))

    async def main():
        run.cancel()
        return (await run.wait_async()).status

    assert "cancelled" == asyncio.run(main())


# ── Events ───────────────────────────────────────────────────────────────────────────────────


def test_events_are_read_live_from_the_first_to_the_last(orchestrator, gate):
    """The reader meets the step's start before the step may end."""
    told = []
    for event in orchestrator.start(gate.flow).events():
        told.append(event.kind.value)
        if event.kind == "step.started":
            gate.open()

    assert KINDS == told


@pytest.mark.parametrize("on_its_own_loop", [True, False])
def test_events_are_read_live_with_async_for(on_its_own_loop, orchestrator, gate):
    """On the run's own loop or on any other."""

    async def read(run):
        told = []
        async for event in run.events():
            told.append(event.kind.value)
            if event.kind == "step.started":
                gate.open()
        return told

    async def here():
        async with Orchestrator() as mine:
            return await read(mine.start(gate.flow))

    told = asyncio.run(here() if on_its_own_loop else read(orchestrator.start(gate.flow)))

    assert KINDS == told


def test_a_late_reader_misses_nothing(orchestrator):
    """The stream begins with the first event, also when the last one has long been written."""
    run = orchestrator.start(flow_of(fine))
    run.wait(GUARD)
    stream = run.events()

    async def read():
        return [event async for event in stream]

    first, second, third = list(stream), list(stream), asyncio.run(read())

    assert KINDS == kinds(first)
    assert first == second == third


def test_readers_do_not_disturb_each_other(orchestrator, gate):
    """One begins before the other, one leaves early, and a slow one delays neither."""
    run = orchestrator.start(gate.flow)
    slow, hasty = iter(run.events()), iter(run.events())
    begun = next(slow)
    next(hasty)
    hasty.close()
    gate.open()
    run.result(GUARD)

    assert KINDS == kinds([begun, *slow])


def test_a_reader_that_leaves_is_forgotten(orchestrator, gate):
    """Whether it breaks off, is closed, or reads to the end."""
    run = orchestrator.start(gate.flow)
    seen(run, "step.started")

    async def leave():
        async for event in run.events():
            if event.kind == "step.started":
                break

    asyncio.run(leave())
    gate.open()
    list(run.events())

    assert {} == orchestrator._life.runtime("look").audience._watchers


def test_many_events_are_read_in_pages_without_a_gap(orchestrator):
    """More than a reader fetches at a time."""
    flow = Workflow("flow")
    for number in range(400):
        flow.step(fine, id=f"s{number}", async_=True)
    run = orchestrator.start(flow)

    numbers = [event.number for event in run.events()]

    assert list(range(1, 3 + 3 * 400 + 1)) == numbers


def test_a_reader_waits_through_a_resumption(orchestrator):
    """A stream of the resumed run has both lives."""
    left = iter([OSError()])

    def step():
        for error in left:
            raise error

    flow = flow_of(step)
    first = orchestrator.start(flow)
    first.wait(GUARD)

    told = kinds(orchestrator.resume(first.id, flow).events())

    assert "run.failed" == told[5]
    assert ["run.resumed", *KINDS[2:]] == told[6:]


def test_a_reader_whose_loop_is_gone_does_not_break_the_run(orchestrator, gate):
    """Its loop closes in the instant in which the run would wake it."""

    class Closing(asyncio.SelectorEventLoop):
        def call_soon_threadsafe(self, *arguments, **options):
            raise RuntimeError("Event loop is closed")

    run, loop = orchestrator.start(gate.flow), Closing()
    seen(run, "step.started")
    reader = aiter(run.events())
    loop.run_until_complete(anext(reader))
    gate.open()
    try:
        result = run.wait(GUARD / 3)
    finally:
        loop.run_until_complete(reader.aclose())
        loop.close()

    assert (RunStatus.COMPLETED, True) == (result.status, result.output)


# ── Looking back ─────────────────────────────────────────────────────────────────────────────


def test_a_snapshot_is_the_run_at_one_instant(orchestrator, gate):
    """It does not change when the run does."""
    flow = flow_of(lambda n: gate.opened.wait(n * GUARD))
    run = orchestrator.start(flow, {"n": 1}, metadata={"m": 2}, priority=3)
    seen(run, "step.started")
    before = run.snapshot()
    gate.open()
    run.result(GUARD)
    after = run.snapshot()

    assert (RunStatus.RUNNING, "running", None) == (
        before.status,
        before.steps["step"].status,
        before.finished_at,
    )
    assert (RunStatus.COMPLETED, {"step": True}) == (after.status, after.outputs)
    assert ({"n": 1}, {"m": 2}, 3) == (after.inputs, after.metadata, after.priority)
    assert after.created_at <= after.started_at <= after.finished_at


def test_a_handle_outlives_the_memory_of_its_run(gate):
    """The result is its own; the record is the state manager's."""
    with Orchestrator(MemoryStateManager(max_runs=1)) as orchestrator:
        old = orchestrator.start(flow_of(fine))
        old.wait(GUARD)
        orchestrator.run(flow_of(fine))

        assert ("fine", "completed") == (old.result().output, old.status)
        for forgotten in (old.snapshot, old.events, lambda: orchestrator.get(old.id)):
            with pytest.raises(RunNotFound, match=old.id):
                forgotten()


def test_a_handle_outlives_its_orchestrator():
    """After the shutdown everything can still be read."""
    with Orchestrator() as orchestrator:
        run = orchestrator.start(flow_of(fine))
    run.cancel("too late")

    assert "fine" == run.result().output
    assert (KINDS, RunStatus.COMPLETED) == (kinds(run.events()), run.snapshot().status)


def test_a_run_that_is_looked_up_is_the_run(orchestrator, gate):
    """In progress it is the same handle, afterwards an equal result."""
    run = orchestrator.start(gate.flow)
    live = orchestrator.get(run.id)
    gate.open()
    result = run.wait(GUARD)
    finished = orchestrator.get(run.id)

    assert run is live
    assert (result, True, KINDS) == (finished.wait(), finished.done, kinds(finished.events()))


def test_a_failed_run_that_is_looked_up_raises_as_it_did(orchestrator):
    """The error is kept with its traceback and the step's attempts."""
    run = orchestrator.start(
        flow_of(broken, retry=RetryPolicy(max_attempts=2, initial_interval=0.001))
    )
    first = run.wait(GUARD)

    with pytest.raises(RunFailed, match="attempt 2") as caught:
        orchestrator.get(run.id).result()

    assert first.error is caught.value.__cause__
    assert isinstance(caught.value.result, RunResult)
