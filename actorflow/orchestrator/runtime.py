"""One running orchestrator: the actor system, the executors and the watchers, put together.

A runtime belongs to one event loop. What its methods promise for any thread, they keep by
posting messages to the supervisor; the rest happens on the loop.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import os
import random
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final, TypeVar

from thespian.actors import ActorSystem

from actorflow.actors import ConfigureSupervisor, Supervisor
from actorflow.actors.decisions import Decisions
from actorflow.clock import SystemClock
from actorflow.errors import (
    DefinitionError,
    ForkedOrchestrator,
    OrchestratorClosed,
    UnknownExecutor,
    WrongLoop,
)
from actorflow.executors import CoroutineExecutor, FuturesExecutor, ThreadExecutor
from actorflow.executors.watchdog import Watchdog
from actorflow.logs import get_logger
from actorflow.messages import AttemptFinished, BlockedLoop, CancelRun, Committed
from actorflow.observe import Feed, LogObserver, logging_is_configured
from actorflow.streams import EventStream
from actorflow.systems import EmbeddedSystem

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from actorflow.context import Attempt
    from actorflow.events import Event
    from actorflow.messages import StartRun
    from actorflow.orchestrator.live import LiveRuns
    from actorflow.orchestrator.settings import Settings
    from actorflow.plan import StepPlan, WorkflowPlan
    from actorflow.protocols import Executor, Observer, StateManager
    from actorflow.results import RunResult, RunSnapshot

__all__ = ["COROUTINE", "THREAD", "Runtime"]

_T = TypeVar("_T")

_KIND_CURE: Final = "Coroutine functions run on the event loop, plain ones everywhere else"
COROUTINE: Final = "coroutine"
THREAD: Final = "thread"


class Runtime:
    """Everything of an orchestrator that runs.

    Args:
        loop: The event loop that the actors live on.
        settings: The limits.
        state: Where runs are recorded.
        executors: The program's own executors, by name.
        observers: The program's own observers.
        live: The runs in progress, which it takes out as they end.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        settings: Settings,
        state: StateManager,
        executors: Mapping[str, Executor | concurrent.futures.Executor],
        observers: Sequence[Observer],
        live: LiveRuns,
    ) -> None:
        self.clock = SystemClock()
        self.state = state
        self._live = live
        self._loop = loop
        self._pid = os.getpid()
        self._loop_thread: int | None = None
        self.system = EmbeddedSystem(loop, contextvars.copy_context())
        self._coroutines = CoroutineExecutor(loop, self.system.deliver_some, self.clock.now)
        threads = ThreadExecutor(max_abandoned=settings.max_abandoned)
        self._executors: dict[str, Executor] = {
            THREAD: threads,
            **{name: _adapted(executor) for name, executor in executors.items()},
            COROUTINE: self._coroutines,
        }
        self._executors_of: weakref.WeakKeyDictionary[WorkflowPlan, Mapping[str, Executor]] = (
            weakref.WeakKeyDictionary()
        )
        self._feeds = [Feed(observer) for observer in observers]
        self._log_feed: Feed | None = None
        self._watchers: dict[str, list[Callable[[], None]]] = {}
        self.watched = bool(self._feeds)
        """Whether anybody wants what `publish` shows."""
        self._watchers_lock = threading.Lock()
        self._watchdog = Watchdog(
            self._coroutines, self.clock, self._loop_blocked, settings.blocked_after
        )
        self._brain = Decisions(
            async_workers=settings.async_workers,
            max_active_runs=settings.max_active_runs,
            grace=settings.stop_grace,
            random=random.random,
        )

    # ── Beginning and end ────────────────────────────────────────────────────────────────────

    def open(self) -> None:
        """Bring the actors to life; on the loop's thread."""
        self._loop_thread = threading.get_ident()
        # Thespian keeps the first base it is given as everybody's default, unless it is told
        # that this one is nobody else's business.
        actors = ActorSystem(self.system, transientUnique=True)
        self._supervisor = actors.createActor(Supervisor)
        for name, executor in self._executors.items():
            executor.open(self._report_here if name == COROUTINE else self._report_from_anywhere)
        for feed in self._feeds:
            feed.start()
        self._watchdog.start(self._loop_thread)
        actors.tell(self._supervisor, ConfigureSupervisor(brain=self._brain, host=self))

    async def close(self, grace: float) -> list[str]:
        """Release everything, when no run is left; return what could not be ended.

        Args:
            grace: Seconds that observers get to finish with what they have been given.
        """
        self._watchdog.close()
        left = [
            f"{attempt} still runs in executor {name!r}"
            for name, executor in self._executors.items()
            for attempt in executor.close()
        ]
        feeds = [*self._feeds, *([self._log_feed] if self._log_feed else [])]
        for feed in feeds:
            feed.close()
        left += [
            f"observer {feed.observer!r} has not returned"
            for feed in feeds
            if not await _ended(feed, grace)
        ]
        self.system.close()
        self.state.close()
        return left

    def call(self, coroutine: Coroutine[Any, Any, _T], timeout: float) -> _T:
        """Run a coroutine on the loop, and wait for its result on another thread.

        Raises:
            TimeoutError: When there is none within `timeout` seconds.
        """
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

    # ── From any thread ──────────────────────────────────────────────────────────────────────

    def start(self, message: StartRun) -> None:
        """Have the supervisor run something."""
        self._hear_logging()
        self._tell(message)

    def cancel(self, run_id: str, reason: str, grace: float | None = None) -> None:
        """Have the supervisor end a run."""
        self._check_process()
        self._tell(CancelRun(run_id, reason, grace))

    def snapshot(self, run_id: str) -> RunSnapshot:
        """Return a run as it stands."""
        return self.state.snapshot(run_id)

    def stream(self, run_id: str) -> EventStream:
        """Return a run's events."""
        self._check_process()
        self.state.events(run_id, limit=0)  # raises for a run that is not there
        return EventStream(self, run_id)

    def check_may_block(self, what: str) -> None:
        """Refuse to block the loop's own thread.

        Raises:
            WrongLoop: When called on it.
            ForkedOrchestrator: When called in a fork of the orchestrator's process.
        """
        self._check_process()
        if self.on_loop():
            raise WrongLoop(
                f"{what} would block the event loop that the run itself needs. "
                "Await it instead: `await run`, `await orchestrator.run_async(...)`, "
                "`async for event in run.events()`."
            )

    def on_loop(self) -> bool:
        """Return whether the caller is on the loop's thread."""
        return threading.get_ident() == self._loop_thread

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedOrchestrator(self._pid, os.getpid())

    def _tell(self, message: object) -> None:
        try:
            self.system.post_from_anywhere(self._supervisor, message)
        except RuntimeError:
            raise OrchestratorClosed("reach a run") from None

    def _hear_logging(self) -> None:
        """Begin to log if the program has configured logging since the last run."""
        if self._log_feed is None and logging_is_configured():
            self._log_feed = Feed(LogObserver())
            self._log_feed.start()
            self.watched = True

    def executors_of(self, plan: WorkflowPlan) -> Mapping[str, Executor]:
        """Return the executor of each step, by step id.

        Raises:
            UnknownExecutor: When a step names one that is not there.
        """
        known = self._executors_of.get(plan)
        if known is None:
            known = {step.id: self._executor_of(step) for step in plan.steps}
            self._executors_of[plan] = known
        return known

    def _executor_of(self, plan: StepPlan) -> Executor:
        name = plan.step.executor or (COROUTINE if plan.is_coroutine else THREAD)
        if name not in self._executors:
            raise UnknownExecutor(plan.id, name, tuple(self._executors))
        if plan.is_coroutine != (name == COROUTINE):
            kind = "a coroutine function" if plan.is_coroutine else "a plain function"
            raise DefinitionError(
                None, f"{kind} cannot run in executor {name!r}", _KIND_CURE, plan.id
            )
        return self._executors[name]

    # ── What executors and the watchdog report ───────────────────────────────────────────────

    def _report_here(self, attempt: Attempt, output: Any, error: BaseException | None) -> None:
        finished = AttemptFinished(attempt, output, error)
        self.system.post(self._supervisor, finished, self.system.system_cell)

    def _report_from_anywhere(
        self, attempt: Attempt, output: Any, error: BaseException | None
    ) -> None:
        try:
            finished = AttemptFinished(attempt, output, error)
            self.system.post_from_anywhere(self._supervisor, finished)
        except RuntimeError:
            pass  # the loop has closed: nobody waits for this attempt any more

    def _loop_blocked(self, attempt: Attempt, seconds: float, stack: str) -> None:
        self._tell(BlockedLoop(attempt, seconds, stack))

    # ── What the supervisor needs ────────────────────────────────────────────────────────────

    def committed(self, error: BaseException | None, /) -> None:
        """Tell the supervisor that a batch of events is recorded."""
        self._tell(Committed(error))

    def publish(self, events: Sequence[Event]) -> None:
        """Show recorded events to streams and observers."""
        if self._watchers:
            for run_id in {event.run_id for event in events}:
                self._notify(run_id)
        for feed in self._feeds:
            feed.put(events)
        if self._log_feed is not None:
            self._log_feed.put(events)

    def finished(self, result: RunResult) -> None:
        """Hand a run's result to its handle, and let its streams end."""
        self._live.finish(result)
        self._notify(result.run_id)

    def misbehaved(self, attempt: Attempt, what: str, error: Exception) -> None:
        """Report an executor that raised where it must not."""
        get_logger(run_id=attempt.scope.run_id, **attempt.scope.bindings()).error(
            "executor.failed", executor=repr(attempt.executor), method=what, exc_info=error
        )

    def broken(self, message: object, error: BaseException) -> None:
        """Report a defect of actorflow, and end the run that it struck."""
        get_logger().critical(
            "actorflow.defect", message=repr(message), exc_info=error, cure="please report this"
        )
        run_id = _run_of(message)
        if run_id is not None and not isinstance(message, CancelRun):
            self._tell(CancelRun(run_id, f"a defect of actorflow: {error!r}", None))

    # ── Streams ──────────────────────────────────────────────────────────────────────────────

    def read(self, run_id: str, after: int, limit: int) -> Sequence[Event]:
        """Return recorded events."""
        return self.state.events(run_id, after=after, limit=limit)

    def live(self, run_id: str) -> bool:
        """Return whether a run may still get events."""
        return run_id in self._live

    def watch(self, run_id: str, notify: Callable[[], None]) -> None:
        """Call `notify` when a run has new events."""
        with self._watchers_lock:
            self._watchers[run_id] = [*self._watchers.get(run_id, ()), notify]
            self.watched = True

    def unwatch(self, run_id: str, notify: Callable[[], None]) -> None:
        """Call it no more."""
        with self._watchers_lock:
            left = list(self._watchers.pop(run_id, ()))
            left.remove(notify)
            if left:
                self._watchers[run_id] = left
            self.watched = bool(self._watchers or self._feeds or self._log_feed)

    def _notify(self, run_id: str) -> None:
        for notify in self._watchers.get(run_id, ()):
            notify()


def _run_of(message: object) -> str | None:
    """Return the run that a message is about, if it is about one."""
    attempt = getattr(message, "attempt", None)
    scope = getattr(attempt if attempt is not None else message, "scope", None)
    run_id: str | None = getattr(message, "run_id", None) or getattr(scope, "run_id", None)
    return run_id


async def _ended(feed: Feed, grace: float) -> bool:
    ended = asyncio.wrap_future(feed.ended)
    done, _ = await asyncio.wait({ended}, timeout=grace)
    if done:
        feed.join()
    return bool(done)


def _adapted(executor: Executor | concurrent.futures.Executor) -> Executor:
    if isinstance(executor, concurrent.futures.Executor):
        return FuturesExecutor(executor)
    return executor
