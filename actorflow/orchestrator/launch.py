"""Starts of runs: to run here, to be taken by somebody, and those that were made before."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from actorflow.errors.base import ActorflowError
from actorflow.errors.definition import DefinitionError
from actorflow.errors.storage import AlreadyStarted, RunNotFound
from actorflow.orchestrator.live import find
from actorflow.orchestrator.requests import new_run
from actorflow.support.oneshot import Once, settle
from actorflow.support.safe_text import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorflow.definition.workflow import Workflow
    from actorflow.model.results import RunRecord
    from actorflow.orchestrator.lifetime import Lifetime
    from actorflow.orchestrator.live import LiveRuns
    from actorflow.orchestrator.registry import Registry
    from actorflow.orchestrator.requests import Request, RunOptions
    from actorflow.orchestrator.runtime import Runtime
    from actorflow.run.handle import Run

__all__ = ["Starting", "post"]


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
    queue = runtime.powers.queue
    if queue is None:
        problem = f"{runtime.state!r} has no queue that another orchestrator could take a run from"
        raise DefinitionError(None, problem, "Use start(), or keep runs in an SQLStateManager")
    recorded: Once[None] = Once()
    record = request.record
    if record is None or queue.enqueue(record, lambda error: settle(recorded, error)):
        recorded.set(None)
    return recorded


def post(runtime: Runtime, live: LiveRuns, request: Request) -> Once[None]:
    """Hand a run over; return what comes once it is recorded, or never will be."""
    accepted: Once[None] = Once()
    record = request.record
    try:
        if record is not None and record.idempotency_key is not None:
            _post_keyed(runtime, live, request, record, accepted)
            return accepted
        if record is None or runtime.state.create(record, functools.partial(settle, accepted)):
            accepted.set(None)
        runtime.start(request.message)
    except Exception:
        runtime.unknown(request.run_id)
        raise
    return accepted


def _post_keyed(
    runtime: Runtime,
    live: LiveRuns,
    request: Request,
    record: RunRecord,
    accepted: Once[None],
) -> None:
    """Have the supervisor run something when it is known not to be a repetition."""

    def told(error: BaseException | None) -> None:
        try:
            if error is not None:
                live.discard(record.run_id, f"it was not recorded: {text_of(error)}")
            else:
                runtime.start(request.message)
        except ActorflowError as closed:
            error = closed
        settle(accepted, error)

    if runtime.state.create(record, told):
        told(None)
