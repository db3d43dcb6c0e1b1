"""Families whose process is killed, with real processes: nothing of them is lost or done twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from actorflow import Orchestrator, Workflow
from actorflow.state.sql import SQLStateManager

pytestmark = pytest.mark.slow

GUARD = 60
DAEMON = """
import os, pathlib, signal, sys
from actorflow import Orchestrator, Workflow
from actorflow.state.sql import SQLStateManager

folder, dies_at = pathlib.Path(sys.argv[2]), sys.argv[3]


def tell(what):
    with (folder / "told").open("a") as told:
        told.write(what + "\\n")
    if what == dies_at:
        os.kill(os.getpid(), signal.SIGKILL)


leaf, branch, parent = Workflow("leaf"), Workflow("branch"), Workflow("parent")


def take_back(name):
    tell(f"took back {name}")


@leaf.step(compensate=take_back)
def sell(name):
    tell(f"sold {name}")


@branch.step
def serve(ctx, name):
    ctx.run(leaf, {"name": name})
    tell(f"served {name}")


@parent.step(async_=True)
async def open(ctx, fails):
    for name in "abc":
        await ctx.run(branch, {"name": name}, key=name)
    tell("opened")


@parent.step(after="open", async_=True)
async def end(ctx, fails):
    await ctx.run(leaf, {"name": "d"})
    tell("ending")
    if fails:
        raise LookupError("no")
    return "ended"


daemon = Orchestrator(SQLStateManager(sys.argv[1]), recover=True, recover_every=0.05)
for flow in (leaf, branch, parent):
    daemon.register(flow)
with daemon:
    print("ready", flush=True)
    sys.stdin.read()
    daemon.shutdown(drain=0)
"""


@contextmanager
def daemon(url, folder, dies_at="nowhere"):
    """A process that takes runs until the block is left, or until it has told of this."""
    command = [sys.executable, "-c", DAEMON, url, str(folder), dies_at]
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


def parent():
    """The workflow of the daemon, by its inputs; its steps are not called here."""
    flow = Workflow("parent")
    flow.step(step, id="open")
    flow.step(step, id="end", after="open")
    return flow


def step(fails):
    """Do what the daemon's steps do; it is not called here."""


DONE = [f"{what} {name}" for name in "abc" for what in ("sold", "served")] + ["sold d"]


@pytest.mark.parametrize(
    ("fails", "dies_at"),
    [
        (False, "sold a"),
        (False, "served b"),
        (False, "ending"),
        (True, "served a"),
        (True, "sold d"),
    ],
)
def test_a_family_outlives_its_process(url, tmp_path, fails, dies_at):
    """The next one takes the results of its children, and starts none of them again."""
    with Orchestrator(SQLStateManager(url, create=True)) as client:
        run = client.enqueue(parent(), {"fails": fails})
        with daemon(url, tmp_path, dies_at) as first:
            assert -signal.SIGKILL == first.wait(GUARD)
        with daemon(url, tmp_path):
            result = run.wait(GUARD)
            family = client.list(root_run_id=run.id).runs
        told = (tmp_path / "told").read_text().split("\n")

    # What was told and not recorded when the process died is done again.
    again = {dies_at: 2}
    assert {what: again.get(what, 1) for what in DONE} == {what: told.count(what) for what in DONE}
    assert 8 == len(family)
    children = {it.status.value for it in family if it.run_id != run.id}
    if not fails:
        assert ("completed", {"completed"}) == (result.status, children)
        assert "took back a" not in told
    else:
        assert ("failed", {"cancelled"}) == (result.status, children)
        undone = [what for what in told if what.startswith("took back")]
        assert ["took back d", "took back a"] == [undone[0], undone[-1]]
        assert 4 == len(undone)


@pytest.mark.parametrize("name", "ad")
def test_undoing_a_family_outlives_its_process(url, tmp_path, name):
    """Which dies in a compensator of a child, or of a child of a child."""
    with Orchestrator(SQLStateManager(url, create=True)) as client:
        run = client.enqueue(parent(), {"fails": True})
        with daemon(url, tmp_path, f"took back {name}") as first:
            assert -signal.SIGKILL == first.wait(GUARD)
        with daemon(url, tmp_path):
            result = run.wait(GUARD)
            statuses = {it.status.value for it in client.list(root_run_id=run.id).runs}
        told = (tmp_path / "told").read_text().split("\n")

    assert "failed" == result.status
    assert {"failed", "cancelled"} == statuses
    counts = {it: told.count(f"took back {it}") for it in "abcd"}
    assert {it: 2 if it == name else 1 for it in "abcd"} == counts


def test_a_parent_takes_the_results_of_children_that_outlive_its_process(url, tmp_path):
    """They run in a process of their own, which goes on; the parent is taken over by it."""
    inputs = {"fails": False}
    with Orchestrator(SQLStateManager(url, create=True)) as client:
        with daemon(url, tmp_path) as second, daemon(url, tmp_path) as first:
            runs = [client.enqueue(parent(), inputs) for _ in range(10)]
            os.kill(first.pid, signal.SIGSTOP)
            first.kill()
            results = [run.wait(GUARD) for run in runs]
            assert second.poll() is None
        children = client.list(limit=200).runs

    assert {"completed"} == {result.status.value for result in results}
    assert 80 == len(children)
    assert {"completed"} == {child.status.value for child in children}
