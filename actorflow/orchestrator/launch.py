"""Starts of runs: admitted, recorded, handed to the supervisor; or undone if any of it fails."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any, Final

from actorflow.definition.arguments import flag
from actorflow.errors import ActorflowError
from actorflow.errors.definition import DefinitionError
from actorflow.errors.running import Deadlock
from actorflow.errors.storage import AlreadyStarted, InvalidAnswer, RunNotFound
from actorflow.model.records import Parent
from actorflow.model.requests import parent_end_of
from actorflow.model.results import RunError
from actorflow.orchestrator.deferral import checked_power
from actorflow.orchestrator.live import find
from actorflow.orchestrator.powers import is_recorded
from actorflow.orchestrator.requests import Link, new_run
from actorflow.orchestrator.starter import Starter
from actorflow.run.handle import Run
from actorflow.support.oneshot import Once, settle
from actorflow.support.safe_text import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorflow.definition.plan import WorkflowPlan
    from actorflow.definition.workflow import Workflow
    from actorflow.model.context import Attempt
    from actorflow.model.records import RunRecord
    from actorflow.model.results import RunResult
    from actorflow.orchestrator.admission import Ticket
    from actorflow.orchestrator.lifetime import Lifetime
    from actorflow.orchestrator.live import Entry
    from actorflow.orchestrator.registry import Registry
    from actorflow.orchestrator.requests import Call, Request, RunOptions
    from actorflow.orchestrator.runtime import Runtime

    Accepted = Once[None]
    """Resolved when a run is recorded, or fails when it never will be."""

__all__ = ["MOST_GENERATIONS", "Launcher"]

_RECORDED: Final[Accepted] = Once()
"""Returned for every run that was recorded before it was handed over."""
_RECORDED.set(None)
MOST_GENERATIONS: Final = 200
"""How many runs may be above a child. A family that is deeper has no end, most likely."""


class Launcher:
    """Starts the runs of one orchestrator.

    Ctrl-C can strike anywhere in a start. A caller that fails or is interrupted calls `withdraw`,
    which is safe at every stage.

    Args:
        life: The orchestrator's lifetime.
        registry: The workflows that it knows.
    """

    def __init__(self, life: Lifetime, registry: Registry) -> None:
        self._life = life
        self._live = life.live
        self._admission = life.admission
        self._registry = registry
        self.starter: Final = Starter(life, self)
        """Starts runs for later and runs with a key."""

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
        """Check the arguments of a call; `what` is what its caller wants to do."""
        runtime = self._life.runtime(what)
        plan = self._registry.resolve(flow)
        attempt = runtime.attempt_here()
        if attempt is None or flag(options.get("detached", False), "detached"):
            return runtime, new_run(runtime, plan, inputs, options)
        link = self._link(plan, attempt, "", options)
        request = new_run(runtime, plan, inputs, options, link=link)
        return runtime, self._noted(runtime, attempt, request)

    def child(self, runtime: Runtime, call: Call, run_id: str) -> Request:
        """Check the arguments with which a step starts a child."""
        plan = self._registry.resolve(call.flow)
        link = self._link(plan, call.attempt, call.name, call.options)
        request = new_run(runtime, plan, call.inputs, call.options, run_id=run_id, link=link)
        return self._noted(runtime, call.attempt, request)

    def _noted(self, runtime: Runtime, attempt: Attempt, request: Request) -> Request:
        """Have the parent know that it may have a child, before there is one."""
        if request.record is not None:
            runtime.has_child(attempt, request.record, request.message.plan)
        return request

    def _link(self, plan: WorkflowPlan, attempt: Attempt, call: str, options: RunOptions) -> Link:
        self._registry.check_may_be_child(plan, attempt)
        scope = attempt.scope
        if scope.generation >= MOST_GENERATIONS:
            raise _too_deep(plan, attempt)
        return Link(
            Parent(
                run_id=scope.run_id,
                step_id=attempt.step_id,
                root_run_id=scope.root_run_id or scope.run_id,
                call=call,
                on_end=parent_end_of(options, plan.workflow_id),
                compensates=attempt.compensates,
                generation=scope.generation + 1,
            ),
            scope,
        )

    # ── To run here ──────────────────────────────────────────────────────────────────────────

    def run(
        self, flow: Workflow | str, inputs: Mapping[str, Any] | None, options: RunOptions
    ) -> RunResult:
        """Start a run and wait for its result; cancel it if the wait is interrupted."""
        self._life.runtime("run a workflow").check_may_block("Orchestrator.run()")
        runtime, request = self.request("run a workflow", flow, inputs, options)
        try:
            return self.start(runtime, request).result()
        except RunError:
            raise
        except BaseException as error:
            why = "the caller was interrupted"
            if self.interrupt(request.run_id, why) is None and not isinstance(error, Exception):
                with contextlib.suppress(ActorflowError):  # it may have been evicted
                    Run(runtime, request.run_id, request.workflow_id).cancel(why)
            raise

    async def run_async(
        self, flow: Workflow | str, inputs: Mapping[str, Any] | None, options: RunOptions
    ) -> RunResult:
        """Do what `run` does without blocking the event loop."""
        runtime, request = self.request("run a workflow", flow, inputs, options)
        try:
            run = await self.start_async(runtime, request)
            result = await run.wait_async()
            result.raise_for_status()
        except RunError:
            raise
        except BaseException as error:
            why = "the caller was cancelled"
            left = self.interrupt(request.run_id, why)
            if left is None and not isinstance(error, Exception):
                left = Run(runtime, request.run_id, request.workflow_id)
                with contextlib.suppress(ActorflowError):  # it may have been evicted
                    await left.cancel_async(why)
                    await left.wait_async()
            elif left is not None and not isinstance(error, Deadlock):
                await left.wait_async()
            raise
        return result

    def start(self, runtime: Runtime, request: Request) -> Run:
        """Admit and launch a run, or return the earlier one with its idempotency key."""
        if _is_deferred(request):
            return self.starter.start(runtime, request)
        ticket = self._admission.ticket()
        try:
            self.enter(runtime, ticket)
            run, accepted = self.launch(request, ticket)
            accepted.result()
        except AlreadyStarted as known:
            self.withdraw(request.run_id, ticket)
            return self.earlier(runtime, known)
        except BaseException:
            self.withdraw(request.run_id, ticket)
            raise
        return run

    async def start_async(self, runtime: Runtime, request: Request) -> Run:
        """Do what `start` does without blocking the event loop."""
        if _is_deferred(request):
            return await self.starter.start_async(runtime, request)
        ticket = self._admission.ticket()
        try:
            await self.enter_async(runtime, ticket)
            run, accepted = self.launch(request, ticket)
            if accepted is not _RECORDED:
                await accepted.result_async()
        except AlreadyStarted as known:
            self.withdraw(request.run_id, ticket)
            return await self.earlier_async(runtime, known)
        except BaseException:
            self.withdraw(request.run_id, ticket)
            raise
        return run

    def enter(self, runtime: Runtime, ticket: Ticket) -> None:
        """Take a place for a run; block or raise, as the settings and the caller's thread say.

        A run that a step starts gets one at once, even while the orchestrator is being closed: its
        parent may wait for it.
        """
        if runtime.attempt_here() is not None:
            self._admission.enter_at_once(ticket, even_closed=True)
            return
        self._admission.enter(ticket, may_block=not runtime.on_loop())

    async def enter_async(self, runtime: Runtime, ticket: Ticket) -> None:
        """Do what `enter` does without blocking the event loop."""
        if runtime.attempt_here() is not None:
            self._admission.enter_at_once(ticket, even_closed=True)
            return
        await self._admission.enter_async(ticket)

    def launch(
        self, request: Request, ticket: Ticket, handle: tuple[Run, Once[RunResult]] | None = None
    ) -> tuple[Run, Accepted]:
        """Hand an admitted run to the supervisor; call `withdraw` if this raises.

        `handle` is that of a run which was accepted before.

        The run may not be recorded yet when this returns: the second value is resolved when it
        is. The supervisor need not wait for that, because its own records of the run follow.
        """
        # A shutdown takes the same lock: a run that was admitted before it has been posted, and
        # is drained or cancelled like the others.
        child = request.record is not None and request.record.parent is not None
        with self._life.door:
            runtime = self._life.runtime("start a run", even_closing=child)
            if handle is None:
                end: Once[RunResult] = Once()
                run = Run(runtime, request.run_id, request.workflow_id, end)
            else:
                run, end = handle
            entry = (run, end, ticket, request.message.plan)
            self._live.add(*entry, even_closed=child)
            return run, self._post(runtime, request, entry)

    def go_on_undoing(self, runtime: Runtime, request: Request, ticket: Ticket) -> Run:
        """Hand a run that is undone with its parent to the supervisor, also during a shutdown.

        Its parent was accepted and has not ended, so there is a place for it.
        """
        with self._life.door:
            end: Once[RunResult] = Once()
            run = Run(runtime, request.run_id, request.workflow_id, end)
            self._admission.enter_at_once(ticket, even_closed=True)
            self._live.add(run, end, ticket, request.message.plan, even_closed=True)
            try:
                runtime.start(request.message)
            except BaseException:
                self._live.discard(request.run_id, "it could not be undone")
                raise
        return run

    def _post(self, runtime: Runtime, request: Request, entry: Entry) -> Accepted:
        record = request.record
        accepted: Accepted = Once()
        try:
            if record is not None and record.idempotency_key is not None:
                self._post_keyed(runtime, request, record, accepted, entry)
                return accepted
            recorded = record is None or runtime.state.create(
                record, functools.partial(settle, accepted)
            )
            if recorded is True:
                accepted = _RECORDED
            elif recorded is not False:
                raise InvalidAnswer("create", text_of(recorded))  # noqa: TRY301 - as if it raised
            runtime.start(request.message)
        except Exception:
            runtime.unknown(request.run_id)
            raise
        return accepted

    def _post_keyed(
        self,
        runtime: Runtime,
        request: Request,
        record: RunRecord,
        accepted: Accepted,
        entry: Entry,
    ) -> None:
        """Post a run to the supervisor once its idempotency key is known to be new."""

        def created(error: BaseException | None) -> None:
            if accepted.done:
                return  # a state manager that reports twice must not start the run twice
            try:
                if error is not None:
                    self._live.discard(record.run_id, f"it was not recorded: {text_of(error)}")
                elif record.run_id not in self._live:
                    # The caller left in the meantime, and the supervisor did not know the run.
                    # Now that the run is recorded, its end can be recorded too.
                    self._live.add(*entry)
                    runtime.cancel(record.run_id, "its start was interrupted")
                else:
                    runtime.start(request.message)
            except ActorflowError as closed:
                error = closed
            settle(accepted, error)

        if is_recorded("create", runtime.state.create(record, created)):
            created(None)

    def withdraw(self, run_id: str, ticket: Ticket) -> None:
        """Undo a start that failed or was interrupted, however far it got.

        The supervisor may or may not have received the run: it cancels a run that it knows, and
        discards one that it does not.
        """
        if self._live.holds(run_id, ticket):
            self.interrupt(run_id, "its start was interrupted")
        else:
            self._admission.leave(ticket)

    def interrupt(self, run_id: str, reason: str) -> Run | None:
        """Cancel a run whose caller leaves by an exception; return it if it is in progress."""
        run = self._live.get(run_id)
        if run is not None:
            with contextlib.suppress(ActorflowError):  # its loop has been closed
                run.cancel(reason)
        return run

    # ── To be taken by any orchestrator ──────────────────────────────────────────────────────

    def enqueue(self, runtime: Runtime, request: Request) -> Run:
        """Record an unowned run; return it, or the earlier one with its key."""
        try:
            _enqueued(runtime, request).result()
        except AlreadyStarted as known:
            return self.earlier(runtime, known)
        self.starter.enqueued(runtime, request.record)
        return Run(runtime, request.run_id, request.workflow_id)

    async def enqueue_async(self, runtime: Runtime, request: Request) -> Run:
        """Do what `enqueue` does without blocking the event loop."""
        try:
            await _enqueued(runtime, request).result_async()
        except AlreadyStarted as known:
            return await self.earlier_async(runtime, known)
        if _is_deferred(request):
            import asyncio  # noqa: PLC0415 - a caller that awaits has loaded it

            await asyncio.to_thread(self.starter.enqueued, runtime, request.record)
        return Run(runtime, request.run_id, request.workflow_id)

    # ── Started before ───────────────────────────────────────────────────────────────────────

    def earlier(self, runtime: Runtime, known: AlreadyStarted) -> Run:
        """Return the run that a key stands for."""
        try:
            return find(self._live, runtime, known.run_id)
        except RunNotFound:
            raise RunNotFound(known.run_id, by_key=True) from None

    async def earlier_async(self, runtime: Runtime, known: AlreadyStarted) -> Run:
        """Do what `earlier` does without blocking the event loop."""
        return await runtime.read_async(functools.partial(self.earlier, runtime, known))


def _too_deep(plan: WorkflowPlan, attempt: Attempt) -> DefinitionError:
    return DefinitionError(
        plan.workflow_id,
        f"step {attempt.step_id!r} of run {attempt.scope.run_id!r} starts a child with more than "
        f"{MOST_GENERATIONS} runs above it",
        "End the recursion earlier. A step can run children one after the other in a loop, and "
        "what is to go on without end belongs into a run of its own: orchestrator.start(…, "
        "detached=True)",
    )


def _is_deferred(request: Request) -> bool:
    return request.record is not None and request.record.start_at is not None


def _enqueued(runtime: Runtime, request: Request) -> Once[None]:
    queue = runtime.powers.queue
    if queue is None:
        problem = (
            "enqueue() needs a state manager with a shared queue, and "
            f"{type(runtime.state).__name__} has none"
        )
        raise DefinitionError(None, problem, "Use start(), or keep runs in an SQLStateManager")
    if _is_deferred(request):
        checked_power(runtime.powers, "enqueue(key=, at=, delay=)")
    recorded: Once[None] = Once()
    record = request.record
    if record is None or is_recorded(
        "enqueue", queue.enqueue(record, lambda error: settle(recorded, error))
    ):
        recorded.set(None)
    return recorded
