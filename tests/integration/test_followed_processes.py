"""Runs of other processes: waited for, read, cancelled and lost, with real processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from contextlib import contextmanager

import pytest

from actorflow import Orchestrator, RunCancelled, Workflow, as_completed, wait_first
from actorflow.state.sql import SQLStateManager

pytestmark = pytest.mark.slow

GUARD = 60
DAEMON = """
import sys
from actorflow import Orchestrator, Workflow
from actorflow.state.sql import SQLStateManager

flow = Workflow("work")


@flow.step
def double(n):
    return 2 * n


@flow.step(after=double, async_=True)
async def wait(double, forever):
    import asyncio

    await (asyncio.Event().wait() if forever else asyncio.sleep(0))
    return double


daemon = Orchestrator(
    SQLStateManager(sys.argv[1], lease=float(sys.argv[2])), recover=True, recover_every=0.05
)
daemon.register(flow)
with daemon:
    print("ready", flush=True)
    sys.stdin.read()
    daemon.shutdown(drain=0)
"""
KINDS = [
    *("run.accepted", "run.started", "step.ready", "step.started", "step.completed"),
    *("step.ready", "step.started", "step.completed", "run.completed"),
]


def double(n):
    """Do what the daemon's step does; it is not called here."""


def wait(double, forever):
    """Do what the daemon's other step does."""


@pytest.fixture
def flow():
    """The workflow of the daemon, by its inputs."""
    flow = Workflow("work")
    flow.step(double)
    flow.step(wait, after="double")
    return flow


@contextmanager
def daemon(url, lease=3600.0):
    """A process that takes the runs of the queue until the block is left."""
    command = [sys.executable, "-c", textwrap.dedent(DAEMON), url, str(lease)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert "ready\n" == process.stdout.readline()
            yield process
            if process.poll() is None:
                process.communicate(timeout=GUARD)
        finally:
            process.kill()


@pytest.fixture
def client(url):
    """An orchestrator in this process that runs nothing itself."""
    with Orchestrator(SQLStateManager(url, create=True)) as client:
        yield client


def test_runs_of_another_process_are_followed_to_their_ends(client, url, flow):
    """Waited for, and read, from before it was there."""
    runs = [client.enqueue(flow, {"n": n, "forever": False}) for n in range(20)]
    before = [run.done for run in runs]
    with daemon(url):
        first = wait_first(runs, GUARD)
        outputs = sorted(run.result(GUARD).output for run in as_completed(runs, GUARD))
        kinds = [[event.kind.value for event in run.events()] for run in runs]

    assert [False] * 20 == before
    assert first.done
    assert [2 * n for n in range(20)] == outputs
    assert [KINDS] * 20 == kinds


def test_a_run_of_another_process_is_cancelled_at_once(client, url, flow):
    """Although that process would not renew its lease for twenty minutes."""
    with daemon(url):
        run = client.enqueue(flow, {"n": 1, "forever": True})
        next(event for event in run.events() if event.kind == "step.started" and event.number > 5)
        before = run.done, run.status
        run.cancel("enough")

        with pytest.raises(RunCancelled, match="enough"):
            run.result(GUARD)
    assert (False, "running") == before


def test_a_run_whose_process_was_killed_is_waited_for_until_another_ends_it(client, url, flow):
    """The wait goes on through the death of its owner."""
    run = client.enqueue(flow, {"n": 1, "forever": True})
    with daemon(url, lease=0.5) as process:
        next(event for event in run.events() if event.kind == "step.started" and event.number > 5)
        process.send_signal(signal.SIGKILL)
        process.wait(GUARD)
    before = run.done
    with daemon(url):
        resumed = next(event for event in run.events() if event.kind == "run.resumed")
        run.cancel("enough")

        assert ("cancelled", False) == (run.wait(GUARD).status, before)
        assert "run.resumed" == resumed.kind
