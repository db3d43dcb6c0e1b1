"""The executor for coroutine steps, on the actors' event loop.

Creating a task costs more than most of what actorflow does for a step, and many steps return
without ever waiting: from a cache, from a check, from memory. A step therefore does not get its own
task at first; it is started in the task of a runner. If the step ends there, the runner continues
with the next one. If it suspends, the runner's task belongs to that step from then on, and another
runner takes over the queue. Either way, `asyncio.current_task()` is the same task from the step's
first line to its last, and no two steps that suspend share a task.

Steps that return without waiting need only one runner. Steps that suspend need one each; otherwise
only one of them would start in each iteration of the loop. The executor assumes that the next body
behaves like the last one.

Between coroutines, the runner lets the actor system deliver the messages that the last one caused,
so a chain of steps that do not wait never returns to the event loop. The time for this is bounded.

Every body runs in a context of its own (`Attempt.variables`), whatever the context of the runner's
task.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import traceback
import types
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from actorflow.executors.bodies import not_begun

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Sequence

    from actorflow.model.context import Attempt
    from actorflow.model.protocols import Report

    _Coroutine = Coroutine[Any, Any, Any]
    _Suspended = tuple[Attempt, _Coroutine, Any]
    """A body that suspended, and what it waits for."""

__all__ = ["CoroutineExecutor", "stack_of_coroutine"]

_SECONDS_PER_TURN: Final = 0.005


class _Runner(asyncio.Task[None]):
    """A runner's task, which is replaced if it is cancelled before it starts.

    It is created directly, because a loop's task factory may start tasks eagerly, during a
    delivery.
    """

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, None],
        on_missed: Callable[[], None],
        loop: asyncio.AbstractEventLoop,
        context: contextvars.Context,
    ) -> None:
        super().__init__(coroutine, loop=loop, name="actorflow runner", context=context)
        self.started = False
        self._on_missed = on_missed

    def cancel(self, msg: Any | None = None) -> bool:
        """Request cancellation; if the task has not started, have another runner take over."""
        if not self.started:
            self.started = True
            self.get_loop().call_soon(self._on_missed)
        return super().cancel(msg)


class CoroutineExecutor:
    """Runs coroutine steps on the actors' loop.

    Args:
        loop: The actors' loop; everything here happens on its thread.
        deliver: Has the actor system deliver some messages; returns whether any are left.
        deliver_later: Schedules a turn of the actor system that delivers messages.
        now: Returns monotonic seconds, to bound a runner's turn.
    """

    preemptive = True

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deliver: Callable[[], bool],
        deliver_later: Callable[[], None],
        now: Callable[[], float],
    ) -> None:
        self._loop = loop
        self._now = now
        self._deliver = deliver
        self._deliver_later = deliver_later
        self._context = contextvars.copy_context()
        self._queue: deque[Attempt] = deque()
        self._runners = 0
        """The number of runners that will check the queue before they end or suspend."""
        self.bodies_suspend = False
        """Whether the last body that started suspended. A simulation sets it."""
        self._waiting = 0
        """The number of bodies that are suspended."""
        self._abandoned: dict[Attempt, None] = {}
        self.legs: int = 0
        """How often a body was entered; with `current` it shows the watchdog a blocking body."""
        self.current: Attempt | None = None

    def open(self, report: Report) -> None:
        """Prepare; `report` is called on the loop's thread and followed by a delivery."""
        self._report = report

    def submit(self, attempt: Attempt) -> None:
        """Start an attempt soon."""
        self._queue.append(attempt)
        if not self._runners or self.bodies_suspend:
            self._start_runners()

    def stop(self, attempt: Attempt) -> None:
        """Cancel the attempt's task; an attempt that has not started never will."""
        if attempt.handle is not None:
            task, _ = attempt.handle
            task.cancel()

    def abandon(self, attempt: Attempt) -> str:
        """Give up on a coroutine that went on after its cancellation; return its stack."""
        if attempt.handle is None:
            # It has ended, or it has not started and never will.
            with contextlib.suppress(ValueError):
                self._queue.remove(attempt)
            return ""
        self._abandoned[attempt] = None
        _, coroutine = attempt.handle
        return stack_of_coroutine(coroutine)

    def close(self) -> Sequence[Attempt]:
        """Return the abandoned attempts that have not ended."""
        return list(self._abandoned)

    @property
    def waiting(self) -> int:
        """The number of attempts that wait for a runner."""
        return len(self._queue)

    # ── Runners ──────────────────────────────────────────────────────────────────────────────

    def _start_runners(self) -> None:
        wanted = len(self._queue) if self.bodies_suspend else 1
        while self._runners < wanted:
            self._runners += 1
            _Runner(self._run(), self._replace_runner, self._loop, self._context)

    def _replace_runner(self) -> None:
        self._runners -= 1
        if self._queue:
            self._start_runners()

    async def _run(self) -> None:
        _this_task(self._loop).started = True
        if self._runners > 1 and not self.bodies_suspend:
            self._runners -= 1  # one runner is enough
        else:
            await self._work()

    @types.coroutine
    def _work(self) -> Generator[Any, Any, None]:
        queue, now = self._queue, self._now
        task = _this_task(self._loop)
        until = now() + _SECONDS_PER_TURN
        suspended, ended = None, False
        try:
            while queue or self._deliver() or queue:
                if queue:
                    suspended = self._begin(queue.popleft())
                    if suspended is not None:
                        if ended:
                            # The bodies that ended before this one have been reported, but nothing
                            # has delivered these reports, and this body may wait for what follows.
                            self._deliver_later()
                        break
                    ended = True
                    if task.cancelling() or task._must_cancel:  # noqa: SLF001 - there is no public way
                        # The body cancelled its own task and then returned; the next body must not
                        # be affected. (Before 3.13, `uncancel` only takes back the request.)
                        self._leave()
                        return
                if now() > until:
                    yield
                    until = now() + _SECONDS_PER_TURN
            else:
                self._runners -= 1
        except GeneratorExit:
            raise  # the loop has gone
        except BaseException:
            # A delivery was interrupted, or all tasks on the loop are being cancelled; the queued
            # attempts must not be affected.
            self._leave()
            raise
        if suspended is not None:
            yield from self._run_suspended(*suspended, task)

    def _leave(self) -> None:
        """Let another runner take over, and schedule a delivery."""
        self._replace_runner()
        self._deliver_later()

    # ── Bodies ───────────────────────────────────────────────────────────────────────────────

    def _begin(self, attempt: Attempt) -> _Suspended | None:
        """Run a body until it ends or suspends; if it suspends, return what it waits for."""
        if attempt.cancelled:
            self._report(attempt, None, not_begun(attempt))
            return None
        self.legs += 1
        self.current = attempt
        try:
            coroutine = attempt.function(**attempt.arguments)
            waiting = attempt.variables.run(coroutine.send, None)
            self.current = None
            self.bodies_suspend = True
            return attempt, coroutine, waiting
        except StopIteration as stop:
            self.current = None
            self._report(attempt, stop.value, None)
        except BaseException as error:  # noqa: BLE001 - any error fails the attempt
            self.current = None
            self._report(attempt, None, error)
        self.bodies_suspend = False
        return None

    def _run_suspended(
        self, attempt: Attempt, coroutine: _Coroutine, waiting: Any, task: asyncio.Task[Any]
    ) -> Generator[Any, Any, None]:
        """Run a suspended body to its end, in the task that now belongs to it."""
        attempt.handle = task, coroutine
        self._waiting += 1
        task.set_name(f"step {attempt.step_id} of run {attempt.scope.run_id}")
        self._replace_runner()
        enter = attempt.variables.run
        resume: Callable[[Any], Any]
        while True:
            try:
                value = yield waiting
            except BaseException as error:  # noqa: BLE001 - thrown into the body
                resume = coroutine.throw
                value = error
            else:
                resume = coroutine.send
            self.legs += 1
            self.current = attempt
            try:
                waiting = enter(resume, value)
            except StopIteration as stop:
                self._end(attempt, stop.value, None)
                break
            except BaseException as error:
                self._end(attempt, None, error)
                if resume == coroutine.throw and isinstance(value, GeneratorExit):
                    raise  # the loop has gone, and this generator is being closed
                break
            finally:
                self.current = None
        # Bodies that end in the same iteration of the loop share one delivery. The last one need
        # not wait for it.
        if self._waiting or self._deliver():
            self._deliver_later()

    def _end(self, attempt: Attempt, output: object, error: BaseException | None) -> None:
        attempt.handle = None
        self._waiting -= 1
        if attempt in self._abandoned:
            del self._abandoned[attempt]
        else:
            self._report(attempt, output, error)


def _this_task(loop: asyncio.AbstractEventLoop) -> Any:
    task = asyncio.current_task(loop)
    if task is None:
        raise AssertionError("a runner runs in a task")
    return task


def stack_of_coroutine(coroutine: Any) -> str:
    """Return where a coroutine is suspended, with the innermost await last."""
    frames: list[Any] = []
    awaited = coroutine
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is not None:
            frames.append(frame)
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
    places = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in frames)
    return "".join(places.format())
