"""Shutting down when it is least convenient: each case once hung, or lied."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
import time

import pytest

from actorflow import DefinitionError, Orchestrator, RetryPolicy, RunStatus, StepTimeout, Workflow
from actorflow.orchestrator.audience import Audience

GUARD = 60


def flow_of(body, **options):
    """A workflow of one step."""
    flow = Workflow("flow")
    flow.step(body, id="step", **options)
    return flow


def test_a_step_may_shut_down_the_orchestrator_that_runs_it():
    """On the loop's own thread, which cannot wait for itself."""

    async def step(inputs):
        await inputs["orchestrator"].shutdown_async(drain=0, grace=0.01)

    with Orchestrator() as orchestrator:
        run = orchestrator.start(flow_of(step, async_=True), {"orchestrator": orchestrator})
        ended = run.wait(GUARD)

    assert RunStatus.CANCELLED is ended.status
    assert (run.id,) == tuple(orchestrator.shutdown().cancelled)


def test_a_signal_handler_may_shut_down_while_a_shutdown_waits():
    """The second call comes on the thread that waits in the first one."""
    entered, release = threading.Event(), threading.Event()

    def step():
        entered.set()
        release.wait(GUARD)

    orchestrator = Orchestrator()
    reports = []

    def again(_number, _frame):
        release.set()
        reports.append(orchestrator.shutdown())

    before = signal.signal(signal.SIGUSR1, again)
    try:
        with orchestrator:
            orchestrator.start(flow_of(step))
            assert entered.wait(GUARD)
            main = threading.main_thread().ident
            timer = threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGUSR1))
            timer.start()
            first = orchestrator.shutdown(drain=GUARD)
            timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert [first] == reports
    assert 1 == first.drained


def test_a_reader_of_events_ends_when_its_run_is_cut_off():
    """The loop is closed under an orchestrator that runs on it."""
    loop, orchestrator = asyncio.new_event_loop(), Orchestrator()
    release, read = threading.Event(), []

    async def begin():
        await orchestrator.__aenter__()
        return orchestrator.start(flow_of(lambda: release.wait(GUARD)))

    run = loop.run_until_complete(begin())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    reader = threading.Thread(target=lambda: read.extend(run.events()))
    reader.start()
    orchestrator.shutdown(drain=0, grace=0)
    release.set()
    reader.join(GUARD)

    assert not reader.is_alive()


def test_a_reader_that_leaves_hides_nothing_from_one_that_stays():
    """Whoever looks without the lock sees the one who stays at every instant."""
    audience, over, heard = Audience(()), threading.Event(), []

    def come_and_go():
        while not over.is_set():
            audience.watch("run", come_and_go)
            audience.unwatch("run", come_and_go)

    def look():
        heard.append(True)

    audience.watch("run", look)
    other, interval = threading.Thread(target=come_and_go), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        other.start()
        seen = [look in audience._watchers.get("run", ()) for _ in range(20_000)]
    finally:
        sys.setswitchinterval(interval)
        over.set()
    other.join(GUARD)
    audience.notify("run")

    assert all(seen)
    assert [True] == heard


def test_many_hanging_observers_share_one_grace():
    """Their graces do not add up, and the report names each."""
    release = threading.Event()
    observers = [lambda _event: release.wait(GUARD) for _ in range(8)]
    orchestrator = Orchestrator(observers=observers)
    with orchestrator:
        orchestrator.run(flow_of(lambda: None))
        report = orchestrator.shutdown(drain=0, grace=0.05)
        release.set()

    assert 8 == len([line for line in report.abandoned if "has not returned" in line])


def test_a_shutdown_may_drain_for_longer_than_a_lock_can_wait():
    """A very long time is not an overflow after the door has been closed."""
    with Orchestrator() as orchestrator:
        orchestrator.start(flow_of(lambda: None))
        report = orchestrator.shutdown(drain=1e10)

    assert () == tuple(report.cancelled)


@pytest.mark.parametrize("option", ["time_out", "prio", "url"])
def test_an_option_that_does_not_exist_is_refused(option):
    """A misspelt timeout is no timeout."""
    with Orchestrator() as orchestrator, pytest.raises(TypeError, match=f"no option '{option}'"):
        orchestrator.run(flow_of(lambda: None), **{option: 1})


@pytest.mark.parametrize(
    "arguments",
    [{"state": 20}, {"observers": print}, {"observers": ["x"]}],
    ids=["state", "no list", "no callable"],
)
def test_an_orchestrator_refuses_what_it_cannot_use(arguments):
    """At once, and not when it is shut down."""
    with pytest.raises(DefinitionError):
        Orchestrator(**arguments)


def test_a_coroutine_that_blocks_the_loop_beyond_its_timeout_has_timed_out():
    """No timer could fire in the meantime, and still the timeout is kept."""

    async def blocks():
        time.sleep(0.2)  # noqa: ASYNC251 - the very mistake

    with Orchestrator() as orchestrator:
        run = orchestrator.start(flow_of(blocks, async_=True, timeout=0.05))
        ended = run.wait(GUARD)

    assert isinstance(ended.error, StepTimeout)
    assert "step.timed_out" in [event.kind for event in run._runtime.state.events(run.id)]


@pytest.mark.parametrize("panic", [SystemExit, KeyboardInterrupt])
def test_a_text_that_cannot_be_made_fails_its_run_and_nothing_else(panic):
    """Not even the error that says so needs it."""

    class Broken(Exception):
        """An error whose text is a trap."""

        def __str__(self):
            raise panic

        __repr__ = __str__

    def step():
        raise Broken

    with Orchestrator() as orchestrator:
        policy = RetryPolicy(retryable_errors="never")
        broken = orchestrator.start(flow_of(step, retry=policy)).wait(GUARD)
        fine = orchestrator.run(flow_of(lambda: "fine"))

    assert (RunStatus.FAILED, "fine") == (broken.status, fine.output)


def test_the_grace_of_a_shutdown_reaches_runs_that_are_ending_already():
    """Those that were cancelled before, and had been given an hour for it."""

    async def main():
        entered, asked, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def stubborn():
            entered.set()
            while not stop.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await stop.wait()
                asked.set()

        async with Orchestrator(stop_grace=3600.0) as orchestrator:
            run = orchestrator.start(flow_of(stubborn, async_=True))
            await entered.wait()
            run.cancel("enough")
            await asked.wait()
            report = await asyncio.wait_for(orchestrator.shutdown_async(0, 0.01), GUARD)
        stop.set()
        return run.wait(), report

    ended, report = asyncio.run(main())

    assert (RunStatus.CANCELLED, "enough") == (ended.status, ended.reason)
    assert ["step 'step'" in line for line in report.abandoned] == [True]
