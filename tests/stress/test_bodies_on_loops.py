"""Coroutine bodies of every temper, mixed at random, on real event loops.

Simulation runs bodies on a loop of its own, so it cannot see a wake-up that the executor for
coroutines or the embedded system loses. Here a seed draws small workflows whose steps return or
fail at once, suspend, wait for each other, cancel their own tasks, run other workflows; the outcome
of every run is compared with a naive model of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random

import pytest

from actorflow import Orchestrator, RetryPolicy, Workflow
from tests.support.executor_rigs import starts_in
from tests.support.soak_factor import SOAK

__all__ = ["starts_in"]

pytestmark = pytest.mark.slow

GUARD = 10
"""Seconds after which a run is taken to have lost a wake-up; no run waits for time to pass."""

INNER = Workflow("inner")
INNER.step(lambda: "of inner", id="plain")


@INNER.step(async_=True, after="plain")
async def suspends(plain):
    """Go once round the loop."""
    await asyncio.sleep(0)
    return plain


class Drawn:
    """A workflow, with what each of its steps should come to.

    Steps depend on, and wait for, steps of a lower rank only, so no run can be in a deadlock. They
    are defined in another order, so that they start in any.
    """

    def __init__(self, draw, orchestrator):
        self._draw, self._orchestrator = draw, orchestrator
        self._events = {}
        self._retried = set()
        self.kinds, self.after, self.ends = {}, {}, {}
        # A wake-up that is lost is made up for by the next one, so most runs have few kinds.
        others = [self._raises, self._fails_once, self._suspends, self._on_a_thread]
        others += [self._times_out, self._runs_another]
        others += [self._cancels_itself, self._cancels_itself_and_suspends]
        self._tempers = [
            self._returns,
            self._waits,
            *draw.sample(others, draw.choice([0, 1, 1, 3])),
        ]
        bodies = [self._step(f"s{rank}") for rank in range(draw.randint(2, 8))]
        self.cancels = draw.random() < 0.1
        if self.cancels:
            self.kinds["cancels"] = "cancels_its_run"
            bodies.append((self._cancels_its_run, "cancels", (), {"async_": True}))
        self.flow = self._flow(bodies)

    def __repr__(self):
        return f"{self.kinds} after {self.after}"

    @property
    def status(self):
        """What the run's status should be."""
        if self.cancels:
            return "cancelled"
        return "failed" if "failed" in self.ends.values() else "completed"

    def _flow(self, bodies):
        """Define the steps in an order in which dependencies come first; there are many."""
        flow, defined = Workflow(f"drawn {self._draw.random()}", fail_fast=False), set()
        while bodies:
            ready = [body for body in bodies if defined >= set(body[2])]
            body, step_id, after, options = one = self._draw.choice(ready)
            bodies.remove(one)
            defined.add(step_id)
            flow.step(body, id=step_id, after=after, **options)
        return flow

    def _step(self, step_id):
        draw, before = self._draw, [*self.ends]
        after = tuple(draw.sample(before, min(len(before), draw.choice([0, 0, 1, 1, 2]))))
        kind = draw.choice(self._tempers)
        fails = kind in {self._raises, self._times_out, self._cancels_itself_and_suspends}
        runs = all(self.ends[one] == "completed" for one in after)
        if kind != self._times_out:  # its time may be over before its body is entered
            self._events[step_id] = asyncio.Event()
        body = functools.partial(kind, step_id)
        options = {"async_": True}
        if kind == self._waits:
            sets = [one for one in before if one in self._events and self.ends[one] != "cancelled"]
            awaited = [self._events[one] for one in sets]
            body = functools.partial(kind, step_id, draw.sample(awaited, min(2, len(awaited))))
        elif kind == self._times_out:
            options["timeout"] = 0.002
        elif kind == self._fails_once:
            options["retry"] = RetryPolicy(max_attempts=2, initial_interval=0.0001)
        elif kind == self._on_a_thread:
            options["async_"] = draw.random() < 0.5
        self.kinds[step_id], self.after[step_id] = kind.__name__, after
        self.ends[step_id] = "cancelled" if not runs else "failed" if fails else "completed"
        return body, step_id, after, options

    # ── Bodies ───────────────────────────────────────────────────────────────────────────────

    async def _returns(self, step_id):
        self._events[step_id].set()
        return step_id

    async def _raises(self, step_id):
        self._events[step_id].set()
        raise LookupError(step_id)

    async def _fails_once(self, step_id):
        if step_id not in self._retried:
            self._retried.add(step_id)
            raise LookupError(step_id)
        return await self._returns(step_id)

    async def _suspends(self, step_id):
        await asyncio.sleep(0)
        return await self._returns(step_id)

    async def _waits(self, step_id, events):
        for event in events:
            await event.wait()
        return await self._returns(step_id)

    def _on_a_thread(self, step_id):
        self._loop().call_soon_threadsafe(self._events[step_id].set)
        return step_id

    def _loop(self):
        return self._orchestrator._life._runtime._loop

    async def _times_out(self, _step_id):
        await asyncio.Event().wait()

    async def _cancels_itself(self, step_id):
        asyncio.current_task().cancel()
        return await self._returns(step_id)

    async def _cancels_itself_and_suspends(self, step_id):
        asyncio.current_task().cancel()
        self._events[step_id].set()
        await asyncio.sleep(0)

    async def _runs_another(self, step_id):
        result = await self._orchestrator.run_async(INNER)
        assert result.output == "of inner"
        return await self._returns(step_id)

    async def _cancels_its_run(self, ctx):
        self._orchestrator.get(ctx.run_id).cancel()
        await asyncio.Event().wait()


def drawn(seed, orchestrator):
    """Return a few workflows that run at the same time."""
    draw = random.Random(seed)
    return [Drawn(draw, orchestrator) for _ in range(draw.choice([1, 1, 1, 2, 4]))]


def differences(flows, results):
    """Return the runs that came to something else than the model says."""
    found = []
    for flow, result in zip(flows, results, strict=True):
        ends = {step_id: str(step.status) for step_id, step in result.steps.items()}
        same = flow.cancels or ends == flow.ends
        if result.status != flow.status or not same:
            found.append((flow, result.status, flow.status, ends, flow.ends))
    return found


@pytest.mark.parametrize("chunk", range(5))
def test_runs_on_a_thread_end_as_the_model_says(chunk):
    """However the bodies are mixed."""
    for seed in range(chunk * 80 * SOAK, (chunk + 1) * 80 * SOAK):
        with Orchestrator(async_workers=100) as orchestrator:
            flows = drawn(seed, orchestrator)
            runs = [orchestrator.start(flow.flow) for flow in flows]
            with hurried(orchestrator):
                results = [run.wait(GUARD) for run in runs]

        assert [] == differences(flows, results), f"seed {seed}"


@pytest.mark.parametrize("chunk", range(5))
def test_runs_on_the_callers_loop_end_as_the_model_says(chunk):
    """Started in one go, before the loop turns, or one after the other."""

    async def results_of(seed):
        async with Orchestrator(async_workers=100) as orchestrator:
            flows = drawn(seed, orchestrator)
            if seed % 2:
                runs = [orchestrator.start(flow.flow) for flow in flows]
            else:
                runs = [await orchestrator.start_async(flow.flow) for flow in flows]
            with hurried(orchestrator):
                return flows, [await asyncio.wait_for(run.wait_async(), GUARD) for run in runs]

    for seed in range(chunk * 80 * SOAK, (chunk + 1) * 80 * SOAK):
        flows, results = asyncio.run(results_of(seed))

        assert [] == differences(flows, results), f"seed {seed}"


@contextlib.contextmanager
def hurried(orchestrator):
    """If the block fails, do not wait for the runs that hang."""
    try:
        yield
    except BaseException:
        orchestrator._life.lose_patience(0.0)
        raise
