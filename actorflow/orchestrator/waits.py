"""Waits of step bodies: for a child run or a message, while their attempts hold nothing.

The supervisor suspends an attempt when its body begins to wait, and grants it again when the wait
is over (see `actorflow.scheduling.suspensions`). This module is what the body sees of that: it
returns when both the awaited value is there and the attempt has been granted again.

A coroutine may wait for several values at once, in tasks of its own. Its attempt is suspended when
the first of these waits begins, and competes again when the last one is over. Until then the
others return without a grant: the attempt must not hold a worker that an awaited child needs.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from actorflow.errors.definition import OrchestratorClosed, WrongLoop
from actorflow.errors.running import Deadlock, StepCancelled
from actorflow.model.mailing import EvictRun
from actorflow.model.messages import SuspendAttempt, WakeAttempt
from actorflow.support.oneshot import Once, first_of, wait_for_first

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from actorflow.model.context import Attempt

__all__ = ["Waits", "to_await", "would_block", "would_read"]

_T = TypeVar("_T")


def to_await(
    coroutine: Coroutine[Any, Any, _T], call: str, attempt: Attempt
) -> Coroutine[Any, Any, _T]:
    """Name a coroutine as its step does, for Python's warning that it was never awaited."""
    named: Any = coroutine
    named.__qualname__ = f"{call} of step {attempt.step_id!r}"
    return coroutine


def would_block(what: str) -> WrongLoop:
    """Return the error for a call that would block the event loop it waits for."""
    cure = _INSTEAD.get(what, "put the call into `asyncio.to_thread`")
    return WrongLoop(
        f"{what} would block the event loop that the run itself needs. Instead, {cure}."
    )


def would_read(what: str) -> WrongLoop:
    """Return the error for a call that would block the event loop until a database answers."""
    return WrongLoop(
        f"{what} would block the event loop until the database answers. Instead, {_INSTEAD[what]}."
    )


_INSTEAD: Final = {
    "Run.wait()": "use `await run.wait_async()`",
    "Run.result()": "use `await run`",
    "Run.cancel()": "use `await run.cancel_async()`",
    "Run.pause()": "use `await run.pause_async()`",
    "Run.unpause()": "use `await run.unpause_async()`",
    "Run.done": "use `(await run.status_async()).terminal`",
    "Run.reschedule()": "use `await run.reschedule_async()`",
    "Run.set_attributes()": "use `await run.set_attributes_async()`",
    "Run.send()": "use `await run.send_async()`",
    "Run.status": "use `await run.status_async()`",
    "Run.snapshot()": "use `await run.snapshot_async()`",
    "wait_first()": "use `await wait_first_async(runs)`",
    "iterating over as_completed() with `for`": "use `async for run in as_completed(runs)`",
    "iterating over Run.events() with `for`": "use `async for event in run.events()`",
    "Orchestrator.run()": "use `await orchestrator.run_async()`",
    "Orchestrator.start()": "use `await orchestrator.start_async()`",
    "Orchestrator.enqueue()": "use `await orchestrator.enqueue_async()`",
    "Orchestrator.count()": "use `await orchestrator.count_async()`",
    "Orchestrator.resume()": "use `await orchestrator.resume_async()`",
    "Orchestrator.get()": "use `await orchestrator.get_async()`",
    "Orchestrator.list()": "use `await orchestrator.list_async()`",
    "Orchestrator.schedule()": "use `await orchestrator.schedule_async()`",
    "Orchestrator.schedules()": "use `await orchestrator.schedules_async()`",
    "Orchestrator.shutdown()": "use `await orchestrator.shutdown_async()`",
    "Schedule.backfill()": "use `await schedule.backfill_async()`",
    "Schedule.delete()": "use `await schedule.delete_async()`",
    "Schedule.pause()": "use `await schedule.pause_async()`",
    "Schedule.refresh()": "use `await schedule.refresh_async()`",
    "Schedule.trigger()": "use `await schedule.trigger_async()`",
    "Schedule.unpause()": "use `await schedule.unpause_async()`",
}


class _Wait:
    """The waits of one attempt."""

    __slots__ = ("count", "granted", "reason", "stopped")

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.count = 0
        """How many values its body waits for."""
        self.granted: Once[None] = Once()
        """Resolved when the attempt continues."""
        self.stopped: Once[None] = Once()
        """Resolved when the attempt must stop, or has ended."""


class Waits:
    """The waits of the bodies of one orchestrator.

    Args:
        tell: Sends a message to the supervisor, from any thread; messages keep their order.
    """

    def __init__(self, tell: Callable[[object], None]) -> None:
        self._tell = tell
        # Reentrant, because a signal handler may end a run at this moment.
        self._lock = threading.RLock()
        self._waits: dict[Attempt, _Wait] = {}
        self._awaited: dict[str, list[str]] = {}
        """The runs that steps of a run wait for, by its id."""
        self._busy: dict[str, int] = {}
        """How many steps of a run wait for runs, by its id; runs without any are left out."""
        self._evicted_later: set[str] = set()
        """The runs that would have been evicted if none of their steps did."""

    def wait_for(self, attempt: Attempt, run_id: str, end: Once[_T]) -> _T:
        """Block the body's thread until a run has ended, and the attempt continues.

        Args:
            attempt: The attempt whose body waits.
            run_id: The awaited run.
            end: Its end, or what is set when it may have ended.

        Raises:
            Deadlock: When the run waits for the run of the attempt.
            StepCancelled: When the attempt must stop.
        """
        with self._awaiting(attempt, run_id):
            return self._wait(attempt, end, f"run {run_id}")

    async def wait_for_async(self, attempt: Attempt, run_id: str, end: Once[_T]) -> _T:
        """Do what `wait_for` does without blocking the event loop.

        A cancellation of the wait alone, such as by `asyncio.timeout`, takes effect when the
        attempt continues.
        """
        with self._awaiting(attempt, run_id):
            return await self.wait_async(attempt, end, f"run {run_id}")

    @contextlib.contextmanager
    def _awaiting(self, attempt: Attempt, run_id: str) -> Iterator[None]:
        """Take note of which run an attempt waits for, unless that closes a circle."""
        waiter = attempt.scope.run_id
        with self._lock:
            if run_id == waiter or waiter in self._awaited_by(run_id):
                kind: Literal["itself", "circle"] = "itself" if run_id == waiter else "circle"
                raise Deadlock(waiter, attempt.step_id, run_id, kind)
            awaited = self._awaited.setdefault(waiter, [])
            awaited.append(run_id)
        try:
            yield
        finally:
            with self._lock:
                awaited.remove(run_id)
                if not awaited:
                    self._awaited.pop(waiter, None)

    def may_evict(self, run_id: str) -> bool:
        """Return whether a run may be evicted: whether none of its steps waits for a run.

        Otherwise it is evicted when the last of these waits ends.
        """
        with self._lock:
            if run_id in self._busy:
                self._evicted_later.add(run_id)
                return False
        return True

    @contextlib.contextmanager
    def staying(self, attempt: Attempt) -> Iterator[None]:
        """Keep a run in memory within the block, because one of its steps waits for a run."""
        run_id = attempt.scope.run_id
        with self._lock:
            self._busy[run_id] = self._busy.get(run_id, 0) + 1
        try:
            yield
        finally:
            self._may_go(run_id)

    def _may_go(self, run_id: str) -> None:
        with self._lock:
            self._busy[run_id] -= 1
            if self._busy[run_id]:
                return
            del self._busy[run_id]
            evict = run_id in self._evicted_later
            self._evicted_later.discard(run_id)
        if evict:
            with contextlib.suppress(OrchestratorClosed):
                self._tell(EvictRun(run_id))

    def _awaited_by(self, run_id: str) -> set[str]:
        """Return the runs that a run waits for, directly or not."""
        seen: set[str] = set()
        line = [run_id]
        while line:
            following = set(self._awaited.get(line.pop(), ())) - seen
            seen |= following
            line += following
        return seen

    def _wait(self, attempt: Attempt, value: Once[_T], reason: str) -> _T:
        if not value.done:
            known = self._begin(attempt, reason)
            try:
                wait_for_first(value, known.stopped)
            finally:
                if self._end(attempt, known):
                    wait_for_first(known.granted, known.stopped)
        _check(attempt)
        return value.result()

    async def wait_async(self, attempt: Attempt, value: Once[_T], reason: str) -> _T:
        """Await a value, and until the attempt continues; `reason` names what it waits for.

        Raises:
            StepCancelled: When the attempt must stop.
        """
        if not value.done:
            known = self._begin(attempt, reason)
            try:
                await first_of(value, known.stopped)
            finally:
                if self._end(attempt, known):
                    await first_of(known.granted, known.stopped)
        _check(attempt)
        return await value.result_async()

    def moved(self, attempt: Attempt) -> None:
        """Let the body of an attempt go on that continues or has to stop; on the loop."""
        with self._lock:
            known = self._waits.get(attempt)
            if known is None:
                return
            granted = known.granted
            again = known.count and not attempt.cancelled
            if again:  # a wait began while the attempt competed
                known.granted = Once()
            else:
                del self._waits[attempt]
        if again:
            self._tell(SuspendAttempt(attempt, known.reason))
        (known.stopped if attempt.cancelled else granted).set(None)

    def end(self, run_id: str | None = None) -> None:
        """End the waits that are left of a run that has ended, or of all runs."""
        if not self._waits:
            return
        with self._lock:
            left = [it for it in self._waits if run_id is None or it.scope.run_id == run_id]
            ended = [self._waits.pop(attempt) for attempt in left]
        for known in ended:
            known.stopped.set(None)

    def _begin(self, attempt: Attempt, reason: str) -> _Wait:
        _check(attempt)
        with self._lock:
            known = self._waits.get(attempt)
            first = known is None
            if known is None:
                known = self._waits[attempt] = _Wait(reason)
            known.count += 1
        if first:
            self._tell(SuspendAttempt(attempt, reason))
        return known

    def _end(self, attempt: Attempt, known: _Wait) -> bool:
        """End a wait; return whether the attempt must be granted before its body goes on."""
        with self._lock:
            known.count -= 1
            last = not known.count and self._waits.get(attempt) is known
        if last and not attempt.cancelled:
            self._tell(WakeAttempt(attempt))
            return True
        return False


def _check(attempt: Attempt) -> None:
    if attempt.cancelled:
        run_id = attempt.scope.run_id
        raise StepCancelled(run_id, attempt.step_id, "the attempt was asked to stop")
