"""Check that the scheduler in use is a compiled one, and that runs on it end as they should."""

from __future__ import annotations

import asyncio
from typing import Any

from actorflow import Orchestrator, RetryPolicy, RunFailed, RunStatus, Workflow
from actorflow.scheduling import decisions

STEPS = 50


def flow(*, fails: bool) -> Workflow:
    """Return a fan-out of flaky steps, a step that joins them, and one that undoes the first."""
    made, tries = Workflow("compiled", order="critical_path"), set[str]()

    def undo() -> None:
        """Be called if the run fails."""

    @made.step(compensate=undo)
    def first(start: int) -> int:
        return start

    async def flaky(first: int, ctx: Any) -> int:
        await asyncio.sleep(0)
        if ctx.step_id not in tries:
            tries.add(ctx.step_id)
            raise ConnectionError(ctx.step_id)
        return first

    names = [f"s{number}" for number in range(STEPS)]
    policy = RetryPolicy(max_attempts=2, initial_interval=0.001)
    for name in names:
        made.step(id=name, after="first", async_=True, retry=policy, timeout=30.0)(flaky)

    @made.step(after=names)
    def last(inputs: Any) -> int:
        if fails:
            raise ValueError("fail")
        return sum(inputs[name] for name in names)

    return made


def main() -> None:
    """Run one workflow that completes, and one that fails and is undone."""
    if decisions.__file__.endswith(".py"):
        raise SystemExit(f"{decisions.__file__} is not compiled")
    with Orchestrator(ageing=1.0) as orchestrator:
        result = orchestrator.run(flow(fails=False), {"start": 1})
        if result.outputs["last"] != STEPS:
            raise SystemExit(f"a run on the compiled scheduler gave {result.outputs}")
        try:
            orchestrator.run(flow(fails=True), {"start": 1})
        except RunFailed as error:
            if error.result.status is RunStatus.FAILED and error.result.compensated == ("first",):
                print(f"the scheduler is compiled: {decisions.__file__.rpartition('/')[2]}")
                return
        raise SystemExit("a run that fails on the compiled scheduler was not undone")


if __name__ == "__main__":
    main()
