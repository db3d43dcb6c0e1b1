"""The same durable work, done by DBOS.

    python -m benchmarks.durable_dbos URL KIND COUNT SAMPLES WORKERS

It prints the seconds of each sample as a JSON list. Steps are coroutines, as they are elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import sys
from importlib import import_module
from typing import Any

import pyperf

from benchmarks import lesson

__all__: list[str] = []


def main(url: str, kind: str, count: int, samples: int, workers: int) -> None:
    """Measure, and print."""
    dbos: Any = import_module("dbos").DBOS
    free = asyncio.Semaphore(workers)
    fan, chain, lesson_run = _workflows(dbos, free)
    dbos(config={"name": "bench", "system_database_url": url, "log_level": "ERROR"})
    dbos.launch()

    async def fan_out() -> None:
        await fan(count)

    async def lessons() -> None:
        await asyncio.gather(*(lesson_run(str(number)) for number in range(count)))

    async def one_by_one() -> None:
        await chain(count)

    jobs = {"fan": fan_out, "chain": one_by_one, "lesson": lessons}
    seconds = asyncio.run(_measured(jobs[kind], samples))
    dbos.destroy()
    print(json.dumps(seconds))


async def _measured(job: Any, samples: int) -> list[float]:
    seconds = []
    for _ in range(samples + 1):
        began = pyperf.perf_counter()
        await job()
        seconds.append(pyperf.perf_counter() - began)
    return seconds[1:]


def _workflows(dbos: Any, free: asyncio.Semaphore) -> tuple[Any, Any, Any]:
    async def leased(step: Any, *values: Any) -> Any:
        async with free:
            return await step(*values)

    async def number(value: int) -> int:
        return value

    step = dbos.step()(number)
    steps = {
        body.__name__: dbos.step()(body)
        for body in (
            *(lesson.fetch_on_loop, lesson.process, lesson.enrich, lesson.analyze),
            lesson.aggregate_on_loop,
        )
    }

    async def fan(count: int) -> int:
        await leased(step, 0)
        done = await asyncio.gather(*(leased(step, value) for value in range(1, count - 1)))
        return int(await leased(step, sum(done)))

    async def chain(count: int) -> int:
        output = 0
        for value in range(count):
            output = await leased(step, output + value)
        return output

    async def run(url: str) -> Any:
        fetched = await leased(steps["fetch_on_loop"], url)
        names = ("process", "enrich", "analyze")
        done = await asyncio.gather(*(leased(steps[name], fetched) for name in names))
        return await leased(steps["aggregate_on_loop"], *done)

    return dbos.workflow()(fan), dbos.workflow()(chain), dbos.workflow()(run)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *(int(word) for word in sys.argv[3:6]))
