"""An orchestrator's life: opened once, on a thread of its own or on the caller's loop; closed once.

What shutting down means, in this order: no new run is accepted; what was accepted gets `drain`
seconds to end by itself; what is left is cancelled, and its attempts get `grace` seconds to
stop; what cannot be stopped is abandoned and reported; then threads, timers and tasks go.
"""

from __future__ import annotations

import atexit
import concurrent.futures
import contextlib
import functools
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final

from actorflow.durations import seconds
from actorflow.errors import ForkedOrchestrator, NotRunning, OrchestratorClosed, WrongLoop
from actorflow.handles import Run
from actorflow.orchestrator.admission import Admission
from actorflow.orchestrator.live import LiveRuns
from actorflow.orchestrator.settings import checked_executors, checked_observers
from actorflow.results import ShutdownReport

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from actorflow.orchestrator.requests import Request
    from actorflow.orchestrator.runtime import Runtime
    from actorflow.orchestrator.settings import Settings
    from actorflow.protocols import Executor, Observer, StateManager
    from actorflow.results import RunResult
    from actorflow.systems.thread import LoopThread

__all__ = ["Lifetime"]

_MARGIN: Final = 5.0
"""Seconds beyond drain and grace after which a loop that does not answer is left behind."""


class Lifetime:
    """The one life of an orchestrator."""

    def __init__(
        self,
        settings: Settings,
        state: StateManager,
        executors: Mapping[str, Executor | concurrent.futures.Executor] | None,
        observers: Sequence[Observer],
    ) -> None:
        self._parts: dict[str, Any] = {
            "settings": settings,
            "state": state,
            "executors": checked_executors(executors),
            "observers": checked_observers(observers),
        }
        self.admission = Admission(
            settings.max_active_runs,
            settings.max_queued_runs,
            rejects=settings.when_full == "reject",
        )
        self.live = LiveRuns(self.admission.leave)
        self._lock = threading.Lock()
        # Entered again by a signal handler, say, that shuts down in the middle of a start.
        self._door = threading.RLock()
        self._pid = os.getpid()
        self._claimed = False
        self._runtime: Runtime | None = None
        self._thread: LoopThread | None = None
        self._report: concurrent.futures.Future[ShutdownReport] | None = None

    # ── Opening ──────────────────────────────────────────────────────────────────────────────

    def open_on_thread(self) -> None:
        """Start on an event loop of its own."""
        from actorflow.systems.thread import LoopThread  # noqa: PLC0415 - loads asyncio

        self._claim()
        thread = LoopThread()
        loop = thread.start()
        try:
            thread.call(self._open(loop))
        except BaseException:
            thread.stop(_MARGIN)
            raise
        self._thread = thread
        self._at_exit = functools.partial(_close_at_exit, weakref.ref(self))
        atexit.register(self._at_exit)

    async def open_here(self) -> None:
        """Start on the running event loop."""
        import asyncio  # noqa: PLC0415 - whoever awaits has it loaded

        self._claim()
        await self._open(asyncio.get_running_loop())

    def _claim(self) -> None:
        with self._lock:
            if self._pid != os.getpid():
                raise ForkedOrchestrator(self._pid, os.getpid())
            if self._report is not None:
                raise OrchestratorClosed("start it again")
            if self._claimed:
                raise WrongLoop("this orchestrator was started already; make another one")
            self._claimed = True

    async def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        from actorflow.orchestrator.runtime import Runtime  # noqa: PLC0415 - loads the actors

        runtime = Runtime(loop, live=self.live, **self._parts)
        runtime.open()
        with self._door:
            if self._report is None:
                self._runtime = runtime
                return
        await runtime.close(_MARGIN)
        raise OrchestratorClosed("finish its start")

    def runtime(self, what: str) -> Runtime:
        """Return the runtime, for somebody who wants to do `what`.

        Raises:
            NotRunning: Before the start.
            OrchestratorClosed: After the end.
            ForkedOrchestrator: In a fork of the process that started it.
        """
        if self._pid != os.getpid():
            raise ForkedOrchestrator(self._pid, os.getpid())
        if self._report is not None:
            raise OrchestratorClosed(what)
        if self._runtime is None:
            raise NotRunning(what)
        return self._runtime

    def enter(self, runtime: Runtime) -> None:
        """Take a place for a run; block or raise, as the settings and the caller's thread say."""
        self.admission.enter(may_block=not runtime.on_loop(), waiting=runtime.waiting_to_start)

    def launch(self, request: Request) -> Run:
        """Hand an admitted run to the supervisor; it gives its place back if that fails."""
        # While the door is being closed nobody is half-way through it: what has been let in by
        # then has been posted, and is drained or cancelled like the rest.
        with self._door:
            future: concurrent.futures.Future[RunResult] = concurrent.futures.Future()
            try:
                runtime = self.runtime("start a run")
                run = Run(runtime, request.run_id, request.workflow_id, future)
                self.live.add(run, future, request.message.plan)
            except BaseException:
                self.admission.leave()
                raise
            self._post(runtime, request)
        return run

    def _post(self, runtime: Runtime, request: Request) -> None:
        run_id = request.run_id
        try:
            if request.record is None:
                runtime.state.claim(run_id)
            else:
                runtime.state.create(request.record)
            runtime.start(request.message)
        except Exception:
            runtime.unknown(run_id)
            raise
        except BaseException:
            # An interrupt, and nobody can say whether the supervisor has heard of the run:
            # it cancels a run that it knows, and lets go of one that it does not.
            runtime.cancel(run_id, "its start was interrupted")
            raise

    # ── Closing ──────────────────────────────────────────────────────────────────────────────

    def shutdown(self, drain: float | timedelta, grace: float | timedelta) -> ShutdownReport:
        """Close, from any thread but the loop's; a second call gets the first one's report."""
        if self._pid != os.getpid():
            raise ForkedOrchestrator(self._pid, os.getpid())
        limits = seconds(drain, "drain", zero=True), seconds(grace, "grace", zero=True)
        report = self._report
        if report is None or not report.done():
            if self._runtime is not None:
                self._runtime.check_may_block("Orchestrator.shutdown()")
            report = self._begin_to_close(*limits)
            self._await(report, limits[0] + 2 * limits[1] + _MARGIN)
        self._leave()
        return report.result()

    async def shutdown_async(
        self, drain: float | timedelta, grace: float | timedelta
    ) -> ShutdownReport:
        """Close, from the loop that it runs on, or from any other."""
        import asyncio  # noqa: PLC0415 - whoever awaits has it loaded

        limits = seconds(drain, "drain", zero=True), seconds(grace, "grace", zero=True)
        if self._runtime is None or not self._runtime.on_loop():
            return await asyncio.to_thread(self.shutdown, drain, grace)
        # Whoever awaits this may be cancelled; what has begun to close closes all the same.
        report = await asyncio.shield(asyncio.wrap_future(self._begin_to_close(*limits)))
        self._leave()
        return report

    def _begin_to_close(
        self, drain: float, grace: float
    ) -> concurrent.futures.Future[ShutdownReport]:
        """Close the door, once, and have the loop do the rest.

        The loop makes the report, not whoever asked for it: that thread may be interrupted, or
        ask a second time from a signal handler while it waits.
        """
        with self._door:
            if self._report is not None:
                return self._report
            report: concurrent.futures.Future[ShutdownReport] = concurrent.futures.Future()
            self._report = report
        self.admission.close()
        self.live.close()
        if self._runtime is None:
            _settle(report, ShutdownReport())
        else:
            closing = functools.partial(self._close, report, self._runtime, drain, grace)
            try:
                self._runtime.call_soon(closing)
            except RuntimeError as error:
                _settle(report, self._left_behind(f"the event loop is gone: {error}"))
        return report

    def _await(self, report: concurrent.futures.Future[ShutdownReport], limit: float) -> None:
        try:
            report.result(min(limit, threading.TIMEOUT_MAX))
        except TimeoutError:
            why = "the event loop does not turn; its thread stays behind"
            _settle(report, self._left_behind(why))

    def _left_behind(self, why: str) -> ShutdownReport:
        return ShutdownReport(cancelled=tuple(self.live.ids()), abandoned=(why,))

    def _leave(self) -> None:
        """Let go of everything that does not need the loop, whatever has happened to that."""
        cut_off = self.live.give_up()
        if self._runtime is not None:
            self._runtime.release()
            for run_id in cut_off:
                self._runtime.audience.notify(run_id)
        if self._thread is not None:
            self._thread.stop(_MARGIN)
            atexit.unregister(self._at_exit)

    async def _close(
        self,
        report: concurrent.futures.Future[ShutdownReport],
        runtime: Runtime,
        drain: float,
        grace: float,
    ) -> None:
        outcome = self._left_behind("the event loop was closed before its orchestrator")
        try:
            outcome = await self._wind_down(runtime, drain, grace)
        finally:
            _settle(report, outcome)

    async def _wind_down(self, runtime: Runtime, drain: float, grace: float) -> ShutdownReport:
        began = runtime.clock.now()
        await self._all_ended(drain)
        cut = self.live.ids()
        for run_id in cut:
            runtime.cancel(run_id, "the orchestrator is shutting down", grace)
        if cut:
            await self._all_ended(grace + _MARGIN)
        abandoned = await runtime.close(grace)
        return ShutdownReport(
            drained=self.live.open_at_close - len(cut),
            cancelled=tuple(cut),
            abandoned=tuple(abandoned),
            duration=runtime.clock.now() - began,
        )

    async def _all_ended(self, timeout: float) -> None:
        import asyncio  # noqa: PLC0415 - runs on a loop

        await asyncio.wait({asyncio.wrap_future(self.live.all_ended)}, timeout=timeout)


def _settle(report: concurrent.futures.Future[ShutdownReport], outcome: ShutdownReport) -> None:
    with contextlib.suppress(concurrent.futures.InvalidStateError):  # there is one already
        report.set_result(outcome)


def _close_at_exit(lifetime: weakref.ref[Lifetime]) -> None:
    """Close an orchestrator that its program has forgotten."""
    living = lifetime()
    if living is not None:
        with contextlib.suppress(ForkedOrchestrator):
            living.shutdown(0.0, 1.0)
