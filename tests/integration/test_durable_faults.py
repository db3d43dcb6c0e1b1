"""Real faults: processes that are killed, disks that are full, servers that hang up.

Each is here in its short form. `ACTORFLOW_SOAK=50` makes fifty times as much of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from actorflow.errors import StoreUnavailable
from actorflow.lifecycle import EventKind, RunStatus, StepStatus
from actorflow.orchestrator import Orchestrator
from actorflow.state.sql import SQLStateManager
from tests import postgres
from tests.integration.durable_child import expected, work

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SOAK = int(os.environ.get("ACTORFLOW_SOAK", "1"))


def lines(text):
    """Pairs of a run and a step; the last line may have been cut by a kill."""
    whole = text.decode().rpartition("\n")[0]
    return [tuple(line.split(" ")) for line in whole.splitlines()]


def killed_after(url, log, acknowledged):
    """Start the child, kill it when it has said so much, and return all that it has said."""
    command = [sys.executable, str(HERE / "durable_child.py"), url, str(log)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
    with child:
        said = [child.stdout.readline() for _ in range(acknowledged)]
        child.kill()
        said.append(child.stdout.read())
    return lines(b"".join(said))


@pytest.mark.parametrize("seed", range(4 * SOAK))
def test_nothing_acknowledged_is_lost_when_the_process_is_killed(seed, tmp_path):
    """What was recorded stays, and never runs again; what was not is run once more at most."""
    url, log = f"sqlite:///{tmp_path}/runs.db", tmp_path / "log"
    chosen = random.Random(seed)
    acknowledged = []
    for _ in range(2):
        acknowledged += killed_after(url, log, chosen.randrange(1, 120))
    begun_before = Counter(lines(log.read_bytes()))

    with contextlib.closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
        assert [("ok",)] == connection.execute("PRAGMA integrity_check").fetchall()
        assert [] == connection.execute("PRAGMA foreign_key_check").fetchall()
        # The lease of whoever was killed would run out by itself.
        connection.execute("UPDATE actorflow_owners SET lease_until = '2000-01-01'")
        connection.commit()
    state = SQLStateManager(url)
    recorded = {
        (run.run_id, step_id)
        for run in state.list(limit=1_000_000).runs
        for step_id, step in state.snapshot(run.run_id).steps.items()
        if step.status is StepStatus.COMPLETED
    }
    assert set() == {*acknowledged} - recorded

    flow = work(os.open(log, os.O_WRONLY | os.O_APPEND))
    with Orchestrator(state) as orchestrator:
        for run in orchestrator.list(limit=1_000_000).runs:
            result = orchestrator.resume(run.run_id, flow).result(60)
            assert expected(run.inputs["n"]) == result.output
    begun = Counter(lines(log.read_bytes()))
    assert {1} == {begun[step] for step in recorded}
    assert {step for step, times in begun.items() if times > 1} <= {*begun_before} - recorded
    assert max(begun.values()) <= 2


def test_a_full_disk_fails_runs_and_is_survived(tmp_path):
    """Runs fail with the store's error while it lasts, and what was recorded is all there."""
    url = f"sqlite:///{tmp_path}/runs.db"
    command = [sys.executable, str(HERE / "full_disk_child.py"), url]
    ended = subprocess.run(command, stdout=subprocess.PIPE, cwd=ROOT, check=True, timeout=120)
    told = json.loads(ended.stdout)

    assert ["completed", "failed", "failed", "completed"] == [run[1] for run in told["runs"]]
    assert {"StoreUnavailable"} == {run[2] for run in told["runs"] if run[1] == "failed"}
    assert ["down", "ok"] == told["health"]
    with contextlib.closing(SQLStateManager(url)) as state:
        completed = {run.run_id for run in state.list(status=RunStatus.COMPLETED).runs}
    assert {run[0] for run in told["runs"] if run[1] == "completed"} == completed


# ── PostgreSQL ───────────────────────────────────────────────────────────────────────────────

HANG_UP = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE pid <> pg_backend_pid() AND datname = '{database}'"
)


def go_on_until(orchestrator, flow, stop):
    """Let runs happen until they are told to stop; return what they came to, by their inputs."""
    outputs = {}
    n = 0
    while not stop.is_set():
        runs = {n + k: orchestrator.start(flow, {"n": n + k}) for k in range(5)}
        n += len(runs)
        outputs |= {k: run.result(120).output for k, run in runs.items()}
    return outputs


class Progress:
    """An observer that counts the runs which have completed."""

    def __init__(self):
        self._count = 0
        self._changed = threading.Condition()

    def __call__(self, event):
        """Count."""
        if event.kind is EventKind.RUN_COMPLETED:
            with self._changed:
                self._count += 1
                self._changed.notify_all()

    def reach(self, count):
        """Wait until so many have."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._count >= count, 120)


def disturbed(url, log, disturb):
    """Let runs happen while something is done; return their outputs, and the steps that began."""
    stop, outputs, failed, progress = threading.Event(), {}, [], Progress()
    flow = work(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT))
    state = SQLStateManager(url, create=True, patience=60.0)
    with Orchestrator(state, observers=[progress]) as orchestrator:

        def go_on():
            try:
                outputs.update(go_on_until(orchestrator, flow, stop))
            except BaseException as error:  # noqa: BLE001 - told to the test, which is elsewhere
                failed.append(error)

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            disturb(progress)
        finally:
            stop.set()
            thread.join()
        assert [] == failed
    return outputs, Counter(lines(log.read_bytes()))


def test_connections_that_are_cut_delay_runs_and_lose_nothing(postgresql, tmp_path):
    """The answer to a commit may be lost with the connection: it is looked for, not repeated."""
    url = postgresql.database()

    def cut_again_and_again(progress):
        for number in range(15 * SOAK):
            progress.reach(3 * number)
            postgresql.tell(HANG_UP.format(database=url.rpartition("/")[2]))

    outputs, begun = disturbed(url, tmp_path / "log", cut_again_and_again)

    assert {n: expected(n) for n in outputs} == outputs
    assert {1} == {*begun.values()}


def daemon(url, flow, progress):
    """An orchestrator whose lease runs out as soon as it is cut off for a moment."""
    state = SQLStateManager(url, patience=60.0, lease=0.5)
    made = Orchestrator(
        state, recover=True, recover_every=0.05, max_active_runs=5, observers=[progress]
    )
    made.register(flow)
    return made


def test_two_daemons_share_the_work_though_they_are_cut_off_again_and_again(tmp_path):
    """Each takes over what the other one seems to have left; each step is recorded once."""
    flow = work(os.open(tmp_path / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT))
    progress, count = Progress(), 40 * SOAK
    with postgres.running(*postgres.QUICK) as server:
        url = server.database()
        with Orchestrator(SQLStateManager(url, create=True)) as client:
            ids = {client.enqueue(flow, {"n": n}): n for n in range(count)}
        with daemon(url, flow, progress), daemon(url, flow, progress):
            for done in range(0, count, 4):
                progress.reach(done)
                if done % 20 == 8:
                    server.stop(how=postgres.AT_ONCE)
                    server.start()
                else:
                    server.tell(HANG_UP.format(database=url.rpartition("/")[2]))
            progress.reach(count)
        with contextlib.closing(SQLStateManager(url)) as state:
            results = {run_id: state.snapshot(run_id).outputs["total"] for run_id in ids}
            events = {run_id: state.events(run_id) for run_id in ids}

    assert {run_id: expected(n) for run_id, n in ids.items()} == results
    for told in events.values():
        assert [*range(1, len(told) + 1)] == [event.number for event in told]
        completed = [it.step_id for it in told if it.kind is EventKind.STEP_COMPLETED]
        assert {*flow.steps} == {*completed}
        assert len(completed) == len({*completed})


def test_a_server_that_crashes_and_comes_back_delays_runs_and_loses_nothing(tmp_path):
    """As an immediate restart leaves it: no connection, no answer, and a recovery."""
    with postgres.running(*postgres.QUICK) as server:

        def restart(progress):
            for number in range(2 * SOAK):
                progress.reach(5 * number + 1)
                server.stop(how=postgres.AT_ONCE)
                server.start()
            progress.reach(10 * SOAK)

        outputs, begun = disturbed(server.database(), tmp_path / "log", restart)

    assert {n: expected(n) for n in outputs} == outputs
    assert {1} == {*begun.values()}


def test_a_server_that_stays_away_refuses_runs_with_a_typed_error(tmp_path):
    """And takes new ones again when it is back, without anybody's help."""
    flow = work(os.open(tmp_path / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT))
    with postgres.running(*postgres.QUICK) as server:
        state = SQLStateManager(server.database(), create=True, patience=0.2)
        with Orchestrator(state) as orchestrator:
            orchestrator.run(flow, {"n": 1})
            server.stop(how=postgres.AT_ONCE)
            with pytest.raises(StoreUnavailable):
                orchestrator.run(flow, {"n": 2})
            down = state.health
            server.start()
            result = orchestrator.run(flow, {"n": 3})

    assert "down" == down.status
    assert down.error
    assert expected(3) == result.output
    assert "ok" == state.health.status
