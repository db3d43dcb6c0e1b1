"""The workflow of the first tutorial: one step, three in parallel, and one that joins them.

    actorflow run docs/examples/lesson.py --input url=https://example.org/text

             +-> process --+
    fetch ---+-> enrich ---+-> aggregate
             +-> analyze --+

The sleeps imitate slow services.
"""

from __future__ import annotations

import asyncio

from actorflow import RetryPolicy, Workflow

__all__ = ["flow"]

flow = Workflow("report", name="Daily report")
patient = RetryPolicy(max_attempts=3, initial_interval=0.1)


@flow.step
def fetch(url: str) -> list[str]:
    """Imitate a download: return the same words for every URL."""
    return ["every", "step", "waits", "for", "its", "dependencies"]


@flow.step(after=fetch, async_=True, timeout=2.0, retry=patient)
async def process(fetch: list[str]) -> int:
    """Count the words."""
    await asyncio.sleep(0.03)
    return len(fetch)


@flow.step(after=fetch, async_=True, timeout=2.0, retry=patient)
async def enrich(fetch: list[str], url: str) -> str:
    """Describe where the words come from."""
    await asyncio.sleep(0.02)
    return f"{fetch[0]} … {fetch[-1]}, from {url}"


@flow.step(after=fetch, async_=True, timeout=2.0, retry=patient)
async def analyze(fetch: list[str]) -> str:
    """Find the longest word."""
    await asyncio.sleep(0.01)
    return max(fetch, key=len)


@flow.step(after=[process, enrich, analyze])
def aggregate(process: int, enrich: str, analyze: str) -> dict[str, object]:
    """Join the branches, each by its step id."""
    return {"words": process, "text": enrich, "longest": analyze}
