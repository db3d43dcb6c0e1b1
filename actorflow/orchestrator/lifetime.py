"""An orchestrator's lifetime: opened once, on its own thread or the caller's loop; closed once.

A shutdown accepts no new run and gives accepted runs `drain` seconds to end. It then leaves the
others to other orchestrators, or cancels them if there can be none, and gives their attempts
`grace` seconds to stop. Attempts that cannot be stopped are abandoned and reported. Threads, timers
and tasks end last.

Ctrl-C can strike anywhere in here. A start that is interrupted gives its place back; a shutdown
that is interrupted continues without its caller.
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

from actorflow.definition.arguments import flag
from actorflow.definition.durations import seconds
from actorflow.errors.definition import (
    DefinitionError,
    ForkedOrchestrator,
    NotRunning,
    OrchestratorClosed,
    WrongLoop,
)
from actorflow.orchestrator.admission import Admission
from actorflow.orchestrator.live import LiveRuns
from actorflow.orchestrator.remote_cancel import hear_requests
from actorflow.orchestrator.settings import checked_executors, checked_observers

if TYPE_CHECKING:
    import asyncio
    import concurrent.futures
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta

    from actorflow.model.context import Children
    from actorflow.model.protocols import Executor, Observer
    from actorflow.model.results import ShutdownReport
    from actorflow.orchestrator.family import Undoes
    from actorflow.orchestrator.powers import Powers
    from actorflow.orchestrator.runtime import Runtime
    from actorflow.orchestrator.settings import Settings
    from actorflow.orchestrator.shutdown import Background, Closing
    from actorflow.orchestrator.starter import Starter
    from actorflow.systems.thread import LoopThread


__all__ = ["Lifetime"]

_MARGIN: Final = 5.0
"""Seconds beyond drain and grace after which an event loop that does not answer is left behind."""
_OF_THE_LOOP: Final = 0.8
"""The share of the margin that the loop may use, so that it answers before it is left behind."""
_STUCK: Final = "the event loop does not turn; its thread stays behind"


class Lifetime:
    """Opens and closes one orchestrator."""

    def __init__(
        self,
        settings: Settings,
        powers: Powers,
        executors: Mapping[str, Executor | concurrent.futures.Executor] | None,
        observers: Sequence[Observer],
    ) -> None:
        self._powers = powers
        self._parts: dict[str, Any] = {
            "settings": settings,
            "powers": powers,
            "executors": checked_executors(executors),
            "observers": checked_observers(observers),
        }
        self.admission: Final = Admission(
            settings.max_active_runs,
            settings.max_queued_runs,
            rejects=settings.when_full == "reject",
        )
        self.live: Final = LiveRuns(self.admission.leave)
        self.door: Final = threading.RLock()
        """Held while a run is handed over, and while the shutdown begins. Reentrant, because a
        signal handler may shut down in the middle of a start."""
        self._pid = os.getpid()
        self._claimed = False
        self._runtime: Runtime | None = None
        self._thread: LoopThread | None = None
        self._closing: Closing | None = None
        self.background: Background | None = None
        """What runs beside the orchestrator; set before it is opened."""
        self.children: Children | None = None
        """What starts the child runs of steps; set before it is opened."""
        self.undoing: Undoes | None = None
        """What undoes children with their parents; set before it is opened."""
        self.starter: Starter | None = None
        """What starts deferred runs; set before it is opened."""
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
            closing = self._begin_to_close(0.0, 0.0, leave=self._leaves(None))
            closing.outcome.wait(_MARGIN)
            thread.stop(_MARGIN)
            raise

    async def open_here(self) -> None:
        """Start on the running event loop."""
        import asyncio  # noqa: PLC0415 - a caller that awaits has loaded it

        self._claim()
        await self._open(asyncio.get_running_loop())

    def _claim(self) -> None:
        self._check_process()
        with self.door:
            if self._closing is not None:
                raise OrchestratorClosed("start it again")
            if self._claimed:
                raise WrongLoop("this orchestrator was started already; make another one")
            self._claimed = True

    async def _open(
        self, loop: asyncio.AbstractEventLoop, thread: LoopThread | None = None
    ) -> None:
        from actorflow.orchestrator.runtime import Runtime  # noqa: PLC0415 - loads the actors

        runtime = Runtime(
            loop, live=self.live, children=self.children, undoing=self.undoing, **self._parts
        )
        # First of all: it refuses a state manager that belongs to another orchestrator.
        self._stop_hearing = hear_requests(runtime, self.live)
        try:
            runtime.open()
            await self._begin(runtime, thread)
        except BaseException:
            self._stop_hearing()
            raise

    async def _begin(self, runtime: Runtime, thread: LoopThread | None) -> None:
        with self.door:
            if self._closing is None:
                self._runtime, self._thread = runtime, thread
                if self.background is not None:
                    self.background.begin(runtime)
                return
        await runtime.close(_MARGIN, _MARGIN)
        raise OrchestratorClosed("finish its start")

    def runtime(self, what: str, *, even_closing: bool = False) -> Runtime:
        """Return the runtime, for a caller that wants to do `what`.

        Args:
            what: What that is, in words.
            even_closing: Whether it may be done while runs are drained and left, too.

        Raises:
            NotRunning: Before the start.
            OrchestratorClosed: From the beginning of a shutdown, or after it.
            ForkedOrchestrator: In a fork of the process that started it.
        """
        if self._pid != os.getpid():
            raise ForkedOrchestrator(self._pid, os.getpid())
        if self._closing is not None and not (even_closing and not self._is_closed()):
            raise OrchestratorClosed(what)
        if self._runtime is None:
            raise NotRunning(what)
        return self._runtime

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            raise ForkedOrchestrator(self._pid, os.getpid())

    # ── Closing ──────────────────────────────────────────────────────────────────────────────

    def shutdown(
        self, drain: float | timedelta, grace: float | timedelta, *, leave: bool | None = None
    ) -> ShutdownReport:
        """Close, from any thread but the loop's; all callers get the same report."""
        self._check_process()
        limits = seconds(drain, "drain", zero=True), seconds(grace, "grace", zero=True)
        leaves = self._leaves(leave)
        if self._runtime is not None and not self._is_closed():
            self._runtime.check_may_block("Orchestrator.shutdown()")
        try:
            return self._close(*limits, leave=leaves)
        except BaseException:
            self.lose_patience(limits[1], leave=leave)
            raise

    async def shutdown_async(
        self, drain: float | timedelta, grace: float | timedelta, *, leave: bool | None = None
    ) -> ShutdownReport:
        """Close, from the orchestrator's own event loop or from any other."""
        import asyncio  # noqa: PLC0415 - a caller that awaits has loaded it

        self._check_process()
        limits = seconds(drain, "drain", zero=True), seconds(grace, "grace", zero=True)
        leaves = self._leaves(leave)
        try:
            if self._runtime is None or not self._runtime.on_loop():
                return await asyncio.to_thread(self.shutdown, drain, grace, leave=leave)
            closing = self._begin_to_close(*limits, leave=leaves)
            await closing.outcome.result_async()
        except asyncio.CancelledError:
            self.lose_patience(limits[1], leave=leave)
            raise
        return self._leave(closing)

    def _leaves(self, leave: object) -> bool:
        """Return whether runs that do not end within the drain are left to other orchestrators."""
        shared = self._powers.leases is not None
        leaves = shared if leave is None else flag(leave, "leave")
        if leaves and not shared:
            problem = (
                "leave=True needs a state manager that other orchestrators share, and "
                f"{type(self._powers.state).__name__} has no hand_back()"
            )
            cure = "Keep runs in an SQLStateManager, or leave leave= out to have them cancelled"
            raise DefinitionError(None, problem, cure)
        return leaves

    def _close(self, drain: float, grace: float, *, leave: bool) -> ShutdownReport:
        closing = self._begin_to_close(drain, grace, leave=leave)
        # The grace is the first caller's, however patient this one is.
        if not closing.outcome.wait(drain + 2 * closing.grace + _MARGIN):
            closing.leave_behind(_STUCK)
        return self._leave(closing)

    def _begin_to_close(self, drain: float, grace: float, *, leave: bool) -> Closing:
        """Admit no further run, and have the loop close the rest; repeating this is safe."""
        from actorflow.orchestrator.shutdown import Closing  # noqa: PLC0415 - loads asyncio

        with self.door:
            if self._closing is None:
                self._closing = Closing(
                    self.live,
                    self._runtime,
                    self._end_thread,
                    background=self.background,
                    leave=leave,
                    grace=grace,
                    margin=_OF_THE_LOOP * _MARGIN,
                )
            closing = self._closing
        if self.background is not None:
            self.background.end()
        if self.starter is not None:
            self.starter.end(self._runtime, leave=closing.leave)
        self.admission.close()
        self.live.close()
        closing.ask(drain)
        return closing

    def lose_patience(self, grace: float = 5.0, *, leave: bool | None = None) -> None:
        """End everything soon, although no caller waits for it: after Ctrl-C, for example."""
        self._begin_to_close(0.0, grace, leave=self._leaves(leave))

    def _is_closed(self) -> bool:
        return self._closing is not None and self._closing.outcome.done

    def _end_thread(self) -> None:
        if self._thread is not None:
            self._thread.end()

    def _leave(self, closing: Closing) -> ShutdownReport:
        """Release everything, and return the final report."""
        self._stop_hearing()
        closing.let_go()
        outcome = closing.outcome.result()
        thread = self._thread
        if thread is not None:
            if thread.is_current:  # the outcome of this thread is not known yet
                return closing.report.result() if closing.report.done else outcome
            left = thread.stop(_MARGIN)
            if left is not None and _STUCK not in outcome.abandoned:
                outcome = attrs.evolve(outcome, abandoned=(*outcome.abandoned, left))
            atexit.unregister(self._at_exit)
        return closing.finish(outcome)


def _close_at_exit(lifetime: weakref.ref[Lifetime]) -> None:
    """Close an orchestrator that its program did not close."""
    living = lifetime()
    if living is not None:
        with contextlib.suppress(ForkedOrchestrator):
            living.shutdown(0.0, 1.0)
