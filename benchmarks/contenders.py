"""Who is measured: each contender opens its runtime, and then runs one workload.

A runtime is opened, and warmed with a small graph, before the clock starts, and anew for every
sample: nobody is timed on a heap that still holds what another one keeps.
Every actorflow step carries a timeout and a retry policy; the floors have neither.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import attrs

from actorflow.definition.retry import RetryPolicy
from actorflow.definition.workflow import Step, Workflow
from actorflow.orchestrator import Orchestrator
from benchmarks.floors import asyncio_floor, thread_floor
from benchmarks.workloads import Body, Outputs, Workload, fan

__all__ = ["Contender", "Run", "actorflow", "actorflow_from_outside", "floor", "workflow_of"]

Run = Callable[[], Awaitable[Outputs]]

WARM_UP = fan(100)


@attrs.frozen(kw_only=True)
class Contender:
    """Somebody who can run a workload; `opened` gives what runs it, as often as it is called."""

    name: str
    workload: Workload
    body: Body
    opened: Callable[[], AbstractAsyncContextManager[Run]]


def floor(workload: Workload, body: Body, workers: int) -> Contender:
    """Return the hand-written loop for such bodies."""
    opened = _thread_floor if body.on_thread else _asyncio_floor
    return Contender(
        name="floor", workload=workload, body=body, opened=lambda: opened(workload, body, workers)
    )


@asynccontextmanager
async def _asyncio_floor(workload: Workload, body: Body, workers: int) -> AsyncIterator[Run]:
    after = workload.after
    bodies = {node.id: body.make(node) for node in workload.nodes}
    yield lambda: asyncio_floor(after, bodies, workers)


@asynccontextmanager
async def _thread_floor(workload: Workload, body: Body, workers: int) -> AsyncIterator[Run]:
    after = workload.after
    bodies = {node.id: body.make(node) for node in workload.nodes}
    with ThreadPoolExecutor(workers) as pool:
        # Starts every thread of the pool.
        thread_floor(WARM_UP.after, {node.id: body.make(node) for node in WARM_UP.nodes}, pool)

        async def run() -> Outputs:
            return thread_floor(after, bodies, pool)

        yield run


def actorflow(workload: Workload, body: Body, workers: int, **options: Any) -> Contender:
    """Return an orchestrator on the running loop, which is the floor's too."""
    flow, warm_up = workflow_of(workload, body), workflow_of(WARM_UP, body)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Run]:
        async with Orchestrator(async_workers=workers, **options) as orchestrator:
            await orchestrator.run_async(warm_up)

            async def run() -> Outputs:
                return dict((await orchestrator.run_async(flow)).outputs)

            yield run

    return Contender(name="actorflow", workload=workload, body=body, opened=opened)


def actorflow_from_outside(workload: Workload, body: Body, workers: int) -> Contender:
    """Return an orchestrator on a thread of its own, called by a thread that waits for it."""
    flow, warm_up = workflow_of(workload, body), workflow_of(WARM_UP, body)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Run]:
        with Orchestrator(async_workers=workers) as orchestrator:
            orchestrator.run(warm_up)

            async def run() -> Outputs:
                return dict(orchestrator.run(flow).outputs)

            yield run

    return Contender(name="own thread", workload=workload, body=body, opened=opened)


def workflow_of(workload: Workload, body: Body) -> Workflow:
    """Return the workload as a workflow of asynchronous steps."""
    flow = Workflow(f"{workload.name}-{body.name}")
    retry = RetryPolicy(max_attempts=3)
    for node in workload.nodes:
        flow.add(
            Step(node.id, body.make(node), after=node.after, async_=True, timeout=30, retry=retry)
        )
    return flow
