"""Workflows of one step, and the calls with which a test drives their runs."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading

from actorflow import Workflow

__all__ = [
    "GUARD",
    "Gate",
    "broken",
    "endless",
    "fine",
    "flow_of",
    "in_thread",
    "seen",
    "timed_out",
    "until_closing",
]

GUARD = 60
"""Seconds after which a test fails instead of hanging; no test waits as long when it passes."""


def flow_of(body, name="flow", **options):
    """Return a workflow of one step."""
    flow = Workflow(name)
    flow.step(body, id="step", **options)
    return flow


def fine():
    """Be a step that works."""
    return "fine"


def broken():
    """Be a step that fails."""
    raise LookupError("the step's own")


async def endless():
    """Be a step that only cancelling ends."""
    await asyncio.Event().wait()


class Gate:
    """A workflow whose step waits until the gate is opened."""

    def __init__(self):
        self.opened = threading.Event()
        self.flow = flow_of(lambda: self.opened.wait(GUARD), "gate")

    def open(self):
        """Let the step end."""
        self.opened.set()


def seen(run, kind, step_id=None):
    """Read a run's events until one of this kind has come, and return it."""
    return next(e for e in run.events() if kind == e.kind and step_id in {None, e.step_id})


def timed_out(start, kind):
    """Return a run that timed out after an event of this kind.

    How long a run takes to get there depends on the machine, so the timeout doubles until it is
    enough.

    Args:
        start: Takes a timeout in seconds, and returns a run that was started with it.
        kind: The kind of event.
    """
    for exponent in range(-4, 6):
        run = start(2.0**exponent)
        run.wait(GUARD)
        if kind in {event.kind for event in run.events()}:
            return run
    raise AssertionError(f"no run got as far as {kind}")


def in_thread(call):
    """Make a call on another thread, and return the future of its outcome."""
    future = concurrent.futures.Future()

    def work():
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - it is the future's
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future


def until_closing(orchestrator):
    """Return as soon as an orchestrator's shutdown has begun."""
    while orchestrator._life._closing is None:
        threading.Event().wait(0.001)
