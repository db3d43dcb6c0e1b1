"""Rolling deploys: daemons on one database that get SIGTERM, one after the other, under load.

Each daemon works off a queue of runs that take longer than its shutdown waits. At SIGTERM it shuts
down and leaves them, and its successor starts. Three accounts are compared at the end: the records
of the runs, the log of the bodies that have begun, and the reports of the shutdowns.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import Counter

import attrs

from actorflow.definition.workflow import Workflow
from actorflow.model.events import EventKind
from actorflow.model.lifecycle import RunStatus
from actorflow.orchestrator import Orchestrator
from actorflow.state.sql import SQLStateManager
from tests.support.faults.counts import Counts

__all__ = ["Figures", "deploy_again_and_again"]

LENGTH = 4
STEPS = LENGTH + 2
"""How many steps a run has: a chain of coroutines, a plain function beside it, and a sum."""
DRAIN, GRACE = 0.2, 0.2
LOOKS = 0.1
GUARD = 120.0
READY, STEP = b"ready\n", b"\n"
"""What a daemon says, besides its report: that it hears signals, and that a step has completed."""

daemons = multiprocessing.get_context("forkserver")
daemons.set_forkserver_preload(["tests.support.faults.deploys"])


@attrs.define
class Figures(Counts):
    """What many deploys have come to."""

    promises = ("lost", "cancelled", "twice", "again", "unclean")

    deploys: int = 0
    runs: int = 0
    left: int = 0
    """How many times a shutdown left a run."""
    cut: int = 0
    """How many attempts began and were cut."""
    abandoned: int = 0
    """How many threads outlasted their grace."""
    lost: int = 0
    """How many runs did not complete, or with another output."""
    cancelled: int = 0
    """How many runs were cancelled or failed."""
    twice: int = 0
    """How many completions are recorded of a step that was complete."""
    again: int = 0
    """How many bodies began without a start on record, or more than once for one."""
    unclean: int = 0
    """How many daemons ended in another way than by their own shutdown."""
    slowest: float = 0.0
    """The longest shutdown, in seconds."""


def chain(log, seconds):
    """A workflow whose runs outlast a drain; each body says that it begins."""

    def begins(ctx):
        os.write(log, f"{ctx.run_id} {ctx.step_id} {ctx.attempt}\n".encode())

    flow = Workflow("chain")

    def link(number):
        async def body(inputs, ctx):
            begins(ctx)
            await asyncio.sleep(seconds)
            return number

        return body

    for number in range(LENGTH):
        before = [f"s{number - 1}"] if number else []
        flow.step(link(number), id=f"s{number}", after=before, async_=True)

    @flow.step
    def thread(ctx):
        begins(ctx)
        time.sleep(2 * seconds)  # it cannot be stopped, and outlasts the grace
        return LENGTH

    @flow.step(after=[*(f"s{number}" for number in range(LENGTH)), "thread"])
    def total(inputs, ctx, n):
        begins(ctx)
        return n + inputs["thread"] + sum(inputs[f"s{number}"] for number in range(LENGTH))

    return flow


def live(url, path, says, seconds, at_once):
    """Work off the queue until SIGTERM, then shut down and report that."""
    # A signal that arrives just before a lock is waited for does not wake the waiting thread.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    orchestrator = Orchestrator(
        SQLStateManager(url),
        recover=True,
        recover_every=LOOKS,
        async_workers=200,
        max_active_runs=at_once,
        observers=[lambda event: said(says, event)],
    )
    orchestrator.register(chain(log, seconds))
    with orchestrator:
        os.write(says, READY)
        signal.sigwait({signal.SIGTERM})
        report = orchestrator.shutdown(drain=DRAIN, grace=GRACE)
    os.write(says, json.dumps(attrs.asdict(report)).encode() + b"\n")
    os._exit(0)  # abandoned threads may still sleep


def said(says, event):
    """Let the parent hear that a step has completed."""
    if event.kind is EventKind.STEP_COMPLETED:
        os.write(says, STEP)


class Daemon:
    """A process that works off the queue, and what it says."""

    def __init__(self, url, path, *given):
        hears, says = daemons.Pipe(duplex=False)
        self._process = daemons.Process(
            target=begin, args=(url, str(path), says, *given), daemon=True
        )
        self._process.start()
        says.close()
        self._hears = hears
        self._changed = threading.Condition()
        self._steps, self._ready = 0, False
        self.report = None
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        with open(self._hears.fileno(), "rb", closefd=False) as pipe, self._hears:
            for line in pipe:
                with self._changed:
                    self._steps += line == STEP
                    self._ready = self._ready or line == READY
                    self.report = self.report if line in (STEP, READY) else json.loads(line)
                    self._changed.notify_all()

    def reach(self, steps):
        """Wait until so many steps have completed in it, or there are no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._steps >= steps, GUARD / 10)

    def stop(self):
        """Send it SIGTERM, and wait for its end; return whether it ended by itself."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready, GUARD)
        os.kill(self._process.pid, signal.SIGTERM)
        self._process.join(GUARD)
        status = self._process.exitcode
        self._process.kill()
        self._reader.join()
        if status == 0 and self.report is not None:
            return True
        sys.stderr.write(f"daemon {self._process.pid} ended with {status}: {self.report}\n")
        return False


def begin(url, path, says, seconds, at_once):
    """Live."""
    live(url, path, says.fileno(), seconds, at_once)


def deploy_again_and_again(
    directory, url, *, times, runs, daemons=2, pace=20, seconds=0.25, at_once=100
):
    """Replace daemons one after the other while they work off a queue, and judge the records.

    Args:
        directory: Where the log is.
        url: The database.
        times: How many daemons are replaced.
        runs: How many runs are enqueued.
        daemons: How many work at once.
        pace: How many steps a daemon completes before it is replaced.
        seconds: How long a step takes.
        at_once: How many runs a daemon works on at once.
    """
    figures, log = Figures(runs=runs), directory / "log"
    with Orchestrator(SQLStateManager(url, create=True)) as client:
        flow = chain(os.open(os.devnull, os.O_WRONLY), seconds)
        ids = {client.enqueue(flow, {"n": n}).id: n for n in range(runs)}
    working = [Daemon(url, log, seconds, at_once) for _ in range(daemons)]
    for number in range(times):
        place = number % daemons
        working[place].reach(pace)
        retire(working[place], figures)
        working[place] = Daemon(url, log, seconds, at_once)
        figures.deploys += 1
    with contextlib.closing(SQLStateManager(url)) as state:
        wait_for_all(state, runs)
        for one in working:
            retire(one, figures)
        judge(state, ids, Counter(log.read_text().splitlines()), figures)
    return figures


def retire(daemon, figures):
    """Stop a daemon, and count what its shutdown did."""
    figures.unclean += not daemon.stop()
    report = daemon.report or {"left": (), "cancelled": (), "abandoned": (), "duration": 0.0}
    figures.left += len(report["left"])
    figures.cancelled += len(report["cancelled"])
    figures.abandoned += len(report["abandoned"])
    figures.slowest = max(figures.slowest, report["duration"])


def wait_for_all(state, runs):
    """Wait until every run has ended, or nothing ends any more."""
    ended, since = -1, time.monotonic()
    while ended < runs and time.monotonic() - since < GUARD:
        now = sum(state.list(status=one, limit=0).total for one in RunStatus if one.terminal)
        ended, since = now, time.monotonic() if now != ended else since
        time.sleep(LOOKS)


def judge(state, ids, begun, figures):
    """Hold the records against what was asked for, and against what has begun."""
    started = Counter()
    for run_id, n in ids.items():
        snapshot, events = state.snapshot(run_id), state.events(run_id)
        completed = Counter(it.step_id for it in events if it.kind is EventKind.STEP_COMPLETED)
        started.update(
            f"{run_id} {it.step_id} {it.attempt}"
            for it in events
            if it.kind is EventKind.STEP_STARTED
        )
        right = n + LENGTH + sum(range(LENGTH))
        figures.lost += snapshot.outputs.get("total") != right
        figures.cancelled += snapshot.status in {RunStatus.CANCELLED, RunStatus.FAILED}
        figures.twice += sum(completed.values()) - len(completed)
        figures.cut += sum(1 for it in events if it.kind is EventKind.STEP_STARTED) - STEPS
    # The table of moves lets no step start after its completion, so each start is of an open step.
    figures.again += sum((begun - started).values())
