"""Ctrl-C at any instant of the main thread: nothing hangs, nothing goes on behind its back.

Every nineteenth instant is tried, and for a soak each of them; see `tests/support/soak_factor.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading

import pytest

from actorflow import Orchestrator, Run
from tests.support.flows import GUARD, flow_of
from tests.support.interrupts import Interrupt, instants

pytestmark = pytest.mark.slow


def ours():
    """The threads of actorflow's that live."""
    threads = threading.enumerate()
    return [one for one in threads if one.name.startswith("actorflow") and one.is_alive()]


def fine():
    """Be a step that works."""
    return 7


class Step:
    """A step that goes on until it is cancelled, or a caller waits for what it cannot get."""

    def __init__(self):
        self.error = None
        self._over = threading.Event()
        self.flow = flow_of(self._body, async_=True)

    async def _body(self):
        while not self._over.is_set():  # noqa: ASYNC110 - it is set on another thread
            await asyncio.sleep(0.0005)
        if self.error is not None:
            raise self.error

    def entering(self, name):
        """Let it end when the main thread is about to block."""
        if name == "wait":
            self._over.set()

    def end(self):
        """Let it end."""
        self._over.set()


@pytest.fixture(scope="module", autouse=True)
def everything_is_loaded():
    """An interrupted import is Python's own affair."""
    with Orchestrator(observers=[lambda _event: None]) as orchestrator:
        list(orchestrator.start(flow_of(fine)).events())


@pytest.fixture
def orchestrator():
    """An orchestrator with room for one run."""
    with Orchestrator(max_active_runs=1, max_queued_runs=0, stop_grace=1.0) as orchestrator:
        yield orchestrator


def interrupted(after, step, call, *arguments):
    """Call something, have Ctrl-C arrive after so many instructions, and return the interrupt."""
    with (
        contextlib.suppress(KeyboardInterrupt),
        Interrupt(after, step.entering, step.end) as interrupt,
    ):
        call(*arguments)
    return interrupt


def comes_to_rest(orchestrator):
    """Wait until no run is in progress, and no caller takes or waits for a place."""
    life = orchestrator._life
    patience = itertools.count()
    while life.live.ids() or life.admission.free != 1 or life.admission._waiting:
        assert next(patience) < 10_000, "something goes on without an owner"
        threading.Event().wait(0.001)


def test_whoever_is_interrupted_while_he_runs_something_leaves_nothing_behind(orchestrator):
    """The run ends, its place is free again, and no lock is held."""
    for after in instants():
        step = Step()
        interrupt = interrupted(after, step, orchestrator.run, step.flow)
        comes_to_rest(orchestrator)

        assert {True} >= {run.status.terminal for run in orchestrator.list(limit=1).runs}
        if not interrupt.came:
            break

    assert 7 == orchestrator.run(flow_of(fine)).output


def test_whoever_is_interrupted_at_a_full_door_leaves_the_line(orchestrator):
    """Wherever he stands, and whether or not his turn has come."""
    for after in instants():
        first = Step()
        orchestrator.start(first.flow)
        line = in_line(orchestrator, first)
        interrupt = interrupted(after, first, orchestrator.start, flow_of(fine))
        first.end()
        line.join(GUARD)
        comes_to_rest(orchestrator)

        if not interrupt.came:
            break

    assert 7 == orchestrator.run(flow_of(fine)).output


def in_line(orchestrator, first):
    """Let a step end as soon as a caller waits at the door."""

    def opens():
        while not first._over.wait(0.0005):
            if orchestrator._life.admission._waiting:
                first.end()

    thread = threading.Thread(target=opens)
    thread.start()
    return thread


def test_whoever_is_interrupted_while_he_resumes_something_leaves_nothing_behind(orchestrator):
    """The run can be resumed by the next one who comes."""
    step = Step()
    step.end()

    def resume(run_id):
        orchestrator.resume(run_id, step.flow).wait()

    for after in instants():
        step.error = OSError()
        failed = orchestrator.start(step.flow)
        failed.wait(GUARD)
        step.error = None
        interrupt = interrupted(after, step, resume, failed.id)
        comes_to_rest(orchestrator)

        assert "completed" == orchestrator.resume(failed.id, step.flow).wait(GUARD).status
        if not interrupt.came:
            break


def read(run):
    """Read its events to the last."""
    list(run.events())


@pytest.mark.parametrize("watch", [Run.wait, read])
def test_whoever_is_interrupted_while_he_watches_does_not_disturb_the_run(orchestrator, watch):
    """It goes on and completes, and others may watch it."""
    for after in instants(apart=3):
        step = Step()
        run = orchestrator.start(step.flow)
        interrupt = interrupted(after, step, watch, run)
        step.end()

        assert "completed" == run.wait(GUARD).status
        assert "run.completed" == list(run.events())[-1].kind
        comes_to_rest(orchestrator)
        if not interrupt.came:
            break


def nobody_stays(orchestrator):
    """Wait for the threads of actorflow's; return the names of those that do not end."""
    for thread in ours():
        thread.join(GUARD)
    return [thread.name for thread in ours()] + orchestrator._life.live.ids()


def test_whoever_is_interrupted_while_he_leaves_the_block_leaves_nothing_behind():
    """Neither a thread nor a run, without a second shutdown."""
    for after in instants():
        step = Step()
        orchestrator = Orchestrator(stop_grace=1.0, observers=[lambda _event: None]).__enter__()
        orchestrator.start(step.flow)
        interrupt = interrupted(after, step, orchestrator.__exit__, None, None, None)

        assert [] == nobody_stays(orchestrator)
        if not interrupt.came:
            break


def test_whoever_is_interrupted_at_any_time_of_a_life_can_shut_down():
    """While it begins, while it runs something, and while it ends."""

    def life(orchestrator, step):
        with orchestrator:
            orchestrator.start(step.flow)
            orchestrator.shutdown(drain=0, grace=1)

    for after in instants():
        orchestrator, step = Orchestrator(observers=[lambda _event: None]), Step()
        interrupt = interrupted(after, step, life, orchestrator, step)
        orchestrator.shutdown(drain=0, grace=1)

        assert [] == nobody_stays(orchestrator)
        if not interrupt.came:
            break
