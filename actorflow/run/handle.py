"""`Run`: what you hold of a run that you have started or looked up."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any, Protocol

from actorflow.definition.durations import Duration, as_seconds
from actorflow.errors.definition import DefinitionError
from actorflow.support.oneshot import Once

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Generator

    from actorflow.model.lifecycle import RunStatus
    from actorflow.model.results import RunResult, RunSnapshot
    from actorflow.run.event_stream import EventStream

__all__ = ["Run", "Runtime"]


class Runtime(Protocol):
    """What a handle needs of the orchestrator that its run belongs to."""

    def snapshot(self, run_id: str) -> RunSnapshot:
        """Return the run as it stands."""

    def stream(self, run_id: str) -> EventStream:
        """Return the run's events, from the first to the last."""

    def cancel(self, run_id: str, reason: str, *, compensate: bool) -> None:
        """Ask for the run's end, and for what it has done to be undone."""

    def cancel_elsewhere(self, run_id: str, reason: str, *, compensate: bool) -> RunResult | None:
        """End a run that is not in progress here, or ask for that; return how it ended, if so."""

    def check_process(self) -> None:
        """Refuse to let anybody wait in a fork of the run's process."""

    def check_may_block(self, what: str) -> None:
        """Refuse to block a thread that the run needs in order to end."""

    def waiting(self, run_id: str) -> contextlib.AbstractContextManager[None]:
        """Enter what is returned to wait for the run's end, unless that cannot come."""


class Run:
    """A run, in progress or finished. Every method may be called from any thread.

    Awaiting a run gives its result or raises, as `result` does, from any event loop.

    Example:
        >>> from actorflow import Orchestrator, Step, Workflow
        >>> flow = Workflow("greeting")
        >>> greet = flow.add(Step("greet", lambda name: f"hello {name}"))
        >>> with Orchestrator() as orchestrator:
        ...     run = orchestrator.start(flow, {"name": "world"})
        ...     [event.kind.value for event in run.events()]
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
        """Where the run stands."""
        if self.done and self._end.error is None:
            return self._end.result().status
        return self.snapshot().status

    def snapshot(self) -> RunSnapshot:
        """Return the run as it stands, with all its steps.

        Raises:
            RunNotFound: When the run has finished and its state manager has let go of it.
        """
        return self._runtime.snapshot(self.id)

    def wait(self, timeout: Duration | None = None) -> RunResult:
        """Return how the run ended, whatever the outcome, once it has.

        Args:
            timeout: How many seconds to wait at most, or a `timedelta`.

        Raises:
            TimeoutError: When the run has not ended in time; it goes on.
            OrchestratorClosed: When it cannot end any more, because its event loop was closed
                or blocked for good.
            RunUnattended: When its orchestrator does not run it.
            WrongLoop: When called on the event loop that the run lives on.
            Deadlock: When called by a step without a timeout, and the run could never end.
            ForkedOrchestrator: In a fork of the process that the run goes on in.
        """
        limit = _limit(timeout)
        if not self.done:
            self._runtime.check_may_block("Run.wait()")
        if limit is None:
            return self._waited_for()
        if not self._end.wait(limit):
            raise TimeoutError(
                f"run {self.id!r} of workflow {self.workflow_id!r} has not ended within "
                f"{limit:g} s; it goes on. Wait again, or call run.cancel()."
            )
        return self._end.result()

    def _waited_for(self) -> RunResult:
        if not self.done:
            with self._runtime.waiting(self.id):
                return self._end.result()
        return self._end.result()

    def result(self, timeout: Duration | None = None) -> RunResult:
        """Return the result of a run that completes, and raise otherwise.

        Raises:
            RunFailed: When a required step failed; chained from the step's exception.
            RunTimeout: When the run's own timeout passed.
            RunCancelled: When the run was cancelled.
            TimeoutError: When the run has not ended within `timeout` seconds; it goes on.
            WrongLoop: When called on the event loop that the run lives on.
        """
        result = self.wait(timeout)
        result.raise_for_status()
        return result

    def __await__(self) -> Generator[Any, None, RunResult]:
        return self._result_async().__await__()

    async def _result_async(self) -> RunResult:
        result = await self.wait_async()
        result.raise_for_status()
        return result

    async def wait_async(self) -> RunResult:
        """Return how the run ended, whatever the outcome, once it has.

        Cancelling the awaiting task leaves the run alone.

        Raises:
            OrchestratorClosed: When it cannot end any more, because its event loop was closed
                or blocked for good.
            ForkedOrchestrator: In a fork of the process that the run goes on in.
        """
        if not self.done:
            self._runtime.check_process()
            with self._runtime.waiting(self.id):
                return await self._end.result_async()
        return self._end.result()

    def cancel(self, reason: str = "cancelled by its owner", *, compensate: bool = False) -> None:
        """Ask for the run's end, and return at once; `wait` says when it has come.

        Nothing starts any more, coroutines are cancelled, threads are asked to stop. Cancelling
        a run that has ended, or cancelling twice, does nothing, nor does it stop a run that is
        being undone.

        A run that its orchestrator does not run is cancelled as well: at once when nobody runs
        it, and otherwise by asking its owner, who hears of it when its lease is next renewed.
        That asks the database, and waits for it. What such a run has done is undone by whoever
        runs it, now or later.

        Args:
            reason: Why; it is in the run's result.
            compensate: Whether the steps that have completed are then undone, as those of a
                failed run are.

        Raises:
            RunUnattended: When it is to be undone, nobody runs it, and its state manager cannot
                keep the request until somebody does.
            StoreError: When nobody runs it, and its end cannot be recorded.
            WrongLoop: When it is not in progress here, and this would block the event loop.
        """
        if not self.done:
            self._runtime.cancel(self.id, reason, compensate=compensate)
        elif self._end.error is not None:
            ended = self._runtime.cancel_elsewhere(self.id, reason, compensate=compensate)
            if ended is not None:
                self._end = Once()
                self._end.set(ended)

    def events(self) -> EventStream:
        """Return the run's events from its first to its last, live.

        Iterate over them with `for` on any thread but the run's own event loop, or with
        `async for` on any event loop. A slow reader misses nothing and is waited for by nobody.

        Raises:
            RunNotFound: When the run has finished and its state manager has let go of it.
        """
        return self._runtime.stream(self.id)


def _limit(timeout: Any) -> float | None:
    if timeout is None:
        return None
    limit: Any = as_seconds(timeout)
    # A moment that has passed already is a wait of nothing, and an endless wait is one.
    if isinstance(limit, bool) or not isinstance(limit, (int, float)) or math.isnan(limit):
        cure = "Give seconds, as a number or a timedelta, or None to wait as long as it takes"
        raise DefinitionError(None, f"timeout is {timeout!r}", cure)
    return min(limit, threading.TIMEOUT_MAX)
