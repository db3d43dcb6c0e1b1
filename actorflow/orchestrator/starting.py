"""Starts of runs: to run here, to be taken by somebody, and those that were made before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorflow.errors import AlreadyStarted, DefinitionError, RunNotFound
from actorflow.once import Once, settle
from actorflow.orchestrator.lookup import find
from actorflow.orchestrator.requests import new_run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorflow.handles import Run
    from actorflow.orchestrator.lifetime import Lifetime
    from actorflow.orchestrator.registry import Registry
    from actorflow.orchestrator.requests import Request, RunOptions
    from actorflow.orchestrator.runtime import Runtime
    from actorflow.workflow import Workflow

__all__ = ["Starting"]


class Starting:
    """Starts runs of one orchestrator.

    Args:
        life: The orchestrator's life.
        registry: The workflows that it knows.
    """

    def __init__(self, life: Lifetime, registry: Registry) -> None:
        self._life = life
        self._registry = registry

    def check_may_wait(self, what: str) -> None:
        """Refuse to block the orchestrator's event loop until something is recorded."""
        runtime = self._life.runtime("start a run")
        if runtime.slow_to_read:
            runtime.check_may_block(what)

    def request(
        self,
        what: str,
        flow: Workflow | str,
        inputs: Mapping[str, Any] | None,
        options: RunOptions,
    ) -> tuple[Runtime, Request]:
        """Check what is asked for by somebody who wants to do `what`."""
        runtime = self._life.runtime(what)
        return runtime, new_run(runtime, self._registry.resolve(flow), inputs, options)

    def start(self, runtime: Runtime, request: Request) -> Run:
        """Start a run, or find the earlier one with its idempotency key."""
        try:
            return self._life.start(runtime, request)
        except AlreadyStarted as known:
            return self._earlier(runtime, known)

    def _earlier(self, runtime: Runtime, known: AlreadyStarted) -> Run:
        try:
            return find(self._life.live, runtime, known.run_id)
        except RunNotFound:
            raise RunNotFound(known.run_id, by_key=True) from None

    async def start_async(self, runtime: Runtime, request: Request) -> Run:
        """Do what `start` does, without blocking the event loop."""
        try:
            return await self._life.start_async(runtime, request)
        except AlreadyStarted as known:
            if not runtime.slow_to_read:
                return self._earlier(runtime, known)
            import asyncio  # noqa: PLC0415 - whoever awaits has it loaded

            return await asyncio.to_thread(self._earlier, runtime, known)

    def enqueue(self, runtime: Runtime, request: Request) -> str:
        """Have a run recorded that belongs to nobody; return its id, or that of the earlier one."""
        try:
            _enqueued(runtime, request).result()
        except AlreadyStarted as known:
            return self._earlier(runtime, known).id
        return request.run_id

    async def enqueue_async(self, runtime: Runtime, request: Request) -> str:
        """Do what `enqueue` does, without blocking the event loop."""
        try:
            await _enqueued(runtime, request).result_async()
        except AlreadyStarted as known:
            import asyncio  # noqa: PLC0415 - whoever awaits has it loaded

            return (await asyncio.to_thread(self._earlier, runtime, known)).id
        return request.run_id


def _enqueued(runtime: Runtime, request: Request) -> Once[None]:
    enqueue = getattr(runtime.state, "enqueue", None)
    if enqueue is None:
        problem = f"{runtime.state!r} has no queue that somebody else could take a run from"
        raise DefinitionError(None, problem, "Use start(), or keep runs in an SQLStateManager")
    recorded: Once[None] = Once()
    if enqueue(request.record, lambda error: settle(recorded, error)):
        recorded.set(None)
    return recorded
