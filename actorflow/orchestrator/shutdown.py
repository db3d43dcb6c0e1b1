"""Shutdown: requested any number of times from any thread, and performed once.

The event loop performs it, not the caller: that thread may be interrupted, or ask a second time
from a signal handler while it waits. The shutdown therefore continues without a waiting caller, and
the loop's thread, if the orchestrator owns it, ends by itself.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from typing import TYPE_CHECKING, Any, Final, Protocol

from actorflow.model.results import ShutdownReport
from actorflow.support.oneshot import Once, first_of
from actorflow.support.safe_text import text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.model.protocols import StateManager
    from actorflow.orchestrator.live import LiveRuns
    from actorflow.orchestrator.runtime import Runtime

__all__ = ["Background", "Closing", "Parting"]


class Background(Protocol):
    """Work that goes on beside an orchestrator from its start to its shutdown."""

    ended: Once[None]
    """Resolved when it uses the state manager no longer."""

    def begin(self, runtime: Runtime) -> None:
        """Start; called once, on the event loop."""

    def end(self) -> None:
        """Stop soon; called from any thread, perhaps several times."""


class Closing:
    """The shutdown of one orchestrator.

    Args:
        live: Its runs in progress.
        runtime: The runtime to close; None if it never started.
        done: Called on the loop when there is nothing left to do there.
        background: What runs beside the orchestrator, and was told to end.
        leave: Whether runs that do not end within the drain are left to others, not cancelled.
        grace: Seconds that the attempts of cut runs get to stop.
        margin: Seconds beyond that for the runs to end, and for the state manager to be closed.
    """

    def __init__(
        self,
        live: LiveRuns,
        runtime: Runtime | None,
        done: Callable[[], object],
        *,
        background: Background | None,
        leave: bool,
        grace: float,
        margin: float,
    ) -> None:
        self._live = live
        self._runtime = runtime
        self._done = done
        self._margin = margin
        self._background = background
        self.leave = leave
        # The first task does the work; the loop itself holds its tasks only weakly.
        self._tasks: list[asyncio.Task[Any]] = []
        # Resolved when a caller no longer waits for runs to end by themselves.
        self._impatience: Once[None] = Once()
        self.grace = grace
        self.outcome: Once[ShutdownReport] = Once()
        """The outcome for the runs; resolved by the loop, or in its place."""
        self.report: Once[ShutdownReport] = Once()
        """The same with the outcome for the loop: the report that all callers get."""

    def ask(self, drain: float) -> None:
        """Request it, from any thread; the shortest drain of all requests counts."""
        if self.outcome.done:
            return
        if self._runtime is None:
            self.settle(ShutdownReport())
            return
        try:
            self._runtime.call_soon(functools.partial(self._begin, self._runtime, drain))
        except RuntimeError as error:
            self.leave_behind(f"the event loop is gone: {error}")

    def settle(self, outcome: ShutdownReport) -> None:
        """Set the outcome, unless it is set already."""
        self.outcome.set(outcome)

    def leave_behind(self, why: str) -> None:
        """Report that the loop can do nothing further."""
        ids = tuple(self._live.ids())
        if self.leave:
            left = (*self._live.waiting.left, *self._live.left, *ids)
            report = ShutdownReport(left=left, abandoned=(why,))
        else:
            cut = (*self._live.waiting.cut, *ids)
            report = ShutdownReport(cancelled=cut, abandoned=(why,))
        self.settle(report)

    def finish(self, report: ShutdownReport) -> ShutdownReport:
        """Return the report for all callers: the first one that is passed here."""
        self.report.set(report)
        return self.report.result()

    def let_go(self) -> None:
        """Release everything that does not need the loop, whatever state that is in."""
        cut_off = self._live.give_up(leave=self.leave)
        if self._runtime is not None:
            self._runtime.release()
            for run_id in cut_off:
                self._runtime.audience.notify(run_id)

    # ── On the loop ──────────────────────────────────────────────────────────────────────────

    def _begin(self, runtime: Runtime, drain: float) -> None:
        first = not self._tasks
        work = self._wind_down(runtime, drain) if first else self._drain(drain)
        task = asyncio.get_running_loop().create_task(work, name="actorflow shutdown")
        self._tasks.append(task)
        if first:
            task.add_done_callback(self._wound_down)

    def _wound_down(self, task: asyncio.Task[Any]) -> None:
        """Set the outcome; in a callback, because a task may be cancelled before it begins."""
        if task.cancelled():
            self.leave_behind("the event loop was closed before its orchestrator")
        elif (error := task.exception()) is not None:
            self.leave_behind(f"the shutdown failed: {text_of(error)}")
        else:
            self.settle(task.result())
        self.let_go()
        self._done()

    async def _wind_down(self, runtime: Runtime, drain: float) -> ShutdownReport:
        live = self._live
        began = runtime.clock.now()
        await self._drain(drain)
        cut, drained = live.ids(), live.drained
        if self.leave:
            runtime.leave(cut, self.grace)
        else:
            for run_id in cut:
                reason = "the orchestrator is shutting down"
                runtime.cancel(run_id, reason, self.grace, kept=True)
        # All of these waits may be for one database that does not answer: they share one limit.
        until = runtime.clock.now() + self.grace + self._margin
        await first_of(live.all_ended, timeout=until - runtime.clock.now())
        stuck = await self._background_is_stuck(until - self._margin / 2 - runtime.clock.now())
        await first_of(live.waiting.ended, timeout=until - runtime.clock.now())
        abandoned = await runtime.close(self.grace, until - runtime.clock.now())
        abandoned += [_BACKGROUND] if stuck else []
        if self.leave:
            # Runs that failed or were cancelled before have ended within the grace. Those that are
            # still there end with the loop; closing the state manager hands them back.
            cut, drained, left = [], live.drained, [*live.left, *live.ids()]
        else:
            left = []
        return ShutdownReport(
            drained=drained,
            cancelled=(*live.waiting.cut, *cut),
            left=(*live.waiting.left, *left),
            abandoned=tuple(abandoned),
            duration=runtime.clock.now() - began,
        )

    async def _background_is_stuck(self, patience: float) -> bool:
        """Wait for the threads in the background, which should not find their state closed.

        One that waits for a connection which does not answer must not keep the state manager from
        closing, which returns the lease over a connection of its own.
        """
        if self._background is None:
            return False
        await first_of(self._background.ended, timeout=patience)
        return not self._background.ended.done

    async def _drain(self, seconds: float) -> None:
        """Wait until every run has ended, or a caller stops waiting."""
        await first_of(self._live.all_ended, self._impatience, timeout=seconds)
        self._impatience.set(None)


_BACKGROUND: Final = (
    "a search for runs, or a schedule, still waits for the database; its thread stays behind"
)
_LEFT: Final = "the state manager still waits for its database; its thread stays behind"


class Parting:
    """Closes one state manager, once, however many ask.

    Closing a database waits for it. That happens on a separate thread while the event loop turns,
    and for a limited time; what the database has not answered by then, it may still answer while
    the process lives.

    Args:
        state: The state manager.
        slow: Whether closing may take long.
    """

    def __init__(self, state: StateManager, *, slow: bool) -> None:
        self._state = state
        self._slow = slow
        self._begun = False
        self._closed: Once[list[str]] = Once()

    def close(self) -> list[str]:
        """Close it now, unless that has begun; return what could not be ended."""
        if self._begin():
            self._close()
            return self._closed.result()
        return []

    async def close_within(self, patience: float) -> list[str]:
        """Close it without blocking the event loop, within that many seconds."""
        if not (self._slow and self._begin()):
            return self.close()
        work = threading.Thread(target=self._close, name="actorflow parting", daemon=True)
        try:
            work.start()
        except RuntimeError:  # there are too many threads, or the interpreter is ending
            self._close()
        await first_of(self._closed, timeout=patience)
        return self._closed.result() if self._closed.done else [_LEFT]

    def _begin(self) -> bool:
        first, self._begun = not self._begun, True
        return first

    def _close(self) -> None:
        left: list[str] = []
        try:
            self._state.close()
        except BaseException as error:  # noqa: BLE001 - the rest must be released as well
            left.append(f"the state manager could not be closed: {text_of(error)}")
        finally:
            self._closed.set(left)
