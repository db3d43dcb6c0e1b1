"""`Run`: what you hold of a run that you have started or looked up."""

from __future__ import annotations

import concurrent.futures
import contextlib
import math
import threading
from typing import TYPE_CHECKING, Any, Protocol

from actorflow.durations import Duration, as_seconds
from actorflow.errors import DefinitionError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Generator

    from actorflow.lifecycle import RunStatus
    from actorflow.results import RunResult, RunSnapshot
    from actorflow.streams import EventStream

__all__ = ["Run", "Runtime"]


class Runtime(Protocol):
    """What a handle needs of the orchestrator that its run belongs to."""

    def snapshot(self, run_id: str) -> RunSnapshot:
        """Return the run as it stands."""

    def stream(self, run_id: str) -> EventStream:
        """Return the run's events, from the first to the last."""

    def cancel(self, run_id: str, reason: str, *, compensate: bool) -> None:
        """Ask for the run's end, and for what it has done to be undone."""

    def check_process(self) -> None:
        """Refuse to let anybody wait in a fork of the run's process."""

    def check_may_block(self, what: str) -> None:
        """Refuse to block a thread that the run needs in order to end."""

    def waiting(self, run_id: str) -> contextlib.AbstractContextManager[None]:
        """Enter what is returned to wait for the run's end, unless that cannot come."""


class Run:
    """A run, in progress or finished. Every method may be called from any thread.

    Awaiting a run gives its result or raises, as `result` does, from any event loop.
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
        future: concurrent.futures.Future[RunResult],
    ) -> None:
        self._runtime = runtime
        self._future = future
        self._awaiting = _Awaiting()
        future.add_done_callback(self._awaiting.wake)
        self.id = run_id
        self.workflow_id = workflow_id

    def __repr__(self) -> str:
        state = "in progress"
        if self.done:
            cut_off = self._future.exception() is not None
            state = "cut off" if cut_off else self._future.result().status.value
        return f"<Run {self.id} of {self.workflow_id!r}, {state}>"

    @property
    def done(self) -> bool:
        """Whether the run has ended."""
        return self._future.done()

    @property
    def status(self) -> RunStatus:
        """Where the run stands."""
        if self._future.done() and self._future.exception() is None:
            return self._future.result().status
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
            WrongLoop: When called on the event loop that the run lives on.
            Deadlock: When called by a step without a timeout, and the run could never end.
            ForkedOrchestrator: In a fork of the process that the run goes on in.
        """
        limit = _limit(timeout)
        if not self._future.done():
            self._runtime.check_may_block("Run.wait()")
        try:
            return self._waited_for() if limit is None else self._future.result(limit)
        except concurrent.futures.TimeoutError:
            raise TimeoutError(
                f"run {self.id!r} of workflow {self.workflow_id!r} has not ended within "
                f"{limit:g} s; it goes on. Wait again, or call run.cancel()."
            ) from None

    def _waited_for(self) -> RunResult:
        if self._future.done():
            return self._future.result()
        with self._runtime.waiting(self.id):
            return self._future.result()

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
        if not self._future.done():
            self._runtime.check_process()
            with self._runtime.waiting(self.id):
                await self._awaiting.end_of(self._future)
        return self._future.result()

    def cancel(self, reason: str = "cancelled by its owner", *, compensate: bool = False) -> None:
        """Ask for the run's end, and return at once; `wait` says when it has come.

        Nothing starts any more, coroutines are cancelled, threads are asked to stop. Cancelling
        a run that has ended, or cancelling twice, does nothing, nor does it stop a run that is
        being undone.

        Args:
            reason: Why; it is in the run's result.
            compensate: Whether the steps that have completed are then undone, as those of a
                failed run are.
        """
        if not self._future.done():
            self._runtime.cancel(self.id, reason, compensate=compensate)

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


class _Awaiting:
    """Those who await a run's end, on their event loops.

    Whoever stops awaiting is forgotten at once. A future's own callbacks would stay until the
    run ends, and somebody who awaits it again and again, with a timeout, would leave many.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], None] = {}

    async def end_of(self, run: concurrent.futures.Future[RunResult]) -> None:
        """Wait until the run has ended."""
        import asyncio  # noqa: PLC0415 - whoever awaits has it loaded; importing handles need not

        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[waiter] = None
        try:
            if not run.done():  # looked at again, now that it would be told
                await waiter
        finally:
            self._waiting.pop(waiter, None)

    def wake(self, _run: object) -> None:
        """Let everybody go on; called when the run has ended."""
        with contextlib.suppress(KeyError):  # the last one has left in the meantime
            while self._waiting:
                waiter, _ = self._waiting.popitem()
                with contextlib.suppress(RuntimeError):  # his loop has been closed
                    waiter.get_loop().call_soon_threadsafe(_go_on, waiter)


def _go_on(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
