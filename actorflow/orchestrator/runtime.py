"""A running orchestrator: the actor system, the executors and the watchers, assembled.

A runtime belongs to one event loop. Methods that may be called from any thread post messages to the
supervisor; everything else happens on the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import random
import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar

from thespian.actors import ActorSystem

from actorflow.actors import ConfigureSupervisor, Supervisor
from actorflow.errors.definition import ForkedOrchestrator, OrchestratorClosed
from actorflow.errors.storage import LeaseLost
from actorflow.executors import CoroutineExecutor, ThreadExecutor
from actorflow.executors.watchdog import Watchdog
from actorflow.model.lifecycle import RunStatus
from actorflow.model.messages import BlockedLoop, CancelRun, Committed, LeaveRuns, run_of
from actorflow.model.results import RunResult
from actorflow.orchestrator.callers import caller
from actorflow.orchestrator.changing import ChangesRuns
from actorflow.orchestrator.estimates import Estimates
from actorflow.orchestrator.evicting import LetsRunsGo, evict_after
from actorflow.orchestrator.executor_table import Places, finishing
from actorflow.orchestrator.family import Family, HasFamilies
from actorflow.orchestrator.faults import ReportsFaults
from actorflow.orchestrator.following import FollowedSource, Following, FollowsRecords
from actorflow.orchestrator.mail import Mailroom
from actorflow.orchestrator.pausing import Pauses
from actorflow.orchestrator.shutdown import Parting
from actorflow.orchestrator.waits import Waits, would_block, would_read
from actorflow.orchestrator.watchers import Audience
from actorflow.run.event_stream import EventStream
from actorflow.scheduling.decisions import Decisions
from actorflow.support.clock import SystemClock
from actorflow.support.logs import get_logger
from actorflow.support.safe_text import text_of
from actorflow.systems.embedded import EmbeddedSystem

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Mapping, Sequence

    from actorflow.model.context import Attempt, Children
    from actorflow.model.events import Event
    from actorflow.model.messages import StartRun
    from actorflow.model.protocols import Clock, Executor, Observer, Report, StateManager
    from actorflow.model.records import RunSnapshot
    from actorflow.orchestrator.family import Undoes
    from actorflow.orchestrator.live import LiveRuns
    from actorflow.orchestrator.powers import Powers
    from actorflow.orchestrator.settings import Settings
    from actorflow.support.oneshot import Once

    _T = TypeVar("_T")

__all__ = ["Runtime"]

_ANYWHERE: Final = contextlib.nullcontext()
_HANDING_OVER: Final = 0.5
"""Seconds for which a cancellation waits until no run is handed over, which takes far less.
A signal handler that shuts down in the middle of that waits for the cancellation in turn.
"""


class Runtime(ChangesRuns, FollowsRecords, HasFamilies, LetsRunsGo, ReportsFaults):
    """Everything of an orchestrator that runs.

    Args:
        loop: The event loop that the actors live on.
        settings: The limits.
        powers: The state manager and its optional powers.
        executors: The program's own executors, by name.
        observers: The program's own observers.
        live: The runs in progress; runs that end are removed from it.
        children: Starts the child runs of steps.
        undoing: Undoes children with their parents.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        settings: Settings,
        powers: Powers,
        executors: Mapping[str, Executor | concurrent.futures.Executor],
        observers: Sequence[Observer],
        live: LiveRuns,
        children: Children | None = None,
        undoing: Undoes | None = None,
    ) -> None:
        self.clock: Clock = SystemClock()
        self.powers = powers
        self.state: StateManager = powers.state
        self.slow_to_read: bool = powers.slow_to_read
        self.keeps_attributes: bool = powers.attributes is not None
        self._parting = Parting(powers.state, slow=powers.slow_to_read)
        self._finished = finishing(powers)
        self.following: Following = Following(powers)
        self._live = live
        self._pauses = Pauses(loop, self._tell)
        self._loop = loop
        self._pid = os.getpid()
        # The thread itself, because its number is reused after its end.
        self._loop_thread: threading.Thread | None = None
        self._grace = settings.stop_grace
        self.system: Final = EmbeddedSystem(loop, contextvars.copy_context())
        self._coroutines = CoroutineExecutor(
            loop, self.system.deliver_some, self.system.deliver_later, self.clock.now
        )
        self._threads = ThreadExecutor(max_abandoned=settings.max_abandoned)
        self.places: Final = Places(self._coroutines, self._threads, executors)
        self.audience: Audience = Audience(observers)
        self.waits: Waits = Waits(self._tell)
        self.mail: Mailroom = Mailroom(powers, self.waits, self._tell, loop)
        self.answered: Final = self.mail.answered
        self.family: Family = Family()
        self._of_families = set()
        self.children: Children | None = children
        self.undoing = undoing
        self._watchdog = Watchdog(
            self._coroutines, self.clock, self._loop_blocked, settings.blocked_after
        )
        self.ways: Final = Estimates(powers.measures, self.clock.now, self._read_elsewhere).ways
        self._brain = Decisions(
            async_workers=settings.async_workers,
            max_active_runs=settings.max_active_runs,
            grace=settings.stop_grace,
            random=random.random,
            ageing=settings.ageing,
            evict_after=evict_after(settings, powers),
        )

    # ── Beginning and end ────────────────────────────────────────────────────────────────────

    def open(self) -> None:
        """Start the actors; on the loop's thread."""
        self._loop_thread = threading.current_thread()
        try:
            self._open()
        except BaseException:
            self.release()
            raise

    def _open(self) -> None:
        # Thespian makes the first base it is given the default for the process, unless it is
        # told that the base is private.
        actors = ActorSystem(self.system, transientUnique=True)
        self._supervisor = actors.createActor(Supervisor)
        self.places.open(self._reporting_here(), self._report_from_anywhere)
        self.audience.open()
        self._watchdog.start(threading.get_ident())
        actors.tell(self._supervisor, ConfigureSupervisor(brain=self._brain, host=self))

    async def close(self, grace: float, patience: float) -> list[str]:
        """Release everything after the last run; return what could not be ended.

        Args:
            grace: Seconds that observers get to handle the events they have been given.
            patience: Seconds that the state manager gets to be closed.
        """
        try:
            await self.leave_families()
            left = self._let_go()
            left += await self._parting.close_within(patience)
            left += await self.audience.ended(grace)
        finally:
            self.system.close()
        return left

    def release(self) -> list[str]:
        """Release whatever does not need the loop; return what could not be ended.

        A second call does nothing.
        """
        return self._let_go() + self._parting.close()

    def _let_go(self) -> list[str]:
        self._watchdog.close()
        self.waits.end()
        self.following.close()
        left = self.places.close()
        self.audience.close()
        return left

    def call_soon(self, function: Callable[[], None]) -> None:
        """Call a function on the loop; from any thread.

        Raises:
            RuntimeError: When the loop has been closed.
        """
        self._loop.call_soon_threadsafe(function)

    # ── From any thread ──────────────────────────────────────────────────────────────────────

    def start(self, message: StartRun) -> None:
        """Tell the supervisor to start a run."""
        self.audience.hear_logging()
        self._tell(message)

    def cancel(
        self,
        run_id: str,
        reason: str,
        grace: float | None = None,
        *,
        compensate: bool = False,
        kept: bool = False,
    ) -> None:
        """Tell the supervisor to end a run; see `CancelRun`."""
        self.check_process()
        waiting = self._live.waiting
        if not (waiting and waiting.cancel(run_id, reason, self)):
            # A run that is being handed over is told to start first.
            handed_over = self._live.door.acquire(timeout=_HANDING_OVER)
            try:
                self._tell(CancelRun(run_id, reason, grace, compensate, kept=kept))
            finally:
                if handed_over:
                    self._live.door.release()

    def leave(self, run_ids: Sequence[str], grace: float) -> None:
        """Tell the supervisor to stop these runs without ending them."""
        self._tell(LeaveRuns(run_ids, grace))

    def snapshot(self, run_id: str) -> RunSnapshot:
        """Return a run as it stands."""
        return self.state.snapshot(run_id)

    def status(self, run_id: str) -> RunStatus:
        """Return the status of a run; from memory where reading would block the event loop.

        Raises:
            WrongLoop: When called on the loop, and a database must be asked.
        """
        if self._blocks() and run_id in self._live:
            known = self._brain.runs.get(run_id)
            if known is None:
                return RunStatus.PENDING
            # Its end is not recorded yet, or it would not be in progress.
            return RunStatus.RUNNING if known.status.terminal else known.status
        self.check_may_read("Run.status")
        return self.snapshot(run_id).status

    def stream(self, run_id: str, end: Once[RunResult] | None, limit: float | None) -> EventStream:
        """Return a run's events."""
        self.check_process()
        if not self._blocks():
            self.state.events(run_id, limit=0)  # raises for a run that is not there
        followed = FollowedSource(self) if self.is_shared else None
        if end is None and followed is not None:
            return EventStream(followed, run_id, follows=True, limit=limit)
        return EventStream(self, run_id, end=end, limit=limit, elsewhere=followed)

    # ── Runs that may be in progress elsewhere ───────────────────────────────────────────────

    def end_here(self, run_id: str) -> Once[RunResult] | None:
        """Return the end of a run that is in progress here."""
        return self._live.end(run_id)

    def _blocks(self) -> bool:
        """Return whether reading would block the loop."""
        return self.slow_to_read and self.on_loop()

    def check_may_read(self, what: str) -> None:
        """Refuse to block the loop until a database answers.

        Raises:
            WrongLoop: When called on the loop, with a state manager that is slow to read.
            ForkedOrchestrator: When called in a fork of the orchestrator's process.
        """
        self.check_process()
        if self._blocks():
            raise would_read(what)

    def check_may_block(self, what: str) -> None:
        """Refuse to block the loop's own thread.

        Raises:
            WrongLoop: When called on it.
            ForkedOrchestrator: When called in a fork of the orchestrator's process.
        """
        self.check_process()
        if self.on_loop():
            raise would_block(what)

    def wait(self, run_id: str, end: Once[_T]) -> _T:
        """Block until a run has ended; a step that waits holds nothing.

        Raises:
            Deadlock: When a step waits, and the wait could never end.
        """
        attempt = self.attempt_here()
        return end.result() if attempt is None else self.waits.wait_for(attempt, run_id, end)

    async def wait_async(self, run_id: str, end: Once[_T]) -> _T:
        """Do what `wait` does without blocking the event loop."""
        attempt = self.attempt_here()
        if attempt is None:
            return await end.result_async()
        return await self.waits.wait_for_async(attempt, run_id, end)

    def staying(self) -> contextlib.AbstractContextManager[None]:
        """Keep the run of the step that calls in memory within the block, because it waits."""
        here = self.attempt_here()
        return _ANYWHERE if here is None else self.waits.staying(here)

    def attempt_here(self) -> Attempt | None:
        """Return the attempt that calls, if a step does."""
        known = caller()
        if known is not None:
            return known
        return self._coroutines.running() if self.on_loop() else self._threads.attempt_here()

    def _read_elsewhere(self, read: Callable[[], None]) -> None:
        """Call a function that may wait for the state manager, but not on the loop."""
        if self.slow_to_read and self.on_loop():
            self._loop.run_in_executor(None, read)
        else:
            read()

    def on_loop(self) -> bool:
        """Return whether the caller is on the loop's thread."""
        if asyncio._get_running_loop() is self._loop:  # noqa: SLF001 - documented; the usual case
            return True
        on_its_thread = threading.current_thread() is self._loop_thread
        return on_its_thread and not self._loop.is_closed()

    def check_process(self) -> None:
        """Refuse to work in a fork of the orchestrator's process.

        Raises:
            ForkedOrchestrator: When called in one.
        """
        if os.getpid() != self._pid:
            raise ForkedOrchestrator(self._pid, os.getpid())

    def _tell(self, message: object) -> None:
        try:
            self.system.post_from_anywhere(self._supervisor, message)
        except RuntimeError:
            why = "the event loop that the orchestrator was entered on has been closed"
            raise OrchestratorClosed("reach a run", why) from None

    # ── What executors and the watchdog report ───────────────────────────────────────────────

    def _reporting_here(self) -> Report:
        """Return the function with which the coroutine executor reports an end."""
        # One call a step, so everything is looked up once.
        system, supervisor, finished = self.system, self._supervisor, self._finished
        now, enqueue, sender = self.clock.now, system.enqueue, system.system_cell

        def report(attempt: Attempt, output: Any, error: BaseException | None) -> None:
            attempt.ended_at = now()
            message = finished(attempt, output, error)
            if system.inbox:
                system.take_in()  # such as the watchdog's report of this very attempt
            # An executor that reports here lets the system deliver next: it needs no wake-up.
            enqueue((supervisor, message, sender))

        return report

    def _report_from_anywhere(
        self, attempt: Attempt, output: Any, error: BaseException | None
    ) -> None:
        attempt.ended_at = self.clock.now()
        try:
            finished = self._finished(attempt, output, error)
            self.system.post_from_anywhere(self._supervisor, finished)
        except RuntimeError:
            pass  # the loop has closed, and no waiter is left for this attempt

    def _loop_blocked(self, attempt: Attempt, seconds: float, stack: str) -> None:
        self._tell(BlockedLoop(attempt, seconds, stack))

    # ── What the supervisor needs ────────────────────────────────────────────────────────────

    def committed(self, error: BaseException | None, /) -> None:
        """Tell the supervisor that a batch of events is recorded."""
        self._tell(Committed(error))

    def moved(self, attempt: Attempt) -> None:
        """Tell a body that waits that its attempt continues or has to stop."""
        self.waits.moved(attempt)

    def finished(self, result: RunResult) -> None:
        """Pass a run's result to its handle, and let its streams end."""
        self.waits.end(result.run_id)
        self.mail.forget(result.run_id)
        self.end_those_of(result)
        error = result.error
        taken_over = error if self.is_shared and isinstance(error, LeaseLost) else None
        self._live.finish(result, taken_over)
        if self._live.waiting.has_keys:  # one of them may wait for this
            self._live.waiting.changed()
        if self.audience.present:
            self.audience.notify(result.run_id)

    def broken(self, message: object, error: BaseException) -> None:
        """Report a defect of actorflow, and end the run it affects."""
        with contextlib.suppress(BaseException):  # a log that raises must not add to it
            get_logger().critical(
                "actorflow.defect", message=repr(message), exc_info=error, cure="please report this"
            )
        if isinstance(message, CancelRun):
            self._cut_off(message.run_id, error)
        elif (run_id := run_of(message)) is not None:
            # With a grace, which limits compensation too: otherwise the run might never end.
            self._tell(CancelRun(run_id, f"a defect of actorflow: {text_of(error)}", self._grace))

    def _cut_off(self, run_id: str, error: BaseException) -> None:
        """End a run that cannot even be cancelled, so that no caller waits for ever."""
        try:
            result = RunResult.of(self.state.snapshot(run_id)).failed_by(error)
        except BaseException as fault:  # noqa: BLE001 - the state manager may be the broken part
            why = f"a defect of actorflow ended it, and what it came to is lost: {text_of(fault)}"
            self._live.discard(run_id, why)
        else:
            self.finished(result)

    # ── Streams ──────────────────────────────────────────────────────────────────────────────

    def read(self, run_id: str, after: int, limit: int) -> Sequence[Event]:
        """Return recorded events."""
        return self.state.events(run_id, after=after, limit=limit)

    def live(self, run_id: str) -> bool:
        """Return whether a run may still get events."""
        return run_id in self._live

    def watch(self, run_id: str, notify: Callable[[], None]) -> None:
        """Call `notify` when a run has new events."""
        self.check_process()
        self.audience.watch(run_id, notify)

    def unwatch(self, run_id: str, notify: Callable[[], None]) -> None:
        """Stop calling it."""
        if os.getpid() == self._pid:  # a fork may have inherited a lock that is held for ever
            self.audience.unwatch(run_id, notify)
