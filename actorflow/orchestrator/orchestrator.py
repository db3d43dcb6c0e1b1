"""`Orchestrator`: runs workflows inside the calling process."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Literal

from actorflow.errors.definition import ForkedOrchestrator
from actorflow.orchestrator.schedule_methods import ScheduleMethods
from actorflow.support.suggestions import checks_options

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Mapping, Sequence
    from datetime import timedelta
    from types import TracebackType
    from typing import Self, Unpack

    from actorflow.definition.workflow import Workflow
    from actorflow.model.filters import RunFilters, RunListing
    from actorflow.model.protocols import Executor, Observer, StateManager
    from actorflow.model.records import RunPage
    from actorflow.model.results import RunResult, ShutdownReport
    from actorflow.orchestrator.requests import RunOptions
    from actorflow.run.handle import Run

__all__ = ["Orchestrator"]


@checks_options
class Orchestrator(ScheduleMethods):
    """Runs workflows as actors in this process.

    `with Orchestrator() as orchestrator:` runs them on an event loop of its own, on a separate
    thread. `async with Orchestrator() as orchestrator:` runs them on the running event loop, so
    that coroutine steps can use objects that belong to that loop. Leaving the block is
    `shutdown()`: it waits up to 30 seconds for runs to end. Runs in a database that have not ended
    then are left to other orchestrators, and runs in memory are cancelled. Leaving the block by an
    exception does the same without the wait. An orchestrator can be started once. Two orchestrators
    share nothing.

    Args:
        state: The state manager, which records runs; by default a `MemoryStateManager`.
        async_workers: How many `async_=True` steps may run at once, over all runs.
        executors: Executors for plain functions besides the built-in threads, by the name that a
            step's `executor=` gives: an `Executor`, or any `concurrent.futures.Executor`.
        max_active_runs: How many runs may be in progress at once.
        max_queued_runs: How many more may be accepted and wait, by priority.
        when_full: What happens to a start beyond that: `"block"` until there is room, or
            `"reject"` it with `Overloaded`.
        observers: Called with every event, each on a separate thread.
        max_abandoned: How many threads of timed-out steps may hang before steps that need a
            thread fail with `TooManyAbandoned`.
        stop_grace: Seconds that a cancelled attempt gets to end before it is abandoned.
        recover: Whether to take over unowned runs of registered workflows: those that were
            enqueued, and those whose orchestrator is gone. It needs a state manager that several
            orchestrators can share.
        recover_every: Seconds between two searches for such runs.
        ageing: Seconds of waiting that count as one priority. By default waiting counts for
            nothing, and steps of a low priority may starve. With it, the priorities of run and
            step are added up, and the wait is added to the sum. Runs then take turns, and the
            longest way counts, only among steps that became ready at the same moment.
        max_takeovers: How often `recover` may take over a run in a row from owners that died with
            steps of it in flight, without a step settling in between. Beyond that the run fails
            with `TakenOverTooOften`.
        evict_after: Seconds after which a run leaves memory if all of its steps in progress wait
            for messages (`ctx.wait_for`); None for never. It takes `recover=True` and a database
            (`EvictsRuns`). The run is taken up again when a message comes or its time is up.
        blocked_after: Seconds after which a coroutine step that blocks the event loop is
            reported.

    Raises:
        DefinitionError: When an argument is out of its range, the state manager or an executor
            lacks a method, or the state manager has only a part of a power.

    Example:
        >>> from actorflow import Orchestrator, Step, Workflow
        >>> flow = Workflow("greeting")
        >>> greet = flow.add(Step("greet", lambda name: f"hello {name}"))
        >>> with Orchestrator(async_workers=20) as orchestrator:
        ...     orchestrator.run(flow, {"name": "world"}).output
        'hello world'
    """

    def __init__(
        self,
        state: StateManager | None = None,
        *,
        async_workers: int = 10,
        executors: Mapping[str, Executor | concurrent.futures.Executor] | None = None,
        max_active_runs: int = 100,
        max_queued_runs: int = 1000,
        when_full: Literal["block", "reject"] = "block",
        observers: Sequence[Observer] = (),
        max_abandoned: int = 100,
        stop_grace: float | timedelta = 5.0,
        blocked_after: float | timedelta = 0.5,
        recover: bool = False,
        recover_every: float | timedelta = 1.0,
        ageing: float | timedelta | None = None,
        max_takeovers: int = 10,
        evict_after: float | timedelta | None = 60.0,
    ) -> None:
        # A program that only defines workflows does not load what runs them.
        from actorflow.orchestrator.assembly import assemble  # noqa: PLC0415 - see above
        from actorflow.orchestrator.settings import Settings  # noqa: PLC0415 - see above

        settings = Settings(
            async_workers=async_workers,
            max_active_runs=max_active_runs,
            max_queued_runs=max_queued_runs,
            when_full=when_full,
            max_abandoned=max_abandoned,
            stop_grace=stop_grace,
            blocked_after=blocked_after,
            recover=recover,
            recover_every=recover_every,
            ageing=ageing,
            max_takeovers=max_takeovers,
            evict_after=evict_after,
        )
        parts = assemble(settings, state, executors, observers)
        self._life, self._registry, self._launcher = parts.life, parts.registry, parts.launcher
        self._resuming, self._looking = parts.resuming, parts.looking
        self._schedules = parts.schedules

    @classmethod
    def with_async_workers(cls, state: StateManager | None, async_workers: int) -> Self:
        """Return an orchestrator with a budget of `async_workers`."""
        return cls(state, async_workers=async_workers)

    # ── Life ─────────────────────────────────────────────────────────────────────────────────

    def __enter__(self) -> Self:
        self._life.open_on_thread()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        try:
            self.shutdown(drain=30.0 if kind is None else 0.0)
        except ForkedOrchestrator:
            pass  # a fork that leaves the block closes nothing
        except BaseException:
            self._life.lose_patience()  # for example Ctrl-C, wherever it struck
            raise

    async def __aenter__(self) -> Self:
        await self._life.open_here()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        import asyncio  # noqa: PLC0415 - a caller that awaits has loaded it

        with contextlib.suppress(ForkedOrchestrator):
            try:
                await self.shutdown_async(drain=30.0 if kind is None else 0.0)
            except asyncio.CancelledError:
                # This leaves or cuts the runs now. Work begun within the block does not outlive it.
                await self.shutdown_async(drain=0.0)
                raise

    def shutdown(
        self,
        drain: float | timedelta = 30.0,
        grace: float | timedelta = 5.0,
        *,
        leave: bool | None = None,
    ) -> ShutdownReport:
        """Accept no further run, let runs end, leave or cancel the rest, and release everything.

        A run that is left stays as recorded: `running`, `compensating`, or `pending` in the queue.
        Its attempts are stopped, nothing is recorded about that, and it is handed back, so that
        another orchestrator goes on with it at once. Steps that were in flight run again there.

        Shutting down twice, or from several threads, returns the same report. An exception that
        interrupts the wait (Ctrl-C) ends the drain, and the shutdown continues without its caller.

        Args:
            drain: Seconds that accepted runs get to end by themselves; the shortest one counts.
            grace: Seconds that the attempts of the others then get to stop; the first one counts.
            leave: Whether the others are left (True) or cancelled (False); the first one counts.
                By default they are left if the state manager is shared with other orchestrators
                (`LeasesRuns`, such as `SQLStateManager`), and cancelled if it is not.

        Raises:
            DefinitionError: When an argument is invalid, or `leave` is True and the state manager
                cannot hand runs back.
            WrongLoop: On the orchestrator's own event loop; use `shutdown_async` there.
            ForkedOrchestrator: In a fork of the process that started it.
        """
        return self._life.shutdown(drain, grace, leave=leave)

    async def shutdown_async(
        self,
        drain: float | timedelta = 30.0,
        grace: float | timedelta = 5.0,
        *,
        leave: bool | None = None,
    ) -> ShutdownReport:
        """Do what `shutdown` does without blocking the event loop.

        Cancelling the awaiting task ends the drain.
        """
        return await self._life.shutdown_async(drain, grace, leave=leave)

    # ── Running ──────────────────────────────────────────────────────────────────────────────

    def register(self, flow: Workflow) -> None:
        """Register a workflow, so that its id can be used in its place.

        Registering an equal definition again does nothing. A bare id means the version that was
        registered last.

        Definitions are compared by the names of their functions. With a state manager that other
        processes share, a step that is a lambda or a closure is therefore warned of.

        Raises:
            DefinitionError: When the workflow is invalid.
            DefinitionConflict: When a different definition has its id and version.
        """
        self._registry.register(flow)

    def run(
        self,
        flow: Workflow | str,
        inputs: Mapping[str, Any] | None = None,
        **options: Unpack[RunOptions],
    ) -> RunResult:
        """Run a workflow and return its result. The arguments are those of `start`.

        An exception that interrupts the wait (Ctrl-C) cancels the run.

        Raises:
            RunFailed: When a required step failed; chained from the step's exception.
            RunTimeout: When the run's timeout passed.
            RunCancelled: When the run was cancelled.
            WrongLoop: On the orchestrator's own event loop; use `run_async` there.
        """
        return self._launcher.run(flow, inputs, options)

    async def run_async(
        self,
        flow: Workflow | str,
        inputs: Mapping[str, Any] | None = None,
        **options: Unpack[RunOptions],
    ) -> RunResult:
        """Run a workflow and await its result. The arguments and errors are those of `run`.

        Cancelling the awaiting task cancels the run, and waits until it has ended.
        """
        return await self._launcher.run_async(flow, inputs, options)

    def start(
        self,
        flow: Workflow | str,
        inputs: Mapping[str, Any] | None = None,
        **options: Unpack[RunOptions],
    ) -> Run:
        """Start a run of a workflow, and return its `Run` as soon as it is recorded.

        When the orchestrator is full, this blocks or raises, as `when_full` says; on the
        orchestrator's own event loop, which it must not block, it always raises. With a state
        manager that takes time to record (`SQLStateManager`) it cannot be called on that loop at
        all: await `start_async` there.

        Args:
            flow: A workflow, or the id of a registered one.
            inputs: The run's inputs, by name.
            options: See `RunOptions`.

        Raises:
            DefinitionError: When the workflow or an argument is invalid.
            MissingInput: When a step takes an input that is missing.
            UnknownInput: When no step takes an input.
            UnknownWorkflow: When the id is not registered.
            UnknownExecutor: When a step names an executor that does not exist.
            Overloaded: When the orchestrator is full and does not block.
            NotRunning: Before the orchestrator's start.
            OrchestratorClosed: After its end.
            WrongLoop: On the orchestrator's own event loop, if it would block that.
            StoreError: When the run cannot be recorded; it then does not start.
        """
        self._launcher.check_may_wait("Orchestrator.start()")
        runtime, request = self._launcher.request("start a run", flow, inputs, options)
        return self._launcher.start(runtime, request)

    async def start_async(
        self,
        flow: Workflow | str,
        inputs: Mapping[str, Any] | None = None,
        **options: Unpack[RunOptions],
    ) -> Run:
        """Do what `start` does without blocking the event loop."""
        runtime, request = self._launcher.request("start a run", flow, inputs, options)
        return await self._launcher.start_async(runtime, request)

    def enqueue(
        self,
        flow: Workflow | str,
        inputs: Mapping[str, Any] | None = None,
        **options: Unpack[RunOptions],
    ) -> Run:
        """Record a run for any orchestrator to take, and return its `Run`, which follows it.

        Orchestrators with `recover=True` take it if they share the database and have registered
        this version of the workflow. The most urgent runs are taken first, each of them once.

        Raises:
            DefinitionError: When an argument is invalid, or the state manager has no queue.
            StoreError: When the run cannot be recorded.
            WrongLoop: On the orchestrator's own event loop, if it would block that.
        """
        self._launcher.check_may_wait("Orchestrator.enqueue()")
        return self._launcher.enqueue(
            *self._launcher.request("enqueue a run", flow, inputs, options)
        )

    async def enqueue_async(
        self,
        flow: Workflow | str,
        inputs: Mapping[str, Any] | None = None,
        **options: Unpack[RunOptions],
    ) -> Run:
        """Do what `enqueue` does without blocking the event loop."""
        return await self._launcher.enqueue_async(
            *self._launcher.request("enqueue a run", flow, inputs, options)
        )

    def resume(self, run_id: str, flow: Workflow | None = None) -> Run:
        """Resume a run from its record: one that failed, was cancelled, or lost its orchestrator.

        Completed and skipped steps do not run again. The attempts of the others are counted from 1
        again, and so are take-overs (`max_takeovers`). A run that is in progress or has completed
        is returned as it is.

        Args:
            run_id: The run.
            flow: Its workflow, if that is not registered.

        Raises:
            RunNotFound: When there is no such run.
            LeaseHeld: When it is in progress in another orchestrator.
            UnknownWorkflow: When its workflow is not registered in the run's version.
            DefinitionError: When `flow` is another workflow, or another version of it, or the id is
                invalid.
            UnknownExecutor: When a step names an executor that does not exist.
            Overloaded: When the orchestrator is full, as with `start`.
            WrongLoop: On the orchestrator's own event loop, if a database must be asked; use
                `resume_async` there.
        """
        return self._resuming.resume(self._life.runtime("resume a run"), run_id, flow)

    async def resume_async(self, run_id: str, flow: Workflow | None = None) -> Run:
        """Do what `resume` does without blocking the event loop.

        When the orchestrator is full, it waits for a place, as `start_async` does. Cancelling the
        awaiting task cancels a run that it has resumed.
        """
        return await self._resuming.resume_async(self._life.runtime("resume a run"), run_id, flow)

    # ── Looking ──────────────────────────────────────────────────────────────────────────────

    def get(self, run_id: str) -> Run:
        """Return a run, in progress here or elsewhere, or finished.

        Raises:
            RunNotFound: When there is no such run, or its state manager no longer keeps it.
            DefinitionError: When the argument is not an id, for example a `Run`.
            WrongLoop: On the orchestrator's own event loop, if a database must be asked, because
                the run is not in progress here; use `get_async` there.
        """
        return self._looking.get(run_id)

    async def get_async(self, run_id: str) -> Run:
        """Do what `get` does without blocking the event loop."""
        return await self._looking.get_async(run_id)

    def list(self, **filters: Unpack[RunListing]) -> RunPage:
        """Return a page of the runs that match all filters, the newest first.

        With a `cursor`, the page begins after the last run of the page before it, and costs the
        same however far that is. Runs that are accepted between two pages move nothing. With an
        `offset`, the page begins after so many runs.

        Args:
            filters: See `RunFilters` and `RunListing`.

        Raises:
            DefinitionError: When a filter is invalid, or the state manager does not have it.
            TypeError: When a filter does not exist.
            WrongLoop: On the orchestrator's own event loop, if a database must be asked; use
                `list_async` there.

        Example:
            >>> from actorflow import Orchestrator, Step, Workflow
            >>> flow = Workflow("greeting")
            >>> greet = flow.add(Step("greet", lambda: "hello"))
            >>> with Orchestrator() as orchestrator:
            ...     for tenant in ("acme", "acme", "globex"):
            ...         result = orchestrator.run(flow, attributes={"tenant": tenant})
            ...     page = orchestrator.list(attributes={"tenant": "acme"}, limit=1)
            ...     rest = orchestrator.list(attributes={"tenant": "acme"}, cursor=page.next_cursor)
            >>> page.total, len(page.runs), len(rest.runs), rest.next_cursor
            (2, 1, 1, None)
        """
        return self._looking.list(**filters)

    async def list_async(self, **filters: Unpack[RunListing]) -> RunPage:
        """Do what `list` does without blocking the event loop."""
        return await self._looking.list_async(**filters)

    def count(
        self, by: str | Sequence[str] = "status", **filters: Unpack[RunFilters]
    ) -> Mapping[Any, int]:
        """Return how many runs match all filters, by what they have in common.

        Args:
            by: `"status"`, `"workflow_id"`, `"workflow_version"`, or a tuple of these.
            filters: See `RunFilters`.

        Returns:
            A number for each group that has runs. For `by="status"`, for example, the keys are
            statuses; for a tuple, they are tuples of the same length.

        Raises:
            DefinitionError: When an argument is invalid, or the state manager does not count.
            TypeError: When a filter does not exist.
            WrongLoop: On the orchestrator's own event loop, if it would block that; use
                `count_async` there.
        """
        return self._looking.count(by, filters)

    async def count_async(
        self, by: str | Sequence[str] = "status", **filters: Unpack[RunFilters]
    ) -> Mapping[Any, int]:
        """Do what `count` does without blocking the event loop."""
        return await self._looking.count_async(by, filters)
