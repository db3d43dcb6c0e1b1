"""One orchestrator, and everybody at it at once, until one of them shuts it down.

Simulation explores what actors do to each other; what threads do to each other it cannot see.
So there are no choices here, only the real thing: real threads that switch at almost every
instruction, each with a list of things to do that a seed has drawn. What is claimed afterwards
is what has to be true whichever came first.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import random
import threading

import pytest

from actorflow import (
    MemoryStateManager,
    Orchestrator,
    OrchestratorClosed,
    Overloaded,
    RetryPolicy,
    Workflow,
)
from tests.support.soak_factor import SOAK
from tests.support.thread_races import GUARD, busy_switching, remaining_threads, together

pytestmark = pytest.mark.slow

AGAIN = RetryPolicy(max_attempts=3, initial_interval=0.0001, jitter=0)
RUN_ENDS = {"completed", "failed", "cancelled"}
STEP_ENDS = {*RUN_ENDS, "skipped", "compensated", "compensation_failed"}
ENDS = {f"run.{end}" for end in RUN_ENDS}


INNER = Workflow("inner")
INNER.step(lambda: 1, id="one")


async def returns_at_once():
    """Wait for nothing."""


async def comes_back():
    """Go once round the loop."""
    await asyncio.sleep(0)


async def refuses_to_stop():
    """Take a while longer when it is cancelled."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(GUARD)
    await asyncio.sleep(0)


def fails_at_first(ctx):
    """Fail, the first time."""
    if ctx.attempt == 1:
        raise OSError


class Life:
    """An orchestrator's life among threads, as a seed has it.

    Args:
        seed: What everything is drawn from.
    """

    starters, starts = 3, 8

    def __init__(self, seed):
        self.draw = random.Random(seed)
        self.state = MemoryStateManager(max_runs=1_000_000, max_events=100_000_000)
        self.observed = []
        self.places = self.draw.choice([1, 3, 100])
        self.orchestrator = Orchestrator(
            self.state,
            async_workers=self.draw.choice([1, 2, 10]),
            max_active_runs=self.places,
            max_queued_runs=self.draw.choice([0, 3, 50]),
            when_full=self.draw.choice(["block", "reject"]),
            max_abandoned=10_000,
            stop_grace=self.draw.choice([0.0001, 0.01]),
            observers=[self.observed.append],
        )
        self.release, self.over = threading.Event(), threading.Event()
        self.runs = []
        self.read = []
        self.reports = []
        self.flow = self.busy_flow()
        started = itertools.count(1)
        self.count = started.__next__
        self.last = self.draw.randint(1, self.starters * self.starts)

    # ── What runs ────────────────────────────────────────────────────────────────────────────

    def busy_flow(self):
        """A workflow with a step of every kind, some of which go wrong."""
        flow = Workflow("busy", fail_fast=self.draw.random() < 0.5)
        plain = flow.step(lambda: 1, id="plain", compensate=lambda plain: plain)
        returns = flow.step(returns_at_once, async_=True)
        flow.step(comes_back, id="suspends", async_=True, after=plain)
        optional = {"async_": True, "required": False}
        hurried = {**optional, "timeout": 0.0005}
        flow.step(refuses_to_stop, **hurried)
        flow.step(self.hangs_at_first, **hurried, after=returns, retry=AGAIN)
        flow.step(self.runs_another, **optional, after=plain)
        fails = flow.step(fails_at_first, async_=True, after=returns, retry=AGAIN)
        flow.step(self.may_fail, after=[plain, fails])
        return flow

    def hangs_at_first(self, ctx):
        """Hang until all is over, the first time."""
        if ctx.attempt == 1:
            self.release.wait(GUARD)

    def runs_another(self):
        """Run another workflow, and wait for it."""
        if self.places == 100:  # steps that wait at a full door could stand still for good
            self.orchestrator.run(INNER)

    def may_fail(self):
        """Fail, in some of the runs."""
        if len(self.runs) % 3 == 0:
            raise ValueError

    # ── Who does what ────────────────────────────────────────────────────────────────────────

    def start(self, seed):
        """Start runs, and do something to each; the last of all shuts down."""
        draw = random.Random(seed)
        for _ in range(self.starts):
            with contextlib.suppress(OrchestratorClosed, Overloaded):
                self.start_one(draw)
            if self.count() == self.last:
                self.shut_down(draw)

    def start_one(self, draw):
        """Start a run, and do something to it."""
        run = self.orchestrator.start(self.flow, priority=draw.randint(0, 2))
        self.runs.append(run)
        draw.choice([self.cancel, self.watch, self.look, self.wait, self.resume])(run)

    def cancel(self, run):
        """Cancel it, and perhaps undo it."""
        run.cancel(compensate=len(self.runs) % 2 == 0)

    def watch(self, run):
        """Read its first events, and lose interest."""
        list(itertools.islice(run.events(), 3))

    def look(self, run):
        """Look at it in every way."""
        orchestrator = self.orchestrator
        assert run.id == orchestrator.get(run.id).id
        assert run.id in {each.run_id for each in orchestrator.list(limit=1000).runs}
        assert run.id == run.snapshot().run_id

    def wait(self, run):
        """Wait for it, and lose patience."""
        with contextlib.suppress(TimeoutError):
            run.wait(0.0001)

    def resume(self, run):
        """Let it go on as soon as it has ended."""
        run.cancel()
        run.wait(GUARD)
        self.runs.append(self.orchestrator.resume(run.id, self.flow))

    def shut_down(self, draw):
        """End it all, in a hurry or not."""
        drain, grace = draw.choice([0, 0.005, GUARD]), draw.choice([0, 0.005])
        self.reports.append(self.orchestrator.shutdown(drain, grace))

    def read_all(self):
        """Read each run's events to the last, as long as there are new runs."""
        for place in itertools.count():
            if not self.there_is(place):
                return
            run = self.runs[place]
            with contextlib.suppress(OrchestratorClosed):
                self.read.append((run.id, [event.number for event in run.events()]))

    async def read_all_async(self):
        """Do the same on an event loop, where waiting callers are cancelled all the time."""
        for place in itertools.count():
            if not self.there_is(place):
                return
            run = self.runs[place]
            with contextlib.suppress(OrchestratorClosed):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(run.wait_async(), 0)
                self.read.append((run.id, [event.number async for event in run.events()]))

    def there_is(self, place):
        """Wait for one more run, or for the end."""
        while len(self.runs) <= place and not self.over.is_set():
            self.over.wait(0.0001)
        return len(self.runs) > place

    def start_all(self):
        """Start runs on several threads."""
        seeds = [self.draw.random() for _ in range(self.starters)]
        try:
            together(*[functools.partial(self.start, seed) for seed in seeds])
        finally:
            self.over.set()

    def go(self):
        """Let it all happen."""
        with self.orchestrator:
            together(self.start_all, self.read_all, lambda: asyncio.run(self.read_all_async()))
            self.reports.append(self.orchestrator.shutdown())
        self.release.set()
        return self

    def kept(self):
        """What is still kept by anybody: names and values that ought to be empty, each of them."""
        life = self.orchestrator._life
        runtime, door = life._closing._runtime, life.admission
        kept = {
            "threads": remaining_threads(),
            "runs": life.live.ids(),
            "places": sorted(map(id, {*door._taken, *door._waiting})),
            "brain": list(runtime._brain.runs),
            "leases": runtime._brain.workers.held,
            "streams": runtime.audience._watchers,
            "waits": {**runtime.waits._waits, **runtime.waits._awaited},
            "children": runtime.family._children,
            "attempts": [*runtime._threads._running, *runtime._threads._abandoned],
        }
        return {name: value for name, value in kept.items() if value}

    def gaps(self):
        """The runs whose record or readers miss something, or that go on after their end."""
        numbers, gaps = {}, {}
        for run in self.state.list(limit=10_000).runs:
            events = self.state.events(run.run_id)
            numbers[run.run_id] = [event.number for event in events]
            if numbers[run.run_id] != [*range(1, len(events) + 1)] or events[-1].kind not in ENDS:
                gaps[run.run_id] = events
        missed = {
            run_id: read for run_id, read in self.read if read != numbers[run_id][: len(read)]
        }
        return gaps | missed


@pytest.mark.parametrize("seed", range(20 * SOAK))
def test_whoever_came_first_everything_has_ended(seed):
    """Every run has an end, no record has a gap, and nothing is kept by anybody."""
    with busy_switching():
        life = Life(seed)
        life.go()
    results = [run.wait(0) for run in life.runs]

    assert RUN_ENDS >= {result.status for result in results}
    assert STEP_ENDS >= {step.status for each in results for step in each.steps.values()}
    assert {life.reports[0]} == set(life.reports)
    assert {} == life.gaps()
    assert {} == life.kept()
