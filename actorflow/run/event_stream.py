"""The live stream of one run's events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from actorflow.support.oneshot import Once

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from actorflow.model.events import Event

__all__ = ["EventStream", "Source"]

_PAGE: Final = 256


class Source(Protocol):
    """Where a stream reads, and what tells it that there is more to read."""

    @property
    def slow_to_read(self) -> bool:
        """Whether `read` may block, and must not be called on an event loop."""

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
    """

    def __init__(self, source: Source, run_id: str) -> None:
        self._source = source
        self._run_id = run_id

    def __iter__(self) -> Iterator[Event]:
        cursor = _Cursor(self._source, self._run_id)
        bell = _ThreadBell(self._source, self._run_id)
        try:
            while True:
                bell.clear()
                yield from cursor.page()
                if cursor.done:
                    return
                if not cursor.advanced and bell.hangs():
                    self._source.check_may_block("iterating over Run.events() with `for`")
                    bell.wait()
        finally:
            bell.take_down()

    async def __aiter__(self) -> AsyncIterator[Event]:
        import asyncio  # noqa: PLC0415 - a caller that awaits has it loaded; importing streams need not

        cursor = _Cursor(self._source, self._run_id)
        bell = _LoopBell(self._source, self._run_id, asyncio.get_running_loop(), asyncio.Event())
        try:
            while True:
                bell.clear()
                for event in await self._page(cursor):
                    yield event
                if cursor.done:
                    return
                if not cursor.advanced and bell.hangs():
                    self._source.check_process()
                    await bell.wait()
        finally:
            bell.take_down()

    async def _page(self, cursor: _Cursor) -> Sequence[Event]:
        if not self._source.slow_to_read:
            return cursor.page()
        import asyncio  # noqa: PLC0415 - a caller that awaits has it loaded

        return await asyncio.to_thread(cursor.page)


class _Cursor:
    """How far a stream has read."""

    def __init__(self, source: Source, run_id: str) -> None:
        self._source = source
        self._run_id = run_id
        self._read = 0
        self.advanced = False
        self.done = False

    def page(self) -> Sequence[Event]:
        # Asked before reading: a run that has ended by now has all its events recorded.
        ended = not self._source.live(self._run_id)
        events = self._source.read(self._run_id, self._read, _PAGE)
        if events:
            self._read = events[-1].number
        self.advanced = bool(events)
        self.done = ended and not events
        return events


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

    def wait(self) -> None:
        self._rung.wait()

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
        self.wait = rung.wait

    def ring(self) -> None:
        try:
            if not self._rung.is_set() or self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._rung.set)
        except RuntimeError:
            self.take_down()
