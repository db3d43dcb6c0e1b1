"""A daemon for the soak of all faults: it works off a queue, starts runs, and keeps a journal.

A journal is a file that is only appended to, one for each life of a daemon. It has a line for
whatever was acknowledged to this process, and for each body that begins:

    accepted RUN               the daemon has started or enqueued this run
    begin RUN STEP ATTEMPT     a body begins
    step RUN STEP              the completion of a step was shown to an observer
    end RUN STATUS             the end of a run was
    hears PID                  the process hears signals
    ready                      the daemon serves
    report JSON                its shutdown has returned this
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
import warnings
from pathlib import Path

import attrs

from actorflow.definition.workflow import Workflow
from actorflow.errors import ActorflowError
from actorflow.errors.definition import OrchestratorClosed
from actorflow.model.events import EventKind
from actorflow.orchestrator import Orchestrator
from actorflow.state.sql import SQLStateManager
from actorflow.support.warnings import ActorflowWarning

__all__ = [
    "CHILDREN",
    "DAY",
    "FAMILY_STEPS",
    "LEASE",
    "SCHEDULE",
    "Journal",
    "Orders",
    "flows",
    "leaf_of",
    "live",
    "total_of",
]

LEASE = 3.0
"""Seconds after which others take over the runs of a daemon that does not answer."""
PATIENCE = 120.0
LOOKS = 0.2
DRAIN, GRACE = 0.5, 0.5
EVICT_AFTER = 1.0
"""Seconds after which runs that wait for messages leave memory."""
AGAIN = 0.2
"""Seconds until a daemon tries again what has failed."""
DAY = 86_400.0
SCHEDULE = "tick"
CHILDREN = 2
"""How many children each run of `family` has."""
FAMILY_STEPS = 4 + 3 * CHILDREN
"""How many steps a run of `family` has with its children."""
ENDS = {
    EventKind.RUN_COMPLETED: "completed",
    EventKind.RUN_FAILED: "failed",
    EventKind.RUN_CANCELLED: "cancelled",
}


class Journal:
    """An append-only file of acknowledgements; each line is one write."""

    def __init__(self, path):
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def say(self, *words):
        """Append a line."""
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())

    def see(self, event):
        """Take note of an event, as an observer."""
        if event.kind is EventKind.STEP_COMPLETED:
            self.say("step", event.run_id, event.step_id)
        elif event.kind in ENDS:
            self.say("end", event.run_id, ENDS[event.kind])

    def begin(self, ctx):
        """Say that a body begins."""
        self.say("begin", ctx.run_id, ctx.step_id, ctx.attempt)


def leaf_of(n):
    """What a run of `leaf` comes to."""
    return 2 * (n + 1) + n


def total_of(n):
    """What a run of `family` comes to."""
    return n + leaf_of(n) + leaf_of(n + 1)


def flows(begin):
    """The workflows, by id; `begin` is called with its context by each body."""
    # They are closures, over `begin`.
    warnings.filterwarnings("ignore", ".*a lambda or a closure", ActorflowWarning)
    made = [leaf(begin), ticking(begin), paper(begin), sleeper(begin)]
    made += [family(begin, made[0]), nursery(begin, made[3]), approval(begin)]
    return {flow.id: flow for flow in made}


def leaf(begin):
    """A child: coroutines and a plain function, one after the other."""
    flow = Workflow("leaf")

    @flow.step(async_=True)
    async def a(n, ctx):
        begin(ctx)
        await asyncio.sleep(0.02 * (n % 5))
        return n + 1

    @flow.step(after="a")
    def b(a, ctx):
        begin(ctx)
        time.sleep(0.01 * (a % 3))
        return 2 * a

    @flow.step(after="b", async_=True)
    async def c(b, n, ctx):
        begin(ctx)
        await asyncio.sleep(0.02 * (n % 7))
        return b + n

    return flow


def family(begin, child):
    """A parent: one step awaits a child, another one blocks until its child has ended."""
    flow = Workflow("family")

    @flow.step(async_=True)
    async def first(n, ctx):
        begin(ctx)
        return n

    @flow.step(after="first", async_=True)
    async def one(n, ctx):
        begin(ctx)
        return (await ctx.run(child, {"n": n})).output

    @flow.step(after="first")
    def other(n, ctx):
        begin(ctx)
        return ctx.run(child, {"n": n + 1}, key="other").output

    @flow.step(after=["first", "one", "other"])
    def total(first, one, other, ctx):
        begin(ctx)
        return first + one + other

    return flow


def ticking(begin):
    """What the schedule runs."""
    flow = Workflow("ticking")

    @flow.step
    def tick(ctx):
        begin(ctx)
        return ctx.metadata["scheduled_for"]

    return flow


def paper(begin):
    """Two steps; its runs have keys, of which one runs at a time."""
    flow = Workflow("paper")

    @flow.step(async_=True)
    async def write(n, ctx):
        begin(ctx)
        await asyncio.sleep(0.1 * (n % 4))
        return n

    @flow.step(after="write")
    def file(write, ctx):
        begin(ctx)
        return write

    return flow


def approval(begin):
    """A run that waits for two messages, in and out of memory."""
    flow = Workflow("approval")

    @flow.step(async_=True)
    async def ask(ctx):
        begin(ctx)
        return [await ctx.wait_for("approved") for _ in "ab"]

    @flow.step(after="ask")
    def tell(ask, ctx):
        begin(ctx)
        return ask

    return flow


def sleeper(begin):
    """A run that ends only when it is cancelled."""
    flow = Workflow("sleeper")

    @flow.step(async_=True)
    async def sleep(ctx):
        begin(ctx)
        await asyncio.sleep(DAY)

    return flow


def nursery(begin, child):
    """A parent whose child ends only when the parent is cancelled."""
    flow = Workflow("nursery")

    @flow.step(async_=True)
    async def sit(ctx):
        begin(ctx)
        await ctx.run(child)

    return flow


@attrs.frozen
class Orders:
    """What a daemon is told."""

    url: str
    stop: str
    """A file that exists once no further runs are to be started."""
    pace: float
    """Seconds between two families that it starts."""
    name: str = ""
    """Tells this life from all others."""
    path: str = ""
    """The journal."""


def live(orders):
    """Serve until SIGTERM, then shut down, leave what has not ended, and report that."""
    # A signal that arrives just before a lock is waited for does not wake the waiting thread.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    journal, over = Journal(orders.path), threading.Event()
    journal.say("hears", os.getpid())
    state = until_done(lambda: SQLStateManager(orders.url, lease=LEASE, patience=PATIENCE), over)
    if state is None:  # it was told to end before it could connect
        journal.say("report", "{}")
        os._exit(0)
    made = Orchestrator(
        state,
        recover=True,
        recover_every=LOOKS,
        async_workers=500,
        max_active_runs=100,
        evict_after=EVICT_AFTER,
        observers=[journal.see],
    )
    for flow in flows(journal.begin).values():
        made.register(flow)
    with made:
        given = (made, journal, orders, over)
        threading.Thread(target=serve, args=given, daemon=True).start()
        signal.sigwait({signal.SIGTERM})
        over.set()
        report = made.shutdown(drain=DRAIN, grace=GRACE)
    journal.say("report", json.dumps(attrs.asdict(report)))
    os._exit(0)  # threads of bodies may still wait


def serve(orchestrator, journal, orders, over):
    """Have the schedule, and start families one after the other."""
    timetable = {"every": 1.0, "overlap": "allow", "missed": "all", "catch_up": DAY}
    until_done(lambda: orchestrator.schedule(SCHEDULE, "ticking", **timetable), over)
    journal.say("ready")
    n = 0
    while not (over.wait(orders.pace) or Path(orders.stop).exists()):
        key = f"{orders.name}-{n}"
        run = until_done(
            lambda key=key, n=n: orchestrator.start("family", {"n": n}, idempotency_key=key), over
        )
        if run is not None:
            journal.say("accepted", run.id)
        n += 1


def until_done(work, over):
    """Try again and again, as a caller with an idempotency key may; return the result."""
    while not (over.is_set() or terminated()):
        try:
            return work()
        except OrchestratorClosed:
            return None
        except ActorflowError:
            over.wait(AGAIN)
    return None


def terminated():
    """Whether SIGTERM has come; a daemon that does not serve yet ends at once."""
    return signal.SIGTERM in signal.sigpending()
