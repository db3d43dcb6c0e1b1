"""Waiting for several runs: for the first that ends, or for each in the order of their ends."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections import deque
from typing import TYPE_CHECKING, Any, Self

from actorflow.definition.durations import Duration, patience
from actorflow.errors.definition import DefinitionError
from actorflow.errors.running import Deadlock
from actorflow.run.handle import Run
from actorflow.support.oneshot import Once, first_of
from actorflow.support.safe_text import text_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

    from actorflow.run.followed import Watch
    from actorflow.run.hosting import Runtime

__all__ = ["CompletedRuns", "as_completed", "wait_first", "wait_first_async"]


def wait_first(runs: Iterable[Run], timeout: Duration | None = None) -> Run:
    """Wait until one of several runs has ended, and return that run.

    Of runs that have ended already, the first one is returned. They may be runs of several
    orchestrators, in progress in this process or elsewhere.

    Args:
        runs: The runs.
        timeout: How many seconds to wait at most, or a `timedelta`.

    Raises:
        DefinitionError: When there is no run, or an argument is invalid.
        TimeoutError: When none has ended in time; they go on.
        RunUnattended: When one is in progress nowhere, as with `Run.wait`; likewise
            `OrchestratorClosed`, `WrongLoop` and `Deadlock`.

    Example:
        >>> from actorflow import Orchestrator, Step, Workflow, wait_first
        >>> flow = Workflow("greeting")
        >>> greet = flow.add(Step("greet", lambda name: f"hello {name}"))
        >>> with Orchestrator() as orchestrator:
        ...     runs = [orchestrator.start(flow, {"name": name}) for name in ("Ada", "Bob")]
        ...     wait_first(runs, timeout=10).result().output.partition(" ")[0]
        'hello'
    """
    several = _Several(runs, "wait_first", timeout)
    several.check_not_empty()
    with several:
        return several.wait("wait_first()")


async def wait_first_async(runs: Iterable[Run], timeout: Duration | None = None) -> Run:
    """Do what `wait_first` does without blocking the event loop."""
    several = _Several(runs, "wait_first_async", timeout)
    several.check_not_empty()
    with several:
        return await several.wait_async()


def as_completed(runs: Iterable[Run], timeout: Duration | None = None) -> CompletedRuns:
    """Return an iterator over runs, each as soon as it has ended, whatever the outcome.

    Iterate with `for`, or with `async for` on any event loop. As
    `concurrent.futures.as_completed` does, it yields each run once. They may be runs of several
    orchestrators, in progress in this process or elsewhere.

    Args:
        runs: The runs.
        timeout: How many seconds an iteration waits at most altogether, or a `timedelta`.

    Raises:
        DefinitionError: When an argument is invalid.

    The iteration raises `TimeoutError` when not all of them have ended in time, and otherwise what
    `wait_first` raises.

    Example:
        >>> from actorflow import Orchestrator, Step, Workflow, as_completed
        >>> flow = Workflow("greeting")
        >>> greet = flow.add(Step("greet", lambda name: f"hello {name}"))
        >>> with Orchestrator() as orchestrator:
        ...     runs = [orchestrator.start(flow, {"name": name}) for name in ("Ada", "Bob")]
        ...     sorted(run.result().output for run in as_completed(runs, timeout=10))
        ['hello Ada', 'hello Bob']
    """
    return CompletedRuns(runs, timeout)


class CompletedRuns:
    """The runs that `as_completed` was given, in the order of their ends.

    It can be iterated over several times. Each iteration yields all runs.
    """

    def __init__(self, runs: Iterable[Run], timeout: Duration | None) -> None:
        self._make = functools.partial(_Several, _checked(runs, "as_completed"), "as_completed")
        self._timeout = timeout
        patience(timeout, "timeout")  # refused here, not at the first iteration

    def __iter__(self) -> Iterator[Run]:
        with self._make(self._timeout) as several:
            while several:
                yield several.wait("iterating over as_completed() with `for`")

    async def __aiter__(self) -> AsyncIterator[Run]:
        with self._make(self._timeout) as several:
            while several:
                yield await several.wait_async()


class _Several:
    """Runs that are waited for together, within a block."""

    def __init__(self, runs: Iterable[Run], call: str, timeout: Duration | None) -> None:
        self._left = dict.fromkeys(_checked(runs, call))
        self._call = call
        self._limit = patience(timeout, "timeout")
        self._watches: dict[Run, Watch] = {}
        self._over: deque[Run] = deque()
        self._news: Once[None] = Once()
        self._stay = contextlib.ExitStack()

    def __bool__(self) -> bool:
        return bool(self._left)

    def check_not_empty(self) -> None:
        """Refuse to wait for nothing."""
        if not self._left:
            cure = "Pass at least one Run"
            raise DefinitionError(None, f"{self._call}() was given no runs", cure)

    def __enter__(self) -> Self:
        self._until = None if self._limit is None else self._now() + self._limit
        for run in itertools.islice(self._left, 1):
            self._stay.enter_context(_runtime(run).staying())
        return self

    def __exit__(self, *_error: object) -> None:
        self._stay.close()
        for watch in self._watches.values():
            watch.stop()

    def _now(self) -> float:
        return _runtime(next(iter(self._left))).clock.now() if self._left else 0.0

    # ── Waiting ──────────────────────────────────────────────────────────────────────────────

    def wait(self, what: str) -> Run:
        """Block until the next one has ended."""
        for runtime in {_runtime(run): None for run in self._left}:
            runtime.check_may_block(what)
        while True:
            self._watch()
            if (run := self._next()) is None:
                self._block()
            elif _has_ended(run):
                return self._yielded(run)

    async def wait_async(self) -> Run:
        """Wait for the next one on the running event loop."""
        for runtime in {_runtime(run): None for run in self._left}:
            runtime.check_process()
        while True:
            await self._watch_async()
            if (run := self._next()) is None:
                await self._wait_async()
                read_async = _runtime(next(iter(self._left))).read_async
                if not (self._news.done or await read_async(self._look_at_unheard)):
                    raise self._too_late()
            elif await _runtime(run).read_async(functools.partial(_has_ended, run)):
                return self._yielded(run)

    def _block(self) -> None:
        self._wait()
        if not (self._news.done or self._look_at_unheard()):
            raise self._too_late()

    def _look_at_unheard(self) -> bool:
        """Look at the runs that nothing is known of yet, because the wait was too short."""
        for run, watch in self._watches.items():
            if not watch.has_heard() and _has_ended(run):
                self._over.append(run)
                return True
        return False

    def _too_late(self) -> TimeoutError:
        left = len(self._left)
        runs, goes = ("1 run has", "it goes") if left == 1 else (f"{left:,} runs have", "they go")
        return TimeoutError(
            f"{runs} not ended within {self._limit:g} s; {goes} on. Wait again, or call "
            "run.cancel()."
        )

    def _seconds(self) -> float | None:
        return None if self._until is None else max(0.0, self._until - self._now())

    def _wait(self) -> None:
        """Wait for news, as a step for the first of the runs that does not wait for that step."""
        if self._until is not None:
            self._news.wait(self._seconds())
            return
        *others, last = self._left
        for run in others:
            with contextlib.suppress(Deadlock):
                _runtime(run).wait(run.id, self._news)
                return
        _runtime(last).wait(last.id, self._news)

    async def _wait_async(self) -> None:
        if self._until is not None:
            await first_of(self._news, timeout=self._seconds())
            return
        *others, last = self._left
        for run in others:
            with contextlib.suppress(Deadlock):
                await _runtime(run).wait_async(run.id, self._news)
                return
        await _runtime(last).wait_async(last.id, self._news)

    # ── Who has ended ────────────────────────────────────────────────────────────────────────

    def _watch(self) -> None:
        """Have `_over` tell of each run that is left."""
        for run in self._unwatched():
            self._watch_one(run)

    async def _watch_async(self) -> None:
        for run in self._unwatched():
            if _runtime(run).can_follow:  # which does not wait for anything
                self._watch_one(run)
            else:
                await _runtime(run).read_async(functools.partial(self._watch_one, run))

    def _unwatched(self) -> Sequence[Run]:
        return [run for run in self._left if run not in self._watches]

    def _watch_one(self, run: Run) -> None:
        call = functools.partial(self._ended, run)
        self._watches[run] = run._when_over(call)  # noqa: SLF001 - a part of the handle

    def _ended(self, run: Run) -> None:
        self._over.append(run)
        self._news.set(None)

    def _next(self) -> Run | None:
        """Return a run that may have ended; None when there is none, and `_news` will tell."""
        self._news = Once()
        while self._over:
            run = self._over.popleft()
            if run in self._left and run in self._watches:
                self._watches.pop(run).stop()  # it is watched again if it has not ended
                return run
        return None

    def _yielded(self, run: Run) -> Run:
        del self._left[run]
        return run


def _has_ended(run: Run) -> bool:
    return run._look()  # noqa: SLF001 - a part of the handle


def _runtime(run: Run) -> Runtime:
    return run._runtime  # noqa: SLF001 - a part of the handle


def _checked(runs: Any, call: str) -> list[Run]:
    try:
        found = list(runs)
    except TypeError:
        problem = f"{call}() takes an iterable of runs; got {text_of(runs)}"
        raise DefinitionError(None, problem, "Pass a list of Run handles") from None
    for run in found:
        if not isinstance(run, Run):
            problem = f"{call}() takes runs; got {text_of(run)}"
            cure = "Pass Run handles, as start(), enqueue() and get() return them"
            raise DefinitionError(None, problem, cure)
    return found
