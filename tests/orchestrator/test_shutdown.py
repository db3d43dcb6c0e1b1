"""Shutting down at the least convenient moment: each case once hung or returned a wrong report."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from actorflow import (
    Orchestrator,
    OrchestratorClosed,
    RunStatus,
)
from tests.support.flows import GUARD, endless, flow_of, in_thread, seen, until_closing
from tests.support.thread_races import remaining_threads


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


def test_a_reader_of_events_is_told_when_its_run_is_cut_off():
    """The loop is closed under an orchestrator that runs on it."""
    loop, orchestrator = asyncio.new_event_loop(), Orchestrator()
    release, read = threading.Event(), []

    async def begin():
        await orchestrator.__aenter__()
        return orchestrator.start(flow_of(lambda: release.wait(GUARD)))

    run = loop.run_until_complete(begin())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    with ThreadPoolExecutor(1) as reader:
        reading = reader.submit(lambda: read.extend(run.events()))
        orchestrator.shutdown(drain=0, grace=0)
        release.set()
        with pytest.raises(OrchestratorClosed, match="cut off"):
            reading.result(GUARD)


def test_a_run_that_its_client_cancels_during_the_drain_is_not_drained(gate):
    """It did not end by itself, and the shutdown did not cut it."""
    with Orchestrator() as orchestrator:
        run, other = orchestrator.start(flow_of(endless)), orchestrator.start(gate.flow)
        seen(run, "step.started")
        with ThreadPoolExecutor(1) as caller:
            report = caller.submit(orchestrator.shutdown, drain=GUARD)
            while not _is_closed(orchestrator):
                pass
            run.cancel()
            run.wait(GUARD)
            gate.open()

    assert ("cancelled", "completed") == (run.status, other.status)
    assert (1, (), True) == (
        report.result().drained,
        report.result().cancelled,
        report.result().clean,
    )


def _is_closed(orchestrator):
    try:
        orchestrator.list()
    except OrchestratorClosed:
        return True
    return False


def test_a_shutdown_may_drain_for_longer_than_a_lock_can_wait():
    """The longest times that are accepted are not an overflow after the door has been closed."""
    longest = 9_223_372_036
    with Orchestrator() as orchestrator:
        orchestrator.start(flow_of(lambda: None))
        report = orchestrator.shutdown(drain=longest, grace=longest)

    assert () == tuple(report.cancelled)


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


# ── The thread of the loop ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("in_a_step", [True, False])
def test_a_loop_thread_that_does_not_end_is_in_the_report(impatient, in_a_step):
    """A task on it refuses to be cancelled, be it a step's own or one that a step left behind."""
    release, made = threading.Event(), []

    async def stubborn():
        made.append(asyncio.current_task())
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)

    async def leaves_one_behind():
        asyncio.create_task(stubborn(), name="left behind")  # noqa: RUF006 - `made` holds it
        await asyncio.sleep(0)

    orchestrator = Orchestrator(stop_grace=0.01)
    with orchestrator:
        run = orchestrator.start(flow_of(stubborn if in_a_step else leaves_one_behind))
        next(event for event in run.events() if event.kind == "step.started")
        if not in_a_step:
            run.wait(GUARD)
        report = orchestrator.shutdown(drain=0, grace=0.01)
    again = orchestrator.shutdown()
    release.set()

    name = f"step step of run {run.id}" if in_a_step else "left behind"
    left = f"the event loop's thread has not ended; tasks left on it: {name}"
    assert left == report.abandoned[-1]
    assert (report, False) == (again, report.clean)
    assert [] == remaining_threads()


def test_a_loop_that_cannot_be_made_fails_the_start(monkeypatch):
    """For example without free file descriptors; the start does not hang."""

    def fails():
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(asyncio.events, "new_event_loop", fails)
    orchestrator = Orchestrator()
    with pytest.raises(OSError, match="Too many open files"):
        orchestrator.__enter__()

    assert orchestrator.shutdown().clean
    assert [] == remaining_threads()


# ── Patience ─────────────────────────────────────────────────────────────────────────────────


def in_progress(orchestrator):
    """Start a run, and return it when it cannot end by itself."""
    run = orchestrator.start(flow_of(endless, async_=True))
    next(event for event in run.events() if event.kind == "step.started")
    return run


def test_the_least_patient_decides_how_long_it_drains():
    """A second call is not a second opinion: both get the report of the one shutdown."""
    with Orchestrator() as orchestrator:
        run = in_progress(orchestrator)
        patient = in_thread(lambda: orchestrator.shutdown(drain=3600))
        until_closing(orchestrator)
        report = orchestrator.shutdown(drain=0)

    assert report is patient.result(GUARD)
    assert ((run.id,), ()) == (report.cancelled, report.abandoned)
    assert RunStatus.CANCELLED is run.status


def test_an_impatient_caller_does_not_take_a_long_drain_for_a_blocked_loop(impatient):
    """His own limits are short, those of the shutdown that he finds are not."""
    entered, release = threading.Event(), threading.Event()

    def step():
        entered.set()
        release.wait(GUARD)

    with Orchestrator() as orchestrator:
        run = orchestrator.start(flow_of(step))
        assert entered.wait(GUARD)
        patient = in_thread(lambda: orchestrator.shutdown(drain=3600, grace=GUARD))
        until_closing(orchestrator)
        hasty = in_thread(lambda: orchestrator.shutdown(drain=0, grace=0))
        while not orchestrator._life._runtime._brain.runs[run.id].ending:
            threading.Event().wait(0.001)
        concurrent.futures.wait([hasty], 0.5)
        release.set()

    assert hasty.result(GUARD) is patient.result(GUARD)
    assert "does not turn" not in str(hasty.result().abandoned)


@pytest.fixture
def interrupt():
    """Raise Ctrl-C in the main thread; the handler is put back afterwards."""

    def raises(_number, _frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, raises)
    yield lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def test_a_shutdown_that_is_interrupted_goes_on_without_its_caller(interrupt):
    """It stops draining, and no thread stays, although its caller has gone."""
    orchestrator = Orchestrator().__enter__()
    run = in_progress(orchestrator)
    interrupted = in_thread(lambda: (until_closing(orchestrator), interrupt()))
    with pytest.raises(KeyboardInterrupt):
        orchestrator.shutdown(drain=3600)
    interrupted.result(GUARD)

    assert RunStatus.CANCELLED is run.wait(GUARD).status
    assert [] == remaining_threads()
    assert (run.id,) == orchestrator.shutdown().cancelled


@pytest.mark.parametrize("own_loop", [True, False])
def test_cancelling_who_awaits_a_shutdown_cuts_the_drain(own_loop):
    """On the loop that it runs on, and on any other."""

    async def shut_down(orchestrator):
        closes = asyncio.ensure_future(orchestrator.shutdown_async(drain=3600))
        while orchestrator._life._closing is None:  # noqa: ASYNC110 - there is no event to await
            await asyncio.sleep(0)
        closes.cancel()
        await asyncio.gather(closes, return_exceptions=True)
        return closes.cancelled()

    async def here():
        async with Orchestrator() as orchestrator:
            run = orchestrator.start(flow_of(endless, async_=True))
            cancelled = await shut_down(orchestrator)
            return cancelled, await run.wait_async()

    def there():
        with Orchestrator() as orchestrator:
            run = in_progress(orchestrator)
            cancelled = asyncio.run(shut_down(orchestrator))
            return cancelled, run.wait(GUARD)

    cancelled, ended = asyncio.run(here()) if own_loop else there()

    assert (True, RunStatus.CANCELLED) == (cancelled, ended.status)
    assert [] == remaining_threads()


def test_a_block_that_is_cancelled_while_it_drains_takes_its_runs_along():
    """They have ended, and cleaned up, when the cancellation leaves the block."""
    log = []

    async def cleans_up(entered):
        try:
            entered.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            log.append("the step has ended")

    async def block():
        entered = asyncio.Event()
        try:
            async with Orchestrator() as orchestrator:
                orchestrator.start(flow_of(cleans_up, async_=True), {"entered": entered})
                await entered.wait()
                asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)
        finally:
            log.append("the block has ended")

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(block())

    assert ["the step has ended", "the block has ended"] == log
    assert [] == remaining_threads()


def test_a_loop_that_ends_in_the_middle_of_a_shutdown_leaves_no_thread():
    """Its tasks are cancelled, that of the shutdown among them; waiting callers are told."""
    orchestrator = Orchestrator(observers=[lambda _event: None])
    release = threading.Event()

    async def main():
        await orchestrator.__aenter__()
        run = orchestrator.start(flow_of(lambda: release.wait(GUARD)))
        async for event in run.events():
            if event.kind == "step.started":
                break
        closes = asyncio.ensure_future(orchestrator.shutdown_async(drain=3600))
        while orchestrator._life._closing is None:  # noqa: ASYNC110 - there is no event to await
            await asyncio.sleep(0)
        return run, closes

    run, closes = asyncio.run(main())
    release.set()

    assert closes.cancelled()
    with pytest.raises(OrchestratorClosed):
        run.wait(GUARD)
    assert [] == remaining_threads()
    assert (run.id,) == orchestrator.shutdown().cancelled
