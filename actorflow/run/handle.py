"""`Run`: the handle of a run that was started or looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from actorflow.definition.arguments import flag, string
from actorflow.definition.durations import Duration, patience
from actorflow.support.oneshot import Once

if TYPE_CHECKING:
    from collections.abc import Generator

    from actorflow.model.lifecycle import RunStatus
    from actorflow.model.results import RunResult, RunSnapshot
    from actorflow.run.event_stream import EventStream

__all__ = ["Run", "Runtime"]


class Runtime(Protocol):
    """What a handle needs from its run's orchestrator."""

    def snapshot(self, run_id: str) -> RunSnapshot:
        """Return the run as it stands."""

    def stream(self, run_id: str) -> EventStream:
        """Return the run's events, from the first to the last."""

    def cancel(self, run_id: str, reason: str, *, compensate: bool) -> None:
        """Ask for the run to end, and for its completed steps to be undone."""

    def cancel_elsewhere(self, run_id: str, reason: str, *, compensate: bool) -> RunResult | None:
        """End a run that is not in progress here, or ask its owner to; return any result."""

    def check_process(self) -> None:
        """Refuse to wait in a fork of the run's process."""

    def check_may_block(self, what: str) -> None:
        """Refuse to block a thread that the run needs to end."""

    def wait(self, run_id: str, end: Once[RunResult]) -> RunResult:
        """Block until the run has ended, unless that could never come."""

    async def wait_async(self, run_id: str, end: Once[RunResult]) -> RunResult:
        """Await the run's end, unless that could never come."""


class Run:
    """A run, in progress or finished. Every method may be called from any thread.

    Awaiting a run returns its result or raises, as `result` does, from any event loop.

    Example:
        >>> from actorflow import Orchestrator, Step, Workflow
        >>> flow = Workflow("greeting")
        >>> greet = flow.add(Step("greet", lambda name: f"hello {name}"))
        >>> with Orchestrator() as orchestrator:
        ...     run = orchestrator.start(flow, {"name": "world"})
        ...     [event.kind.value for event in run.events()][1:]
        ...     run.result(timeout=10).output
        ['run.started', 'step.ready', 'step.started', 'step.completed', 'run.completed']
        'hello world'
    """

    id: str
    """The run's id."""
    workflow_id: str
    """The id of the run's workflow."""

    def __init__(
        self,
        runtime: Runtime,
        run_id: str,
        workflow_id: str,
        end: Once[RunResult],
    ) -> None:
        self._runtime = runtime
        self._end = end
        self.id = run_id
        self.workflow_id = workflow_id

    def __repr__(self) -> str:
        state = "in progress"
        if self.done:
            cut_off = self._end.error is not None
            state = "cut off" if cut_off else self._end.result().status.value
        return f"<Run {self.id} of {self.workflow_id!r}, {state}>"

    @property
    def done(self) -> bool:
        """Whether the run has ended."""
        return self._end.done

    @property
    def status(self) -> RunStatus:
        """The status of the run."""
        if self.done and self._end.error is None:
            return self._end.result().status
        return self.snapshot().status

    def snapshot(self) -> RunSnapshot:
        """Return the run as it stands, with all its steps.

        Raises:
            RunNotFound: When the run has finished and its state manager no longer keeps it.
        """
        return self._runtime.snapshot(self.id)

    def wait(self, timeout: Duration | None = None) -> RunResult:
        """Wait for the run's end, and return its result whatever the outcome.

        Args:
            timeout: How many seconds to wait at most, or a `timedelta`.

        Raises:
            DefinitionError: When the timeout is not a duration, or too long for a clock.
            TimeoutError: When the run has not ended in time; it goes on.
            OrchestratorClosed: When it can no longer end, because its event loop was closed or
                blocked for good.
            RunUnattended: When its orchestrator does not run it.
            WrongLoop: When called on the event loop that the run lives on.
            Deadlock: When called by a step without a timeout, and the run could never end.
            ForkedOrchestrator: In a fork of the run's process.
        """
        return self._wait(timeout, "wait")

    def _wait(self, timeout: Duration | None, call: str) -> RunResult:
        limit = patience(timeout, "timeout")
        if not self.done:
            self._runtime.check_may_block(f"Run.{call}()")
        if limit is None:
            return self._waited_for()
        if not self._end.wait(limit):
            raise TimeoutError(
                f"run {self.id!r} of workflow {self.workflow_id!r} has not ended within "
                f"{limit:g} s; it goes on. Wait again, or call run.cancel()."
            )
        return self._end.result()

    def _waited_for(self) -> RunResult:
        return self._end.result() if self.done else self._runtime.wait(self.id, self._end)

    def result(self, timeout: Duration | None = None) -> RunResult:
        """Return the result of a run that completes, and raise otherwise.

        Raises:
            RunFailed: When a required step failed; chained from the step's exception.
            RunTimeout: When the run's own timeout passed.
            RunCancelled: When the run was cancelled.
            TimeoutError: When the run has not ended within `timeout` seconds; it goes on.
            WrongLoop: When called on the event loop that the run lives on.
        """
        result = self._wait(timeout, "result")
        result.raise_for_status()
        return result

    def __await__(self) -> Generator[Any, None, RunResult]:
        return self._result_async().__await__()

    async def _result_async(self) -> RunResult:
        result = await self.wait_async()
        result.raise_for_status()
        return result

    async def wait_async(self) -> RunResult:
        """Wait for the run's end, and return its result whatever the outcome.

        Cancelling the awaiting task does not cancel the run.

        Raises:
            OrchestratorClosed: When it can no longer end, because its event loop was closed or
                blocked for good.
            ForkedOrchestrator: In a fork of the run's process.
        """
        if not self.done:
            self._runtime.check_process()
            return await self._runtime.wait_async(self.id, self._end)
        return self._end.result()

    def cancel(self, reason: str = "cancelled by its owner", *, compensate: bool = False) -> None:
        """Ask for the run to end, and return at once; `wait` returns when it has ended.

        No further step starts, coroutines are cancelled, threads are asked to stop. Cancelling a
        run twice, or after its end, does nothing. A run that is compensating continues to
        compensate.

        A run that is not in progress in this orchestrator is cancelled as well: at once if it has
        no owner, and otherwise by a request to its owner, which sees the request when it next
        renews its lease. Either way this call waits for the database. The steps of such a run are
        undone by the orchestrator that runs it, now or later.

        Args:
            reason: Why; it is in the run's result.
            compensate: Whether to undo the completed steps then, as those of a failed run are.

        Raises:
            DefinitionError: When an argument is invalid.
            RunUnattended: When another orchestrator runs it, or when its steps are to be undone and
                it has no owner, and the state manager keeps no requests (see `CancelsRemotely`).
            StoreError: When it has no owner, and its end cannot be recorded.
            WrongLoop: When it is not in progress here, and the call would block the event loop.
        """
        reason = string(reason, "reason", "Say why the run is cancelled, as a string")
        compensate = flag(compensate, "compensate")
        if not self.done:
            self._runtime.cancel(self.id, reason, compensate=compensate)
        elif self._end.error is not None:
            ended = self._runtime.cancel_elsewhere(self.id, reason, compensate=compensate)
            if ended is not None:
                self._end = Once()
                self._end.set(ended)

    def events(self) -> EventStream:
        """Return the run's events from the first to the last, live.

        Iterate over them with `for` on any thread but the run's event loop, or with `async for` on
        any event loop. A slow reader misses nothing and delays no run.

        Raises:
            RunNotFound: When the run has finished and its state manager no longer keeps it.
        """
        return self._runtime.stream(self.id)
