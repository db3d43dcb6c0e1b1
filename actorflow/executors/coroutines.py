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

A step whose body has suspended is expected to do so again: its next body gets a plain task from
the start, which the event loop drives without the runner's accompaniment. If that body returns
without waiting after all, the next one is started by a runner again.

Between coroutines, the runner lets the actor system deliver the messages that the last one caused,
so a chain of steps that do not wait never returns to the event loop. The time for this is bounded.

Every body runs in a context of its own (`Attempt.variables`), whatever the context of the runner's
task.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import traceback
import types
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from actorflow.executors.bodies import not_begun, throw_into

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Sequence

    from actorflow.model.context import Attempt
    from actorflow.model.protocols import Report

    _Coroutine = Coroutine[Any, Any, Any]
    _Suspended = tuple[Attempt, _Coroutine, Any]
    """A body that suspended, and what it waits for."""

__all__ = ["CoroutineExecutor", "stack_of_coroutine"]

_SECONDS_PER_TURN: Final = 0.005
_MOST_REMEMBERED: Final = 10_000
"""How many steps are remembered to suspend."""


_ABANDONED: Final = object()
"""The handle of an attempt that was given up before it began."""


class _BodyTask(asyncio.Task[None]):
    """The task of one body, which is replaced if it is cancelled before it starts."""

    started = False

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, None],
        attempt: Attempt,
        on_missed: Callable[[Attempt], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        name = f"step {attempt.step_id} of run {attempt.scope.run_id}"
        super().__init__(coroutine, loop=loop, name=name, context=attempt.variables)
        self.attempt: Attempt | None = attempt
        """The attempt, until its body has ended."""
        self._on_missed = on_missed

    def cancel(self, msg: Any | None = None) -> bool:
        """Request cancellation; if the body has not started, have another task start it."""
        attempt = self.attempt
        if not self.started and attempt is not None:
            self.started = True
            self.get_loop().call_soon(self._on_missed, attempt)
        return super().cancel(msg)


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
        self.bodies_suspend: bool = False
        """Whether the last body that started suspended. A simulation sets it."""
        self._suspends: set[int] = set()
        """The ids of the plans of steps whose last body suspended; a hint, so a stale id does no
        harm."""
        self._waiting = 0
        """The number of bodies that are suspended."""
        self._abandoned: dict[Attempt, None] = {}
        self.legs: int = 0
        """How often a body was entered, as far as the executor sees it; see `probe`."""
        self.current: Attempt | None = None
        """The attempt whose body is running, as far as the executor sees it; see `running`."""

    def open(self, report: Report) -> None:
        """Prepare; `report` is called on the loop's thread and followed by a delivery."""
        self._report = report

    def submit(self, attempt: Attempt) -> None:
        """Start an attempt soon."""
        if self._suspends and id(attempt.plan) in self._suspends:
            self._start_task(attempt)
            return
        self._queue.append(attempt)
        if not self._runners or self.bodies_suspend:
            self._start_runners()

    def stop(self, attempt: Attempt) -> None:
        """Cancel the attempt's task; an attempt that has not started never will."""
        if attempt.handle is not None and attempt.handle is not _ABANDONED:
            task, _ = attempt.handle
            task.cancel()

    def abandon(self, attempt: Attempt) -> str:
        """Give up on a coroutine that went on after its cancellation; return its stack."""
        if attempt.handle is None:
            # It has ended, or it has not started and never will.
            attempt.handle = _ABANDONED
            with contextlib.suppress(ValueError):
                self._queue.remove(attempt)
            return ""
        if attempt.handle is _ABANDONED:
            return ""
        self._abandoned[attempt] = None
        _, coroutine = attempt.handle
        return stack_of_coroutine(coroutine)

    def close(self) -> Sequence[Attempt]:
        """Return the abandoned attempts that have not ended."""
        return list(self._abandoned)

    def running(self) -> Attempt | None:
        """Return the attempt whose body is running now; from any thread."""
        if self.current is not None:
            return self.current
        task = asyncio.current_task(self._loop)
        return task.attempt if isinstance(task, _BodyTask) else None

    def probe(self) -> None:
        """Have `legs` change when the loop turns, if a body does not block it; from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has closed
            self._loop.call_soon_threadsafe(self._turned, context=self._context)

    def _turned(self) -> None:
        self.legs += 1

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
            try:
                await self._work()
            except GeneratorExit:
                self._exit()

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

    # ── Plain tasks ──────────────────────────────────────────────────────────────────────────

    def _start_task(self, attempt: Attempt) -> None:
        _BodyTask(self._run_in_task(attempt), attempt, self._start_task, self._loop)

    async def _run_in_task(self, attempt: Attempt) -> None:
        task: _BodyTask = _this_task(self._loop)
        task.started = True
        if not attempt.cancelled:
            try:
                await self._accompany(attempt, task)
            except GeneratorExit:
                self._exit()
                return
        else:
            task.attempt = None
            if attempt.handle is not _ABANDONED:
                self._report(attempt, None, not_begun(attempt))
        # Bodies that end in the same iteration of the loop share one delivery. The last one need
        # not wait for it. Nothing that it causes may run in the step's context.
        more = True
        try:
            more = bool(self._waiting) or self._context.run(self._deliver)
        finally:  # also after a KeyboardInterrupt
            if more:
                self._deliver_later()

    @types.coroutine
    def _accompany(self, attempt: Attempt, task: _BodyTask) -> Generator[Any, Any, None]:
        """Run a body to its end; only its first leg is run by hand."""
        self.legs += 1
        self.current = attempt
        try:
            coroutine = attempt.function(**attempt.arguments)
            waiting = coroutine.send(None)
        except StopIteration as stop:
            self.current = task.attempt = None
            self._suspends.discard(id(attempt.plan))
            self._report(attempt, stop.value, None)
            return
        except BaseException as error:  # noqa: BLE001 - any error fails the attempt
            self.current = task.attempt = None
            self._report(attempt, None, error)
            return
        self.current = None
        self._waiting += 1
        attempt.handle = task, coroutine
        output: Any = None
        failure: BaseException | None = None
        try:
            while True:
                try:
                    yield waiting
                    break
                except BaseException as thrown:  # noqa: BLE001 - thrown into the body
                    waiting = throw_into(coroutine, thrown)
            output = yield from coroutine
        except StopIteration as stop:  # the body has handled what was thrown, and returned
            output = stop.value
        except BaseException as error:  # noqa: BLE001 - any error fails the attempt
            failure = error
        task.attempt = None
        # A GeneratorExit is not raised again: if this generator is being closed, Python raises it
        # where the generator is awaited.
        self._end(attempt, output, failure)

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
            if attempt.plan is not None:
                self._remember(attempt.plan)
            return attempt, coroutine, waiting
        except StopIteration as stop:
            self.current = None
            self._report(attempt, stop.value, None)
        except BaseException as error:  # noqa: BLE001 - any error fails the attempt
            self.current = None
            self._report(attempt, None, error)
        self.bodies_suspend = False
        return None

    def _remember(self, plan: object) -> None:
        if len(self._suspends) >= _MOST_REMEMBERED:
            self._suspends.clear()
        self._suspends.add(id(plan))

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
                resume = functools.partial(throw_into, coroutine)
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
            except BaseException as error:  # noqa: BLE001 - any error fails the attempt
                self._end(attempt, None, error)
                break
            finally:
                self.current = None
        if isinstance(value, GeneratorExit):
            return  # it is raised again in `_run`
        # Bodies that end in the same iteration of the loop share one delivery. The last one need
        # not wait for it.
        if self._waiting or self._deliver():
            self._deliver_later()

    def _exit(self) -> None:
        """Schedule a delivery after a GeneratorExit.

        Either the loop has gone and its tasks are being closed, or the body awaited something that
        had raised it. Python then closes the generators in between, and raises it in this class's
        coroutines.
        """
        with contextlib.suppress(RuntimeError):  # the loop has closed
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
