"""Coroutine steps, on the event loop that the actors live on.

A task costs more than most of what actorflow does for a step, and many steps return without
ever having waited: from a cache, from a check, from memory. So a step is not given a task; it
is started in the task of a runner. If it ends there, the runner goes on with the next one. If
it suspends, the runner's task is its own from then on, and another runner takes over what is
left. Either way `asyncio.current_task()` is the same task from the step's first line to its
last, and no two steps that suspend ever share one.

One runner is enough for steps that return; steps that suspend want one each, or only one of
them would begin in each round of the loop. So the executor goes by what the last body did.

Between coroutines the runner lets the actor system deliver what the last one caused, so a chain
of steps that do not wait never goes round the event loop. It does so for a bounded time.

Every body is driven within a context of its own (`Attempt.variables`), whatever the runner's
task was created with.
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

__all__ = ["CoroutineExecutor", "stack_of_coroutine"]

_SECONDS_A_TURN: Final = 0.005


class _Runner(asyncio.Task[None]):
    """A runner's task, which is missed if it is cancelled before it begins.

    It is made directly: a loop's own factory may start tasks eagerly, in mid-delivery.
    """

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, None],
        missed: Callable[[], None],
        loop: asyncio.AbstractEventLoop,
        context: contextvars.Context,
    ) -> None:
        super().__init__(coroutine, loop=loop, name="actorflow runner", context=context)
        self.begun = False
        self._missed = missed

    def cancel(self, msg: Any | None = None) -> bool:
        """Request cancellation, and have somebody else do what waits for this runner."""
        if not self.begun:
            self.begun = True
            self.get_loop().call_soon(self._missed)
        return super().cancel(msg)


class CoroutineExecutor:
    """Runs coroutine steps as guests of the actors' own loop.

    Args:
        loop: The loop that the actors live on; everything here happens on its thread.
        deliver: Lets the actor system deliver some of its messages; returns whether any wait.
        deliver_later: Has the actor system deliver in a turn of its own, soon.
        now: Monotonic seconds, for the bound on a runner's turn.
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
        """How many runners will look into the queue before they end, or wait with a body."""
        self._bodies_wait = False
        """Whether the last body that began did not end at once."""
        self._waiting = 0
        """How many bodies have begun and not ended."""
        self._abandoned: dict[Attempt, None] = {}
        self.legs: int = 0
        """How often a body was entered; with `current` it tells a watchdog of a stuck one."""
        self.current: Attempt | None = None

    def open(self, report: Report) -> None:
        """Get ready; `report` is called on the loop's thread, and followed by a delivery."""
        self._report = report

    def submit(self, attempt: Attempt) -> None:
        """Run an attempt soon."""
        self._queue.append(attempt)
        if not self._runners or self._bodies_wait:
            self._send_runners()

    def stop(self, attempt: Attempt) -> None:
        """Cancel the attempt's task; one that has not begun never will."""
        if attempt.handle is not None:
            task, _ = attempt.handle
            task.cancel()

    def abandon(self, attempt: Attempt) -> str:
        """Let go of a coroutine that went on after it had been cancelled."""
        if attempt.handle is None:
            # It has ended, or it has not begun and never will.
            with contextlib.suppress(ValueError):
                self._queue.remove(attempt)
            return ""
        self._abandoned[attempt] = None
        _, coroutine = attempt.handle
        return stack_of_coroutine(coroutine)

    def close(self) -> Sequence[Attempt]:
        """Return the attempts that refused to end."""
        return list(self._abandoned)

    # ── Runners ──────────────────────────────────────────────────────────────────────────────

    def _send_runners(self) -> None:
        wanted = len(self._queue) if self._bodies_wait else 1
        while self._runners < wanted:
            self._runners += 1
            _Runner(self._run(), self._hand_over, self._loop, self._context)

    def _hand_over(self) -> None:
        self._runners -= 1
        if self._queue:
            self._send_runners()

    async def _run(self) -> None:
        _this_task(self._loop).begun = True
        if self._runners > 1 and not self._bodies_wait:
            self._runners -= 1  # one is enough after all
        else:
            await self._work()

    @types.coroutine
    def _work(self) -> Generator[Any, Any, None]:
        queue, now = self._queue, self._now
        task = _this_task(self._loop)
        until = now() + _SECONDS_A_TURN
        while queue or self._deliver() or queue:
            if queue:
                suspended = self._begin(queue.popleft())
                if suspended is not None:
                    yield from self._accompany(*suspended, task)
                    return
                if task.cancelling() or task._must_cancel:  # noqa: SLF001 - nothing else tells
                    # The body cancelled its own task, then returned. The next one is not to pay.
                    # (Before Python 3.13 `uncancel` takes back the request only.)
                    self._leave()
                    return
            if now() > until:
                yield from self._let_others()
                until = now() + _SECONDS_A_TURN
        self._runners -= 1

    def _let_others(self) -> Generator[Any, Any, None]:
        try:
            yield
        except BaseException:
            # Somebody cancels every task on the loop; what waits here is not theirs.
            self._leave()
            raise

    def _leave(self) -> None:
        """Let others do what this runner would have done next."""
        self._hand_over()
        self._deliver_later()

    # ── Bodies ───────────────────────────────────────────────────────────────────────────────

    def _begin(self, attempt: Attempt) -> tuple[Attempt, _Coroutine, Any] | None:
        """Run a body until it ends, or until it first waits: then say for what."""
        if attempt.cancelled:
            self._report(attempt, None, not_begun(attempt))
            return None
        self.legs += 1
        self.current = attempt
        try:
            coroutine = attempt.function(**attempt.arguments)
            waiting = attempt.variables.run(coroutine.send, None)
            self.current = None
            self._bodies_wait = True
            return attempt, coroutine, waiting
        except StopIteration as stop:
            self.current = None
            self._report(attempt, stop.value, None)
        except BaseException as error:  # noqa: BLE001 - whatever it raised, the attempt failed
            self.current = None
            self._report(attempt, None, error)
        self._bodies_wait = False
        return None

    def _accompany(
        self, attempt: Attempt, coroutine: _Coroutine, waiting: Any, task: asyncio.Task[Any]
    ) -> Generator[Any, Any, None]:
        """See a body through that has begun to wait, in the task that is now its own."""
        attempt.handle = task, coroutine
        self._waiting += 1
        task.set_name(f"step {attempt.step_id} of run {attempt.scope.run_id}")
        self._hand_over()
        enter = attempt.variables.run
        resume: Callable[[Any], Any]
        while True:
            try:
                value = yield waiting
            except BaseException as error:  # noqa: BLE001 - thrown on into the body
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
                    raise  # the loop is gone, and this generator is being closed
                break
            finally:
                self.current = None
        # Those that end in the same round of the loop are dealt with together. The last one
        # need not wait for that.
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
    """Return where a coroutine hangs, the innermost await last."""
    frames: list[Any] = []
    awaited = coroutine
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is not None:
            frames.append(frame)
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
    places = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in frames)
    return "".join(places.format())
