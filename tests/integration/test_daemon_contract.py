"""What a long-running program may rely on when it embeds actorflow.

It is a guest: it changes nothing in the process that it does not put back, it holds nothing up,
it leaves nothing behind, and whatever a step does is the step's own affair.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import weakref
from pathlib import Path

import pytest
import structlog
from thespian.actors import ActorSystem

from actorflow import (
    MemoryStateManager,
    Orchestrator,
    OrchestratorClosed,
    RetryPolicy,
    RunStatus,
    Workflow,
    WrongLoop,
)
from actorflow.actors.run import RunActor
from actorflow.actors.step import StepActor
from actorflow.executors import ThreadExecutor
from actorflow.model.context import Attempt
from actorflow.scheduling.ledger import RunState, StepState
from actorflow.systems.delivery import Cell
from tests.support.flows import (
    GUARD,
    broken,
    endless,
    fine,
    flow_of,
    in_thread,
    seen,
    until_closing,
)

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("nothing_stays")


# ── Programs that end by themselves ──────────────────────────────────────────────────────────

PRELUDE = """
import asyncio, atexit, logging, os, signal, sys, threading

from actorflow import *

hanging = threading.Event()

def flow_of(run, **options):
    flow = Workflow("flow")
    flow.step(run, id="step", **options)
    return flow

def hangs():
    hanging.wait()

async def endless():
    await asyncio.Event().wait()

async def stubborn():
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

def started(run):
    return next(event for event in run.events() if event.kind == "step.started")
"""

# The program, and the exit code that is expected of it. What they print is expected to be `end`.
PROGRAMS = {
    "forgets to shut down": (
        """
        orchestrator = Orchestrator().__enter__()
        orchestrator.run(flow_of(lambda: 1))
        print("end")
        """,
        0,
    ),
    "forgets the orchestrator itself": (
        """
        started(Orchestrator().__enter__().start(flow_of(endless)))
        print("end")
        """,
        0,
    ),
    "forgets a run in progress": (
        """
        orchestrator = Orchestrator().__enter__()
        started(orchestrator.start(flow_of(endless)))
        print("end")
        """,
        0,
    ),
    "forgets a step that has to clean up": (
        """
        entered = threading.Event()
        async def cleans_up():
            try:
                entered.set()
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                print("end", flush=True)
        orchestrator = Orchestrator().__enter__()
        orchestrator.start(flow_of(cleans_up))
        entered.wait()
        """,
        0,
    ),
    "has a thread step that hangs for ever": (
        """
        orchestrator = Orchestrator().__enter__()
        started(orchestrator.start(flow_of(hangs)))
        print("end")
        """,
        0,
    ),
    "has a coroutine step that swallows cancellation": (
        """
        orchestrator = Orchestrator().__enter__()
        started(orchestrator.start(flow_of(stubborn)))
        print("end")
        """,
        0,
    ),
    "has a coroutine step that blocks the loop": (
        """
        orchestrator = Orchestrator().__enter__()
        blocked = threading.Event()
        async def blocks():
            blocked.set()
            hanging.wait()
        orchestrator.start(flow_of(blocks))
        blocked.wait()
        print("end")
        """,
        0,
    ),
    "has an observer that hangs": (
        """
        orchestrator = Orchestrator(observers=[lambda event: hanging.wait()]).__enter__()
        orchestrator.run(flow_of(lambda: 1))
        print("end")
        """,
        0,
    ),
    "leaves the block while a thread hangs": (
        """
        with Orchestrator(stop_grace=0.1) as orchestrator:
            run = orchestrator.start(flow_of(hangs, timeout=0.1))
            print(run.wait().error.kind == "attempt" and "end")
        """,
        0,
    ),
    "exits in the middle": (
        """
        with Orchestrator() as orchestrator:
            started(orchestrator.start(flow_of(endless)))
            print("end")
            sys.exit(3)
        """,
        3,
    ),
    "is interrupted": (
        """
        heard = threading.Event()
        def handler(number, frame):  # a shell may have it ignored
            if not heard.is_set():
                heard.set()
                raise KeyboardInterrupt
        signal.signal(signal.SIGINT, handler)
        def interrupt():
            while not heard.wait(0.05):  # Python does not see one that comes too soon
                os.kill(os.getpid(), signal.SIGINT)
        try:
            with Orchestrator() as orchestrator:
                run = orchestrator.start(flow_of(endless))
                started(run)
                threading.Timer(0.05, interrupt).start()
                run.wait()
        except KeyboardInterrupt:
            print("end" if run.wait().status == "cancelled" else run)
        """,
        0,
    ),
    "has steps that raise what is meant for the program": (
        """
        async def raises(error, late):
            if late:
                await asyncio.sleep(0)
            raise error

        def raises_on_thread(error, late):
            raise error

        errors = [SystemExit(9), KeyboardInterrupt(), GeneratorExit(), BaseException()]
        with Orchestrator() as orchestrator:
            inputs = [{"error": e, "late": late} for e in errors for late in (True, False)]
            flows = [flow_of(raises), flow_of(raises_on_thread)]
            runs = [orchestrator.start(flow, i) for flow in flows for i in inputs]
            ends = {run.wait().status.value for run in runs}
        print("end" if ends == {"failed"} else ends)
        """,
        0,
    ),
    "never configures logging": (
        """
        def step(ctx):
            ctx.log.error("an error of the step's")
            raise LookupError
        def observer(event):
            raise RuntimeError("an error of the observer's")
        policy = RetryPolicy(max_attempts=2, initial_interval=0.001)
        with Orchestrator(observers=[observer], blocked_after=0.01) as orchestrator:
            orchestrator.start(flow_of(step, retry=policy)).wait()
            orchestrator.start(flow_of(endless, timeout=0.01)).wait()
            orchestrator.start(flow_of(endless, required=False, timeout=0.01)).wait()
        print("end")
        """,
        0,
    ),
}


@pytest.fixture(scope="module")
def programs():
    """All programs at once: most of their time they wait."""
    begun = {}
    for name, (body, _) in PROGRAMS.items():
        command = [sys.executable, "-W", "default", "-c"]
        begun[name] = subprocess.Popen(
            [*command, PRELUDE + textwrap.dedent(body)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
    yield begun
    for process in begun.values():
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_ends_by_itself_and_in_silence_when_it(programs, name):
    """It prints its own last word, nothing on stderr, and exits with its own code."""
    process = programs[name]
    try:
        out, err = process.communicate(timeout=GUARD)
    except subprocess.TimeoutExpired:
        pytest.fail("it did not end")

    assert ("end\n", "", PROGRAMS[name][1]) == (out, err, process.returncode)


# ── What a life leaves in the process ────────────────────────────────────────────────────────

WHOLE_LIFE = """
import asyncio, json, logging, os, signal, sys, threading, warnings

def footprint():
    return {
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "descriptors": sorted(os.listdir("/dev/fd")),
        "root handlers": [repr(handler) for handler in logging.getLogger().handlers],
        "root level": logging.getLogger().level,
        "log classes": repr(logging.getLoggerClass()) + repr(logging.getLogRecordFactory()),
        "signal handlers": [repr(signal.getsignal(number)) for number in signal.valid_signals()],
        "wakeup descriptor": signal.set_wakeup_fd(-1),
        "warning filters": repr(warnings.filters),
        "hooks": [repr(sys.excepthook), repr(threading.excepthook), repr(sys.displayhook)],
        "policy": repr(asyncio.get_event_loop_policy()),
        "directory": os.getcwd(),
        "environment": dict(os.environ),
        "paths": sys.path,
    }

for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_DFL)

before = footprint()

from actorflow import MemoryStateManager, Orchestrator, RetryPolicy, Workflow

flow = Workflow("flow")

@flow.step(retry=RetryPolicy(initial_interval=0.001))
def fails_once(ctx):
    ctx.log.info("a line")
    if ctx.attempt == 1:
        raise LookupError

@flow.step(after=fails_once, async_=True, timeout=0.01, required=False)
async def times_out():
    await asyncio.Event().wait()

with Orchestrator(observers=[lambda event: None]) as orchestrator:
    orchestrator.run(flow)
    during = footprint()
on_a_thread = footprint()

async def main():
    async with Orchestrator(observers=[lambda event: None]) as orchestrator:
        await orchestrator.run_async(flow)

asyncio.run(main())
moments = {"before": before, "during": during, "on a thread": on_a_thread, "here": footprint()}
json.dump(moments, sys.stdout)
"""


@pytest.fixture(scope="module")
def whole_life():
    """What two whole lives did to a fresh interpreter."""
    ended = subprocess.run(
        [sys.executable, "-c", WHOLE_LIFE],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        timeout=GUARD,
    )
    return json.loads(ended.stdout)


@pytest.mark.parametrize("place", ["on a thread", "here"])
def test_a_whole_life_changes_nothing_in_the_process(whole_life, place):
    """Threads, descriptors, handlers, signals, hooks, filters, the policy: all as before."""
    assert whole_life["before"] == whole_life[place]


def test_a_life_changes_only_threads_and_descriptors_while_it_lasts(whole_life):
    """No signal and no handler is borrowed, not even for a while."""
    lasting = {"threads", "descriptors"}

    assert {k: v for k, v in whole_life["before"].items() if k not in lasting} == {
        k: v for k, v in whole_life["during"].items() if k not in lasting
    }


def test_thespians_own_default_system_is_left_alone():
    """A program that uses Thespian itself does not find our base in the place of its own."""
    before = getattr(ActorSystem, "systemBase", None)
    with Orchestrator() as orchestrator:
        orchestrator.run(flow_of(fine))
        during = getattr(ActorSystem, "systemBase", None)

    assert before is during is getattr(ActorSystem, "systemBase", None)


def test_a_shut_down_orchestrator_can_be_collected():
    """Nothing in the process holds on to it: neither a thread, nor a hook, nor a registry."""
    with Orchestrator(observers=[lambda _: None]) as orchestrator:
        orchestrator.run(flow_of(fine))
    gone = weakref.ref(orchestrator)
    del orchestrator
    gc.collect()

    assert gone() is None


def mixed_flow():
    """Steps that work, fail, try again and time out, on the loop and on threads."""
    flow = Workflow("mixed")
    policy = RetryPolicy(max_attempts=2, initial_interval=0.001)
    flow.step(fine, id="thread", timeout=GUARD)
    flow.step(broken, id="fails", required=False, retry=policy)
    flow.step(endless, id="slow", required=False, timeout=0.001, async_=True)

    @flow.step(after="thread", async_=True, timeout=GUARD, total_timeout=GUARD)
    async def coroutine(thread):
        await asyncio.sleep(0)

    return flow


def test_no_task_and_no_timer_is_left_on_the_callers_loop():
    """After the block the loop has what it had before, whatever the runs were doing."""

    async def main():
        loop = asyncio.get_running_loop()
        async with Orchestrator(observers=[lambda _: None]) as orchestrator:
            await orchestrator.run_async(mixed_flow())
            retrying = orchestrator.start(
                flow_of(broken, retry=RetryPolicy(initial_interval=3600, max_interval=3600))
            )
            async for event in retrying.events():
                if event.kind == "step.retrying":
                    break
            orchestrator.start(flow_of(endless, timeout=3600), timeout=3600)
            await orchestrator.shutdown_async(drain=0)
        await asyncio.sleep(0)
        timers = [timer for timer in loop._scheduled if not timer.cancelled()]
        return asyncio.all_tasks() - {asyncio.current_task()}, timers, list(loop._ready)

    assert (set(), [], []) == asyncio.run(main())


# ── Leaving by an exception ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("own_thread", [True, False])
def test_leaving_the_block_by_an_exception_cancels_and_lets_it_through(own_thread):
    """Runs whose owner has failed are not drained, on a thread or on the caller's loop."""
    runs = []

    def plain():
        with Orchestrator() as orchestrator:
            runs.append(orchestrator.start(flow_of(endless)))
            seen(runs[0], "step.started")
            raise LookupError("mine")

    async def on_loop():
        async with Orchestrator() as orchestrator:
            runs.append(orchestrator.start(flow_of(endless)))
            raise LookupError("mine")

    block = plain if own_thread else lambda: asyncio.run(on_loop())
    error = in_thread(block).exception(GUARD)

    assert "mine" == str(error)
    assert "cancelled" == runs[0].wait(GUARD).status


def test_leaving_the_block_normally_lets_runs_end():
    """What was accepted is drained, also what waits for its turn."""
    with Orchestrator(max_active_runs=1) as orchestrator:
        runs = [orchestrator.start(mixed_flow()) for _ in range(5)]

    assert {RunStatus.COMPLETED} == {run.wait(GUARD).status for run in runs}


# ── Forks ────────────────────────────────────────────────────────────────────────────────────

FORKS = """
orchestrator = Orchestrator().__enter__()
flow = flow_of(lambda: "fine")
run = orchestrator.start(flow_of(endless))
started(run)
asyncio_run = asyncio.run
stream, reader = run.events(), iter(run.events())
while next(reader).kind != "step.started":
    pass

async def awaits():
    await run

async def reads():
    async for event in stream:
        pass

def uses():
    return [
        lambda: orchestrator.run(flow),
        lambda: orchestrator.start(flow),
        lambda: asyncio_run(orchestrator.run_async(flow)),
        lambda: asyncio_run(orchestrator.start_async(flow)),
        lambda: orchestrator.get(run.id),
        lambda: orchestrator.list(),
        lambda: orchestrator.resume(run.id),
        lambda: orchestrator.shutdown(),
        lambda: asyncio_run(orchestrator.shutdown_async()),
        lambda: run.wait(),
        lambda: run.result(),
        lambda: run.cancel(),
        lambda: run.events(),
        lambda: asyncio_run(awaits()),
        lambda: asyncio_run(run.wait_async()),
        lambda: list(stream),
        lambda: next(reader),
        lambda: asyncio_run(reads()),
    ]

# A thread that a fork does not have may hold any lock at that moment.
held, over = threading.Event(), threading.Event()
def hold():
    with orchestrator._life._runtime.audience._lock:
        held.set()
        over.wait()
holder = threading.Thread(target=hold)
holder.start()
held.wait()
child = os.fork()
over.set()
if not child:
    for number, use in enumerate(uses()):
        try:
            use()
        except ForkedOrchestrator as error:
            assert error.pid == os.getpid() and error.parent_pid == os.getppid()
        else:
            print("not refused:", number)
    orchestrator.__exit__(None, None, None)
    with Orchestrator() as mine:
        print("child:", mine.run(flow).output, flush=True)
    sys.exit(5)

holder.join()
print("exit code of the child:", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print("parent:", orchestrator.run(flow).output, run.status.value)
print(orchestrator.shutdown(drain=0).cancelled == (run.id,))
"""


@pytest.mark.slow
def test_a_fork_is_told_that_the_orchestrator_is_not_its_own():
    """Nothing hangs in it, its own exit is clean, and the parent goes on."""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PRELUDE + FORKS],
        cwd=ROOT,
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=GUARD,
    )

    expected = "child: fine\nexit code of the child: 5\nparent: fine running\nTrue\n"
    assert (expected, "", 0) == (ended.stdout, ended.stderr, ended.returncode)


# ── Two at once ──────────────────────────────────────────────────────────────────────────────


def test_two_orchestrators_share_nothing(release):
    """Neither runs, nor workflows, nor workers, nor threads, nor their ends."""
    with Orchestrator(async_workers=1) as one, Orchestrator(async_workers=1) as other:
        one.register(flow_of(fine))
        holds = one.start(flow_of(lambda: release.wait(GUARD), async_=True))
        seen(holds, "step.started")

        assert "fine" == other.run(flow_of(fine, async_=True)).output
        assert (1, 1) == (one.list().total, other.list().total)
        with pytest.raises(LookupError):
            other.run("flow")
        with pytest.raises(LookupError):
            other.get(holds.id)

        other.shutdown()
        release.set()
        assert holds.result(GUARD).output is True


def test_an_orchestrator_may_live_within_a_step_of_another():
    """On a thread with a loop of its own, and on the loop that the step runs on."""

    def on_thread():
        with Orchestrator() as inner:
            return inner.run(flow_of(fine)).output

    async def on_loop():
        async with Orchestrator() as inner:
            return (await inner.run_async(flow_of(fine))).output

    async def main():
        async with Orchestrator() as outer:
            return [(await outer.run_async(flow_of(body))).output for body in (on_thread, on_loop)]

    with Orchestrator() as outer:
        outputs = [outer.run(flow_of(body)).output for body in (on_thread, on_loop)]

    assert ["fine"] * 4 == outputs + asyncio.run(main())


def test_many_orchestrators_come_and_go_at_once():
    """Each thread has one after the other of its own."""

    def lives():
        outputs = []
        for _ in range(5):
            with Orchestrator() as orchestrator:
                outputs.append(orchestrator.run(flow_of(fine)).output)
        return outputs

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(lives) for _ in range(8)]

    assert [["fine"] * 5] * 8 == [future.result() for future in futures]


# ── Shutting down ────────────────────────────────────────────────────────────────────────────


def test_the_report_says_what_was_drained_and_what_was_cut(release):
    """The runs by their ids, and each attempt that could not be stopped."""
    entered = threading.Event()

    def hang():
        entered.set()
        release.wait(GUARD)

    orchestrator = Orchestrator().__enter__()
    orchestrator.run(flow_of(fine))
    cut, hangs = orchestrator.start(flow_of(endless)), orchestrator.start(flow_of(hang))
    seen(cut, "step.started")
    assert entered.wait(GUARD)

    report = orchestrator.shutdown(drain=0, grace=0.05)

    assert ((cut.id, hangs.id), 0) == (report.cancelled, report.drained)
    assert (1, False) == (len(report.abandoned), report.clean)
    assert "step 'step'" in report.abandoned[0]
    assert hangs.id in report.abandoned[0]
    assert "the orchestrator is shutting down" == cut.wait(GUARD).reason


def test_runs_that_end_while_it_drains_are_counted(release):
    """They are not cut: the last step of them ends after the shutdown has begun."""
    orchestrator = Orchestrator().__enter__()
    runs = [orchestrator.start(flow_of(lambda: release.wait(GUARD))) for _ in range(3)]
    for run in runs:
        seen(run, "step.started")
    report = in_thread(lambda: orchestrator.shutdown(drain=GUARD))
    refused(orchestrator)
    release.set()

    assert (3, (), True) == (
        report.result(GUARD).drained,
        report.result().cancelled,
        report.result().clean,
    )
    assert [True] * 3 == [run.result(GUARD).output for run in runs]


def refused(orchestrator):
    """Return as soon as new runs are refused."""
    while True:
        try:
            orchestrator.list()
        except OrchestratorClosed:
            return


def test_everybody_who_shuts_down_gets_the_same_report(release):
    """Twice at once from two threads, and once more afterwards."""
    orchestrator = Orchestrator().__enter__()
    run = orchestrator.start(flow_of(lambda: release.wait(GUARD)))
    seen(run, "step.started")
    reports = [in_thread(orchestrator.shutdown) for _ in range(2)]
    refused(orchestrator)
    release.set()
    first, second = (report.result(GUARD) for report in reports)

    assert first is second is orchestrator.shutdown()
    assert 1 == first.drained


@pytest.mark.parametrize("opened", ["before", "after"])
def test_shutting_down_while_it_starts_ends_both(release, opened):
    """The start gives up or is undone; no call hangs, then or later, and nothing stays."""
    opening = threading.Event()

    class Slow(ThreadExecutor):
        """Holds up the opening."""

        def open(self, report):
            opening.set()
            release.wait(GUARD)

        def close(self):
            return ()

    orchestrator = Orchestrator(executors={"slow": Slow()})
    entered = in_thread(orchestrator.__enter__)
    assert opening.wait(GUARD)
    report = in_thread(lambda: orchestrator.shutdown(drain=0, grace=0))
    until_closing(orchestrator)
    if opened == "after":
        concurrent.futures.wait([report], GUARD)
    release.set()

    first = report.result(GUARD)
    entered.exception(GUARD)

    assert first == in_thread(orchestrator.shutdown).result(GUARD)
    with pytest.raises(OrchestratorClosed):
        orchestrator.run(flow_of(fine))


def test_a_thread_step_may_shut_its_own_orchestrator_down():
    """Its own run is cut after the drain, and it gets the report."""
    reports, done = [], threading.Event()
    orchestrator = Orchestrator().__enter__()

    def step():
        try:
            reports.append(orchestrator.shutdown(drain=0, grace=0.05))
        finally:
            done.set()

    run = orchestrator.start(flow_of(step))
    result = run.wait(GUARD)
    assert done.wait(GUARD)

    assert "cancelled" == result.status
    assert ((run.id,), 1) == (reports[0].cancelled, len(reports[0].abandoned))


def shuts_down(orchestrator):
    """A step that shuts its own orchestrator down, by awaiting it; blocking is refused."""

    async def step():
        with pytest.raises(WrongLoop):
            orchestrator.shutdown()
        await orchestrator.shutdown_async(drain=0, grace=0.05)

    return step


@pytest.mark.parametrize("own_thread", [True, False])
def test_a_coroutine_step_may_shut_its_own_orchestrator_down(own_thread):
    """On an orchestrator's own thread or on the caller's loop; each caller gets the report."""

    def on_thread():
        orchestrator = Orchestrator().__enter__()
        run = orchestrator.start(flow_of(shuts_down(orchestrator)))
        status = run.wait(GUARD).status
        return run.id, status, in_thread(orchestrator.shutdown).result(GUARD)

    async def on_loop():
        async with Orchestrator() as orchestrator:
            run = orchestrator.start(flow_of(shuts_down(orchestrator)))
            status = (await run.wait_async()).status
            return run.id, status, await orchestrator.shutdown_async()

    run_id, status, report = on_thread() if own_thread else asyncio.run(on_loop())

    assert (RunStatus.CANCELLED, (run_id,)) == (status, report.cancelled)


def test_whoever_is_blocked_at_the_door_is_turned_away(release):
    """Threads and tasks that wait for room hear of the shutdown at once."""
    orchestrator = Orchestrator(max_active_runs=1, max_queued_runs=0).__enter__()
    orchestrator.start(flow_of(lambda: release.wait(GUARD)))
    flow = flow_of(fine)
    blocked = [
        in_thread(lambda: orchestrator.start(flow)),
        in_thread(lambda: orchestrator.run(flow)),
        in_thread(lambda: asyncio.run(orchestrator.start_async(flow))),
    ]
    while len(orchestrator._life.admission._waiting) < len(blocked):
        threading.Event().wait(0.001)
    report = in_thread(lambda: orchestrator.shutdown(drain=GUARD))

    for waiting in blocked:
        assert isinstance(waiting.exception(GUARD), OrchestratorClosed)
    release.set()
    assert (1, True) == (report.result(GUARD).drained, report.result().clean)


def test_a_run_may_start_others_until_the_shutdown_and_not_after(release):
    """What the drain waits for cannot grow."""
    orchestrator = Orchestrator().__enter__()

    def step():
        release.wait(GUARD)
        orchestrator.run(flow_of(fine))

    run = orchestrator.start(flow_of(step))
    seen(run, "step.started")
    report = in_thread(lambda: orchestrator.shutdown(drain=GUARD))
    refused(orchestrator)
    release.set()
    report.result(GUARD)

    assert isinstance(run.wait(GUARD).error, OrchestratorClosed)


def test_a_shutdown_is_bounded_when_the_loop_is_blocked(impatient, release):
    """The report says so, and callers that wait for a run that was cut are told."""
    blocked = threading.Event()

    async def blocks():
        blocked.set()
        release.wait(GUARD)

    orchestrator = Orchestrator().__enter__()
    run = orchestrator.start(flow_of(blocks))
    assert blocked.wait(GUARD)
    waiting = in_thread(run.wait)

    report = in_thread(lambda: orchestrator.shutdown(drain=0, grace=0)).result(GUARD)

    assert ((run.id,), 1) == (report.cancelled, len(report.abandoned))
    assert "the event loop does not turn" in report.abandoned[0]
    concurrent.futures.wait([waiting], GUARD)
    assert waiting.done()
    assert run.id in repr(run)


def test_a_coroutine_that_swallows_its_cancellation_is_left_behind():
    """On the caller's loop: the block ends, the report names it, and the loop goes on."""

    async def main():
        stop, entered = asyncio.Event(), asyncio.Event()

        async def stubborn():
            entered.set()
            while not stop.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await stop.wait()

        async with Orchestrator() as orchestrator:
            run = orchestrator.start(flow_of(stubborn))
            await entered.wait()
            report = await orchestrator.shutdown_async(drain=0, grace=0.05)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        stop.set()
        await asyncio.gather(*left)
        return run.status, report.abandoned, len(left)

    status, abandoned, left = asyncio.run(main())

    assert (RunStatus.CANCELLED, 1, 1) == (status, len(abandoned), left)
    assert "step 'step'" in abandoned[0]


def test_a_loop_that_was_closed_under_an_orchestrator_does_not_hang_its_shutdown():
    """The program left the loop without leaving the block."""
    orchestrator = Orchestrator()

    async def enter():
        await orchestrator.__aenter__()

    asyncio.run(enter())
    with pytest.raises(OrchestratorClosed, match=r"was entered on has been closed\. Make"):
        orchestrator.start(flow_of(fine))
    closing = in_thread(lambda: orchestrator.shutdown(drain=0, grace=0.1))

    assert closing.exception(GUARD) is None


# ── Observers ────────────────────────────────────────────────────────────────────────────────


def test_an_observer_that_hangs_delays_nobody(release):
    """Runs go on, and the shutdown names all ten observers after one grace for all of them."""
    observers = [lambda _event: release.wait(GUARD) for _ in range(10)]
    orchestrator = Orchestrator(observers=observers).__enter__()
    outputs = [orchestrator.run(flow_of(fine)).output for _ in range(20)]

    report = orchestrator.shutdown(drain=0, grace=0.5)

    assert ["fine"] * 20 == outputs
    assert 10 == len(report.abandoned)
    assert {True} == {line.endswith("has not returned") for line in report.abandoned}


def test_every_observer_gets_every_event_in_order():
    """Before the shutdown returns, also those of an observer that raises."""
    told, raised = [], []

    def watches(event):
        told.append(event)

    def raises(event):
        raised.append(event)
        raise RuntimeError("mine")

    with Orchestrator(observers=[raises, watches]) as orchestrator:
        runs = [orchestrator.start(mixed_flow()) for _ in range(10)]
    recorded = {run.id: list(run.events()) for run in runs}

    assert told == raised
    assert recorded == {id_: [e for e in told if e.run_id == id_] for id_ in recorded}


def test_an_observer_that_cannot_even_be_named_breaks_nothing():
    """It raises, and so does its `repr`."""

    class Unnameable:
        def __call__(self, event):
            raise RuntimeError("mine")

        def __repr__(self):
            raise RuntimeError("no name either")

    with Orchestrator(observers=[Unnameable()]) as orchestrator:
        output = orchestrator.run(flow_of(fine)).output
        report = orchestrator.shutdown(grace=GUARD)

    assert ("fine", True) == (output, report.clean)


# ── Logging ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def through_structlog():
    """The lines that a program which has configured structlog gets."""
    lines = []

    def keep(_logger, level, line):
        lines.append(line | {"level": level})
        raise structlog.DropEvent

    structlog.configure(processors=[keep])
    yield lines
    structlog.reset_defaults()


def test_through_structlog_every_event_is_one_line(through_structlog):
    """With the ids of its run, and without outputs."""
    with Orchestrator() as orchestrator:
        run = orchestrator.start(mixed_flow(), trace_id="t")
        run.wait(GUARD)

    events = list(run.events())
    assert [(e.kind.value, e.number) for e in events] == [
        (line["event"], line["number"]) for line in through_structlog
    ]
    assert {(run.id, "mixed", "t")} == {
        (line["run_id"], line["workflow_id"], line["trace_id"]) for line in through_structlog
    }
    assert {False} == {"output" in line for line in through_structlog}


def test_through_the_standard_library_every_event_is_one_line(caplog):
    """On the logger `actorflow`, at a level that fits what has happened."""
    with caplog.at_level(logging.DEBUG, "actorflow"), Orchestrator() as orchestrator:
        run = orchestrator.start(mixed_flow(), trace_id="t")
        run.wait(GUARD)
        orchestrator.shutdown()

    lines = [record for record in caplog.records if record.name == "actorflow"]
    said = [line.getMessage().split("'")[1] for line in lines]
    levels = {kind: line.levelname for kind, line in zip(said, lines, strict=True)}
    assert [event.kind.value for event in run.events()] == said
    assert {
        "run.accepted": "INFO",
        "run.started": "INFO",
        "step.ready": "DEBUG",
        "step.retrying": "WARNING",
        "step.timed_out": "WARNING",
        "step.skipped": "WARNING",
        "run.completed": "INFO",
    }.items() <= levels.items()


def test_a_program_may_configure_logging_after_the_start(through_structlog):
    """The next run is heard of."""
    structlog.reset_defaults()
    logging.getLogger("actorflow").propagate = False
    try:
        with Orchestrator() as orchestrator:
            orchestrator.run(flow_of(fine))
            before = len(through_structlog)
            structlog.configure(
                processors=[lambda _l, _m, line: through_structlog.append(line) or "x"]
            )
            orchestrator.run(flow_of(fine))
            orchestrator.shutdown()
    finally:
        logging.getLogger("actorflow").propagate = True

    assert (0, 6) == (before, len(through_structlog))


def test_logging_that_is_configured_wrongly_breaks_nothing():
    """A processor that raises costs the lines, and neither the run nor the shutdown."""

    def broken_processor(_logger, _level, _line):
        raise RuntimeError("mine")

    structlog.configure(processors=[broken_processor])
    try:
        with Orchestrator() as orchestrator:
            output = orchestrator.run(mixed_flow()).outputs["thread"]
            report = orchestrator.shutdown(grace=GUARD)
    finally:
        structlog.reset_defaults()

    assert ("fine", True) == (output, report.clean)


# ── Memory ───────────────────────────────────────────────────────────────────────────────────

COUNTED = (Attempt, Cell, RunActor, RunState, StepActor, StepState, asyncio.Task)


def living(kinds):
    """All objects of these kinds that are alive."""
    gc.collect()
    return [thing for thing in gc.get_objects() if isinstance(thing, kinds)]


@pytest.fixture
def count():
    """Counts what has been made since the test began and is alive, by the name of its class."""
    older = living(COUNTED)  # kept, so that nothing new gets an old one's id
    known = {id(thing) for thing in older}

    def count():
        new = [type(thing) for thing in living(COUNTED) if id(thing) not in known]
        return {kind.__name__: new.count(kind) for kind in COUNTED}

    return count


async def many_runs(orchestrator, count):
    """Have so many runs of every kind, the last ones without errors, which would keep frames."""
    runs = [await orchestrator.start_async(mixed_flow()) for _ in range(count)]
    runs.append(await orchestrator.start_async(flow_of(endless)))
    runs[-1].cancel()
    for run in runs:
        await run.wait_async()
    for _ in range(20):
        await orchestrator.run_async(flow_of(fine))


async def footprint(orchestrator, count):
    """What is there between two runs, once the actors and threads of the last ones have let go.

    A thread lets go of its attempt after it has reported it, when the machine lets it run.
    """
    for _ in range(1000):
        await asyncio.sleep(0)
    until = asyncio.get_running_loop().time() + GUARD
    while count()["Attempt"] and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    threads = [t for t in threading.enumerate() if not t.name.startswith("actorflow-step")]
    deadlines = len(orchestrator._life.runtime("look")._brain.deadlines)
    return count() | {"threads": len(threads), "deadlines": deadlines}


async def before_and_after(orchestrator, count):
    """Measure after a few runs, and after a thousand more."""
    await many_runs(orchestrator, 50)
    before = await footprint(orchestrator, count)
    for _ in range(10):
        await many_runs(orchestrator, 100)
    return before, await footprint(orchestrator, count), orchestrator.list().total


@pytest.mark.slow
@pytest.mark.parametrize("on_own_thread", [False, True])
def test_after_1_000_runs_everything_is_back_where_it_began(on_own_thread, unlogged, count):
    """Actors, states, attempts, tasks, threads and deadlines; finished runs are bounded."""
    state = MemoryStateManager(max_runs=10)

    async def here():
        async with Orchestrator(state) as orchestrator:
            return await before_and_after(orchestrator, count)

    if on_own_thread:
        with Orchestrator(state) as orchestrator:
            before, after, kept = asyncio.run(before_and_after(orchestrator, count))
    else:
        before, after, kept = asyncio.run(here())

    nothing = ("Attempt", "RunActor", "RunState", "StepActor", "StepState", "deadlines")
    assert (before, 10) == (after, kept)
    assert dict.fromkeys(nothing, 0) == {name: after[name] for name in nothing}


@pytest.mark.parametrize("waits_for", ["a place", "a lease"])
def test_runs_that_are_cancelled_while_they_wait_leave_nothing(release, unlogged, count, waits_for):
    """However long those that they wait for go on."""
    options = {"a place": {"max_active_runs": 1}, "a lease": {"async_workers": 1}}[waits_for]
    flow = flow_of(lambda: release.wait(GUARD), async_=True)
    with Orchestrator(**options) as orchestrator:
        seen(orchestrator.start(flow), "step.started")
        for _ in range(100):
            run = orchestrator.start(flow)
            if waits_for == "a lease":
                seen(run, "step.ready")
            run.cancel()
            run.wait(GUARD)
        left = count()["RunState"]
        release.set()

    assert left < 20


def test_the_outputs_of_a_forgotten_run_are_let_go(unlogged):
    """The state manager is the only one who keeps them."""

    class Large:
        """An output that can be watched."""

    with Orchestrator(MemoryStateManager(max_runs=1)) as orchestrator:
        large = weakref.ref(orchestrator.run(flow_of(Large)).output)
        for _ in range(3):
            orchestrator.run(flow_of(fine))
        gc.collect()

        assert large() is None


# ── Signals ──────────────────────────────────────────────────────────────────────────────────


def test_a_signal_of_the_programs_own_is_left_to_it():
    """The handler runs while runs are in progress, and is still there afterwards."""
    heard = []
    before = signal.signal(signal.SIGUSR1, lambda *_: heard.append("usr1"))
    try:
        with Orchestrator() as orchestrator:
            orchestrator.run(flow_of(lambda: os.kill(os.getpid(), signal.SIGUSR1)))
        handler = signal.getsignal(signal.SIGUSR1)
        handler()
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert ["usr1", "usr1"] == heard
