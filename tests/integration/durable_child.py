"""A program to be killed: it lets runs happen in a database, and says what was acknowledged.

    python durable_child.py URL LOG

Each line on stdout is a step whose completion was shown to an observer. Each line of LOG is a
step whose body has begun.
"""

from __future__ import annotations

import os
import sys
import threading

from actorflow.events import EventKind
from actorflow.orchestrator import Orchestrator
from actorflow.state.sql import SQLStateManager
from actorflow.workflow import Workflow

__all__ = ["WIDTH", "expected", "work"]

WIDTH = 5


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


def expected(n):
    """What a run with this input comes to."""
    return sum(n + number for number in range(WIDTH))


def acknowledge(event):
    """Say that a step is known to have completed."""
    if event.kind is EventKind.STEP_COMPLETED:
        os.write(1, f"{event.run_id} {event.step_id}\n".encode())


def main(url, log):
    """Let runs happen, a few at a time, until somebody puts an end to it."""
    flow = work(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT))
    state = SQLStateManager(url, create=True)
    with Orchestrator(state, observers=[acknowledge]) as orchestrator:

        def one_after_the_other(first):
            for n in range(first, 1_000_000, 3):
                orchestrator.run(flow, {"n": n})

        threads = [threading.Thread(target=one_after_the_other, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
