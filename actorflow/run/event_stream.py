"""The live stream of one run's events."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, Protocol

from actorflow.errors.storage import LeaseLost
from actorflow.model.lifecycle import EventKind
from actorflow.support.oneshot import Once

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from actorflow.model.events import Event
    from actorflow.model.protocols import Clock

__all__ = ["EventStream", "Source"]

_PAGE: Final = 256
_ENDS: Final = frozenset({EventKind.RUN_COMPLETED, EventKind.RUN_FAILED, EventKind.RUN_CANCELLED})


class Source(Protocol):
    """Where a stream reads, and what tells it that there is more to read."""

    @property
    def slow_to_read(self) -> bool:
        """Whether `read` may block, and must not be called on an event loop."""

    @property
    def clock(self) -> Clock:
        """The clock."""

    def read(self, run_id: str, after: int, limit: int) -> Sequence[Event]:
        """Return recorded events with numbers greater than `after`."""

    def live(self, run_id: str) -> bool:
        """Return whether the run may still get events."""

    def watch(self, run_id: str, notify: Callable[[], None]) -> None:
        """Call `notify`, on any thread, when the run has new events, and when it has ended."""

    def unwatch(self, run_id: str, notify: Callable[[], None]) -> None:
        """Stop calling `notify`, even if it is being called at this moment."""

    def check_process(self) -> None:
        """Refuse to wait in a fork of the run's process."""

    def check_may_block(self, what: str) -> None:
        """Refuse to block a thread that the run needs to continue."""


class EventStream:
    """A run's events, from the first to the last: iterate with `for` or with `async for`.

    It reads the record instead of receiving copies. It may therefore start late and read slowly: it
    holds one page of events at most, and delays no run. Each iteration starts from the beginning.

    Args:
        source: Where it reads.
        run_id: The run.
        follows: Whether the record says when the run has ended, as it does for a run that may be in
            progress elsewhere. Otherwise the source says that.
        end: The end of a run of this orchestrator. If it is an error, such as that of a run which a
            shutdown has left, an iteration raises that after the events that are recorded.
        limit: For how many seconds an iteration waits altogether.
        elsewhere: Where it reads the rest of a run that another orchestrator has taken over.
        after: The number of the last event that is left out.
    """

    def __init__(
        self,
        source: Source,
        run_id: str,
        *,
        follows: bool = False,
        end: Once[Any] | None = None,
        limit: float | None = None,
        elsewhere: Source | None = None,
        after: int = 0,
    ) -> None:
        self._source = source
        self._run_id = run_id
        self._follows = follows
        self._end = end
        self._limit = limit
        self._elsewhere = elsewhere
        self._after = after

    def _cursor(self) -> _Cursor:
        return _Cursor(self._source, self._run_id, self._after, follows=self._follows)

    def _rest(self, cursor: _Cursor, left: _Left) -> EventStream | None:
        """Return the rest of a run that goes on elsewhere; None if this was its end.

        It refuses to end quietly before the run has ended.
        """
        if self._end is None or self._end.error is None or cursor.over:
            return None
        if self._elsewhere is None or not isinstance(self._end.error, LeaseLost):
            self._end.result()
            return None
        return EventStream(
            self._elsewhere, self._run_id, follows=True, limit=left.seconds(), after=cursor.read
        )

    def __iter__(self) -> Iterator[Event]:
        cursor = self._cursor()
        bell = _ThreadBell(self._source, self._run_id)
        left = _Left(self._source, self._run_id, self._limit)
        try:
            while True:
                bell.clear()
                yield from cursor.page()
                if cursor.done:
                    if (rest := self._rest(cursor, left)) is not None:
                        yield from rest
                    return
                if not cursor.advanced and bell.hangs():
                    self._source.check_may_block("iterating over Run.events() with `for`")
                    left.check(in_time=bell.wait(left.seconds()))
        finally:
            bell.take_down()

    async def __aiter__(self) -> AsyncIterator[Event]:
        import asyncio  # noqa: PLC0415 - a caller that awaits has it loaded; importing streams need not

        cursor = self._cursor()
        left = _Left(self._source, self._run_id, self._limit)
        bell = _LoopBell(self._source, self._run_id, asyncio.get_running_loop(), asyncio.Event())
        try:
            while True:
                bell.clear()
                for event in await self._page(cursor):
                    yield event
                if cursor.done:
                    if (rest := self._rest(cursor, left)) is not None:
                        async for event in rest:
                            yield event
                    return
                if not cursor.advanced and bell.hangs():
                    self._source.check_process()
                    left.check(in_time=await bell.wait(left.seconds()))
        finally:
            bell.take_down()

    async def _page(self, cursor: _Cursor) -> Sequence[Event]:
        if not self._source.slow_to_read:
            return cursor.page()
        import asyncio  # noqa: PLC0415 - a caller that awaits has it loaded

        return await asyncio.to_thread(cursor.page)


class _Cursor:
    """How far a stream has read."""

    def __init__(self, source: Source, run_id: str, after: int, *, follows: bool) -> None:
        self._source = source
        self._run_id = run_id
        self._follows = follows
        self.read = after
        """The number of the last event that was read."""
        self.over = False
        """Whether the last event that says anything about the run says that it has ended."""
        self.advanced = False
        self.done = False

    def page(self) -> Sequence[Event]:
        # Asked before reading: a run that has ended by now has all its events recorded.
        ended = not self._source.live(self._run_id)
        events = self._source.read(self._run_id, self.read, _PAGE)
        if events:
            self.read = events[-1].number
        self.advanced = bool(events)
        for event in events:
            if event.step_id is None:
                self.over = event.kind in _ENDS
        self.done = not events and (ended or (self._follows and self.over))
        return events


class _Left:
    """For how long an iteration may still wait."""

    def __init__(self, source: Source, run_id: str, limit: float | None) -> None:
        self._source = source
        self._run_id = run_id
        self._limit = limit
        self._until = None if limit is None else source.clock.now() + limit

    def seconds(self) -> float | None:
        """Return the seconds that are left; None without a limit."""
        return None if self._until is None else max(0.0, self._until - self._source.clock.now())

    def check(self, *, in_time: bool) -> None:
        """Raise a `TimeoutError` unless something happened in time."""
        self._source.check_process()
        if not in_time:
            raise TimeoutError(
                f"run {self._run_id!r} has not ended within {self._limit:g} s; it goes on. Iterate "
                "over its events again, or call run.cancel()."
            )


class _Bell:
    """Wakes a reader when there is more to read; registered when the reader first has to wait."""

    def __init__(self, source: Source, run_id: str) -> None:
        self._source = source
        self._run_id = run_id
        self._hangs = False

    def hangs(self) -> bool:
        """Return whether it rang since it was last cleared.

        If not, it rings from now on, and the reader must look once more before it waits.
        """
        hung, self._hangs = self._hangs, True
        if not hung:
            self._source.watch(self._run_id, self.ring)
        return hung

    def take_down(self) -> None:
        """Stop ringing; a second call does nothing."""
        hung, self._hangs = self._hangs, False
        if hung:
            self._source.unwatch(self._run_id, self.ring)

    def ring(self) -> None:
        """Wake the reader; from any thread."""
        raise NotImplementedError


class _ThreadBell(_Bell):
    """Wakes a reader that blocks its thread."""

    def __init__(self, source: Source, run_id: str) -> None:
        super().__init__(source, run_id)
        self._rung: Once[None] = Once()

    def clear(self) -> None:
        self._rung = Once()

    def wait(self, seconds: float | None) -> bool:
        return self._rung.wait(seconds)

    def ring(self) -> None:
        self._rung.set(None)


class _LoopBell(_Bell):
    """Wakes a reader on its event loop, and removes itself once that loop is closed."""

    def __init__(
        self, source: Source, run_id: str, loop: asyncio.AbstractEventLoop, rung: asyncio.Event
    ) -> None:
        super().__init__(source, run_id)
        self._loop = loop
        self._rung = rung
        self.clear = rung.clear

    async def wait(self, seconds: float | None) -> bool:
        if seconds is None:
            return await self._rung.wait()
        import asyncio  # noqa: PLC0415 - a caller that awaits has it loaded

        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._rung.wait(), seconds)
        return self._rung.is_set()

    def ring(self) -> None:
        try:
            if not self._rung.is_set() or self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._rung.set)
        except RuntimeError:
            self.take_down()
