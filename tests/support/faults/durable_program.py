"""A program to kill: it runs workflows in a database and reports what was acknowledged.

A killed process leaves three accounts: the database, the steps whose completion was shown to an
observer, and a log of the steps whose bodies have begun.
"""

from __future__ import annotations

import contextlib
import os
import threading

from actorflow.definition.workflow import Workflow
from actorflow.model.events import EventKind
from actorflow.orchestrator import Orchestrator
from actorflow.state.sql import SQLStateManager

__all__ = ["STEPS", "expected", "lines", "live", "logged", "work"]

WIDTH = 5
STEPS = WIDTH + 2
"""How many steps a run has."""
THREADS = 3
LEASE = 0.1
"""Seconds after which the next life takes over the runs of a killed one."""


def work(log):
    """A workflow: a source, some in parallel, a sum; each step says that it begins."""

    def begins(ctx):
        os.write(log, f"{ctx.run_id} {ctx.step_id}\n".encode())

    flow = Workflow("work")

    @flow.step
    def source(n, ctx):
        begins(ctx)
        return {"n": n}

    def branch(number):
        async def body(source, ctx):
            begins(ctx)
            return source["n"] + number

        return body

    names = [f"b{number}" for number in range(WIDTH)]
    for number, name in enumerate(names):
        flow.step(branch(number), id=name, after="source", async_=True)

    @flow.step(after=names)
    def total(inputs, ctx):
        begins(ctx)
        return sum(inputs[name] for name in names)

    return flow


@contextlib.contextmanager
def logged(path):
    """The workflow, with the file to which its steps say that they begin."""
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        yield work(log)
    finally:
        os.close(log)


def lines(text):
    """Pairs of a run and a step; the last line may have been cut by a kill."""
    whole = text.decode().rpartition("\n")[0]
    return [tuple(line.split(" ")) for line in whole.splitlines()]


def expected(n):
    """What a run with this input comes to."""
    return sum(n + number for number in range(WIDTH))


def live(url, log, said):
    """Go on with what was left, and run more workflows, until the process is killed.

    Args:
        url: The database.
        log: The path of the log.
        said: The file descriptor to which acknowledged steps are written, a line each.
    """

    def acknowledge(event):
        if event.kind is EventKind.STEP_COMPLETED:
            os.write(said, f"{event.run_id} {event.step_id}\n".encode())

    state = SQLStateManager(url, create=True, lease=LEASE)
    orchestrator = Orchestrator(state, recover=True, recover_every=LEASE, observers=[acknowledge])
    with logged(log) as flow, orchestrator:
        orchestrator.register(flow)

        def one_after_the_other(first):
            for n in range(first, 1_000_000, THREADS):
                orchestrator.run(flow, {"n": n})

        threads = [threading.Thread(target=one_after_the_other, args=(n,)) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
