"""An orchestrator's life: opened once, on a thread of its own or on the caller's loop; closed once.

What shutting down means, in this order: no new run is accepted; what was accepted gets `drain`
seconds to end by itself; what is left is cancelled, and its attempts get `grace` seconds to
stop; what cannot be stopped is abandoned and reported; then threads, timers and tasks go.

Ctrl-C may come anywhere in here. Whatever is begun is therefore undone, or repeated, by whoever
sees the interrupt pass: a start gives its place back, a shutdown goes on without its caller.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final

import attrs

from actorflow.definition.durations import seconds
from actorflow.errors.base import ActorflowError
from actorflow.errors.definition import (
    ForkedOrchestrator,
    NotRunning,
    OrchestratorClosed,
    WrongLoop,
)
from actorflow.orchestrator.admission import Admission
from actorflow.orchestrator.launch import post
from actorflow.orchestrator.live import LiveRuns
from actorflow.orchestrator.remote_cancel import hear_requests
from actorflow.orchestrator.settings import checked_executors, checked_observers
from actorflow.run.handle import Run
from actorflow.support.oneshot import Once

if TYPE_CHECKING:
    import asyncio
    import concurrent.futures
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta

    from actorflow.model.protocols import Executor, Observer, StateManager
    from actorflow.model.results import RunResult, ShutdownReport
    from actorflow.orchestrator.admission import Ticket
    from actorflow.orchestrator.requests import Request
    from actorflow.orchestrator.runtime import Runtime
    from actorflow.orchestrator.settings import Settings
    from actorflow.orchestrator.shutdown import Closing
    from actorflow.orchestrator.takeover import Recovery
    from actorflow.systems.thread import LoopThread

    Accepted = Once[None]
    """Resolved when a run is recorded, or never will be."""

__all__ = ["Lifetime"]

_MARGIN: Final = 5.0
"""Seconds beyond drain and grace after which a loop that does not answer is left behind."""
_OF_THE_LOOP: Final = 0.8
"""How much of them the loop may take itself, so that it answers before it is left behind."""
_STUCK: Final = "the event loop does not turn; its thread stays behind"


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
        self.admission: Final = Admission(
            settings.max_active_runs,
            settings.max_queued_runs,
            rejects=settings.when_full == "reject",
        )
        self.live: Final = LiveRuns(self.admission.leave)
        # Entered again by a signal handler, say, that shuts down in the middle of a start.
        self._door = threading.RLock()
        self._pid = os.getpid()
        self._claimed = False
        self._runtime: Runtime | None = None
        self._thread: LoopThread | None = None
        self._closing: Closing | None = None
        self.recovery: Recovery | None = None
        """What takes over runs, if that is wanted."""
        self._stop_hearing: Callable[[], None] = lambda: None
        self._at_exit = functools.partial(_close_at_exit, weakref.ref(self))

    # ── Opening ──────────────────────────────────────────────────────────────────────────────

    def open_on_thread(self) -> None:
        """Start on an event loop of its own."""
        from actorflow.systems.thread import LoopThread  # noqa: PLC0415 - loads asyncio

        self._claim()
        thread = LoopThread()
        try:
            thread.start()
            thread.call(functools.partial(self._open, thread=thread))
            atexit.register(self._at_exit)
        except BaseException:
            closing = self._begin_to_close(0.0, 0.0)
            closing.outcome.wait(_MARGIN)
            thread.stop(_MARGIN)
            raise

    async def open_here(self) -> None:
        """Start on the running event loop."""
        import asyncio  # noqa: PLC0415 - whoever awaits has it loaded

        self._claim()
        await self._open(asyncio.get_running_loop())

    def _claim(self) -> None:
        self._check_process()
        with self._door:
            if self._closing is not None:
                raise OrchestratorClosed("start it again")
            if self._claimed:
                raise WrongLoop("this orchestrator was started already; make another one")
            self._claimed = True

    async def _open(
        self, loop: asyncio.AbstractEventLoop, thread: LoopThread | None = None
    ) -> None:
        from actorflow.orchestrator.runtime import Runtime  # noqa: PLC0415 - loads the actors

        runtime = Runtime(loop, live=self.live, **self._parts)
        # First of all: a state manager that is another one's is not to be closed by this one.
        self._stop_hearing = hear_requests(runtime, self.live)
        try:
            runtime.open()
            await self._begin(runtime, thread)
        except BaseException:
            self._stop_hearing()
            raise

    async def _begin(self, runtime: Runtime, thread: LoopThread | None) -> None:
        with self._door:
            if self._closing is None:
                self._runtime, self._thread = runtime, thread
                if self.recovery is not None:
                    self.recovery.begin(runtime)
                return
        await runtime.close(_MARGIN, _MARGIN)
        raise OrchestratorClosed("finish its start")

    def runtime(self, what: str) -> Runtime:
        """Return the runtime, for somebody who wants to do `what`.

        Raises:
            NotRunning: Before the start.
            OrchestratorClosed: After the end.
            ForkedOrchestrator: In a fork of the process that started it.
        """
        self._check_process()
        if self._closing is not None:
            raise OrchestratorClosed(what)
        if self._runtime is None:
            raise NotRunning(what)
        return self._runtime

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            raise ForkedOrchestrator(self._pid, os.getpid())

    # ── Starting runs ────────────────────────────────────────────────────────────────────────

    def enter(self, runtime: Runtime, ticket: Ticket) -> None:
        """Take a place for a run; block or raise, as the settings and the caller's thread say."""
        may_block, waiting = not runtime.on_loop(), runtime.waiting_to_start
        self.admission.enter(ticket, may_block=may_block, waiting=waiting)

    def start(self, runtime: Runtime, request: Request) -> Run:
        """Admit a run and launch it."""
        ticket = self.admission.ticket()
        try:
            self.enter(runtime, ticket)
            run, accepted = self.launch(request, ticket)
            accepted.result()
            return run
        except BaseException:
            self.withdraw(request.run_id, ticket)
            raise

    async def start_async(self, runtime: Runtime, request: Request) -> Run:
        """Do what `start` does, without blocking the event loop."""
        ticket = self.admission.ticket()
        try:
            await self.admission.enter_async(ticket, waiting=runtime.waiting_to_start)
            run, accepted = self.launch(request, ticket)
            await accepted.result_async()
            return run
        except BaseException:
            self.withdraw(request.run_id, ticket)
            raise

    def launch(self, request: Request, ticket: Ticket) -> tuple[Run, Accepted]:
        """Hand an admitted run to the supervisor; `withdraw` it if this raises.

        It is not yet recorded, perhaps; what is returned beside it says when that is so. The
        supervisor need not wait for it: what it records of the run is recorded after that.
        """
        # While the door is being closed nobody is half-way through it: what has been let in by
        # then has been posted, and is drained or cancelled like the rest.
        with self._door:
            end: Once[RunResult] = Once()
            runtime = self.runtime("start a run")
            run = Run(runtime, request.run_id, request.workflow_id, end)
            self.live.add(run, end, ticket, request.message.plan)
            return run, post(runtime, self.live, request)

    def withdraw(self, run_id: str, ticket: Ticket) -> None:
        """Undo a start that has failed or was interrupted, however far it has come.

        Nobody can say whether the supervisor has heard of the run: it cancels a run that it
        knows, and lets go of one that it does not.
        """
        if self.live.holds(run_id, ticket):
            self.interrupt(run_id, "its start was interrupted")
        else:
            self.admission.leave(ticket)

    def interrupt(self, run_id: str, reason: str) -> Run | None:
        """Cancel a run for a caller that leaves by an exception, and return it if it goes on."""
        run = self.live.get(run_id)
        if run is not None:
            with contextlib.suppress(ActorflowError):  # its loop has been closed
                run.cancel(reason)
        return run

    # ── Closing ──────────────────────────────────────────────────────────────────────────────

    def shutdown(self, drain: float | timedelta, grace: float | timedelta) -> ShutdownReport:
        """Close, from any thread but the loop's; everybody who asks gets the same report."""
        self._check_process()
        limits = seconds(drain, "drain", zero=True), seconds(grace, "grace", zero=True)
        if self._runtime is not None and not self._is_closed():
            self._runtime.check_may_block("Orchestrator.shutdown()")
        try:
            return self._close(*limits)
        except BaseException:
            self.lose_patience(limits[1])
            raise

    async def shutdown_async(
        self, drain: float | timedelta, grace: float | timedelta
    ) -> ShutdownReport:
        """Close, from the loop that it runs on, or from any other."""
        import asyncio  # noqa: PLC0415 - whoever awaits has it loaded

        self._check_process()
        limits = seconds(drain, "drain", zero=True), seconds(grace, "grace", zero=True)
        try:
            if self._runtime is None or not self._runtime.on_loop():
                return await asyncio.to_thread(self.shutdown, drain, grace)
            closing = self._begin_to_close(*limits)
            await closing.outcome.result_async()
        except asyncio.CancelledError:
            self.lose_patience(limits[1])
            raise
        return self._leave(closing)

    def _close(self, drain: float, grace: float) -> ShutdownReport:
        closing = self._begin_to_close(drain, grace)
        # However patient this caller is, the first one has decided on the grace.
        if not closing.outcome.wait(drain + 2 * closing.grace + _MARGIN):
            closing.leave_behind(_STUCK)
        return self._leave(closing)

    def _begin_to_close(self, drain: float, grace: float) -> Closing:
        """Close the door, and have the loop do the rest; everything here may be done twice."""
        from actorflow.orchestrator.shutdown import Closing  # noqa: PLC0415 - loads asyncio

        with self._door:
            if self._closing is None:
                self._closing = Closing(
                    self.live,
                    self._runtime,
                    self._end_thread,
                    recovery=self.recovery,
                    grace=grace,
                    margin=_OF_THE_LOOP * _MARGIN,
                )
            closing = self._closing
        if self.recovery is not None:
            self.recovery.end()
        self.admission.close()
        self.live.close()
        closing.ask(drain)
        return closing

    def lose_patience(self, grace: float = 5.0) -> None:
        """See to it that all ends soon, though nobody waits for it: Ctrl-C, say."""
        self._begin_to_close(0.0, grace)

    def _is_closed(self) -> bool:
        return self._closing is not None and self._closing.outcome.done

    def _end_thread(self) -> None:
        if self._thread is not None:
            self._thread.end()

    def _leave(self, closing: Closing) -> ShutdownReport:
        """Let go of everything, and return what has become of it all."""
        self._stop_hearing()
        closing.let_go()
        outcome = closing.outcome.result()
        thread = self._thread
        if thread is not None:
            if thread.is_current:  # and nobody can say yet what becomes of it
                return closing.report.result() if closing.report.done else outcome
            left = thread.stop(_MARGIN)
            if left is not None and _STUCK not in outcome.abandoned:
                outcome = attrs.evolve(outcome, abandoned=(*outcome.abandoned, left))
            atexit.unregister(self._at_exit)
        return closing.finish(outcome)


def _close_at_exit(lifetime: weakref.ref[Lifetime]) -> None:
    """Close an orchestrator that its program has forgotten."""
    living = lifetime()
    if living is not None:
        with contextlib.suppress(ForkedOrchestrator):
            living.shutdown(0.0, 1.0)
