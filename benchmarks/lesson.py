"""The flow of lesson 5, and the same five steps written by hand.

`fetch`, then `process`, `enrich` and `analyze` in parallel, then `aggregate`. The first and the
last are sync steps. They are plain functions, which go to a thread, or coroutines, which stay on
the loop: the difference between the two is what the hops between threads cost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from actorflow.definition.retry import RetryPolicy
from actorflow.definition.workflow import Step, Workflow

__all__ = ["Output", "by_hand", "expected_output", "lesson_flow"]

Output = dict[str, Any]


def fetch(url: str) -> Output:
    """Gather the input."""
    return {"url": url, "items": [1, 2, 3]}


async def process(fetch: Output) -> Output:
    """Do the first third of the work."""
    return {"sum": sum(fetch["items"])}


async def enrich(fetch: Output) -> Output:
    """Do the second third of the work."""
    return {"source": fetch["url"]}


async def analyze(fetch: Output) -> Output:
    """Do the last third of the work."""
    return {"count": len(fetch["items"])}


def aggregate(process: Output, enrich: Output, analyze: Output) -> Output:
    """Join the three."""
    return {"process": process, "enrich": enrich, "analyze": analyze}


async def fetch_on_loop(url: str) -> Output:
    """Gather the input without a thread."""
    return fetch(url)


async def aggregate_on_loop(process: Output, enrich: Output, analyze: Output) -> Output:
    """Join the three without a thread."""
    return aggregate(process, enrich, analyze)


def expected_output(url: str) -> Output:
    """Return what every run of the flow with this input must return."""
    return {"process": {"sum": 6}, "enrich": {"source": url}, "analyze": {"count": 3}}


def lesson_flow(*, threads: bool) -> Workflow:
    """Return the five steps, each with a timeout and a retry policy."""
    policy: dict[str, Any] = {"timeout": 30, "retry": RetryPolicy(max_attempts=3)}
    branches = (process, enrich, analyze)
    first, last = (fetch, aggregate) if threads else (fetch_on_loop, aggregate_on_loop)
    flow = Workflow("lesson-5")
    flow.add(Step("fetch", first, **policy))
    for branch in branches:
        flow.add(Step(branch.__name__, branch, after="fetch", async_=True, **policy))
    flow.add(Step("aggregate", last, after=[branch.__name__ for branch in branches], **policy))
    return flow


async def by_hand(url: str, workers_free: asyncio.Semaphore, *, threads: bool) -> Output:
    """Run the five steps the way one writes them when there is no runtime."""

    async def leased(body: Callable[[Output], Awaitable[Output]]) -> Output:
        async with workers_free:
            return await body(fetched)

    fetched = await (asyncio.to_thread(fetch, url) if threads else fetch_on_loop(url))
    branches = [leased(body) for body in (process, enrich, analyze)]
    done = await asyncio.gather(*branches)
    return await (asyncio.to_thread(aggregate, *done) if threads else aggregate_on_loop(*done))
