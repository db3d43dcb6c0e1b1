"""A run's events, from the first to the last, as they happen."""

from __future__ import annotations

import asyncio
import threading

import pytest

from actorflow.errors.definition import WrongLoop
from actorflow.model.events import Event
from actorflow.model.lifecycle import EventKind
from actorflow.run.event_stream import EventStream
from tests.support.brain import EPOCH

GUARD = 60
"""Seconds after which something that should happen at once never will."""


class Source:
    """A run whose events the test writes; it tells the test when a reader has begun to wait."""

    def __init__(self):
        self.events = []
        self.is_live = True
        self.slow_to_read = False
        self.readers = set()
        self.watchers = []
        self.reads = threading.Semaphore(0)
        self.largest_page = 0

    def happen(self, count=1):
        """Let something happen, and tell who watches."""
        for _ in range(count):
            number = len(self.events) + 1
            self.events.append(Event(number, EventKind.STEP_READY, "run", "a", None, EPOCH))
        self.ring()

    def end(self):
        """End the run."""
        self.is_live = False
        self.ring()

    def ring(self):
        """Tell who watches."""
        for notify in list(self.watchers):
            notify()

    def read(self, run_id, after, limit):
        """Give a page."""
        self.readers.add(threading.current_thread())
        page = self.events[after : after + limit]
        self.largest_page = max(self.largest_page, len(page))
        self.reads.release()
        return page

    def live(self, run_id):
        """Say whether there may be more."""
        return self.is_live

    def watch(self, run_id, notify):
        """Add a watcher."""
        self.watchers.append(notify)

    def unwatch(self, run_id, notify):
        """Tell them no more."""
        self.watchers.remove(notify)

    def check_process(self):
        """This is no fork."""

    def check_may_block(self, what):
        """Refuse no caller."""

    def has_been_read(self, times):
        """Wait until the readers have looked so often."""
        for _ in range(times):
            assert self.reads.acquire(timeout=GUARD)


@pytest.fixture
def source():
    """A run in progress in which nothing has happened."""
    return Source()


def numbers(events):
    """Their numbers."""
    return [event.number for event in events]


class Reader:
    """A reader on another thread."""

    def __init__(self, source):
        self.got = []
        self._thread = threading.Thread(target=self._read, args=(source,))
        self._thread.start()

    def _read(self, source):
        for event in EventStream(source, "run"):
            self.got.append(event.number)

    def join(self):
        """Wait until it has read everything."""
        self._thread.join(GUARD)
        assert not self._thread.is_alive()
        return self.got


def test_a_finished_run_is_read_from_its_first_event_to_its_last(source):
    """A stream may begin late."""
    source.happen(3)
    source.end()

    assert [1, 2, 3] == numbers(EventStream(source, "run"))


def test_each_iteration_begins_anew(source):
    """A stream is no iterator that runs dry."""
    source.happen(3)
    source.end()
    stream = EventStream(source, "run")

    assert [1, 2, 3] == numbers(stream) == numbers(stream)


def test_a_long_run_is_read_page_by_page(source):
    """However long it is, a reader holds little of it."""
    source.happen(1000)
    source.end()

    assert list(range(1, 1001)) == numbers(EventStream(source, "run"))
    assert source.largest_page < 1000


def test_a_reader_waits_for_what_happens_next(source):
    """And ends when the run has."""
    reader = Reader(source)
    source.has_been_read(1)
    source.happen(2)
    source.has_been_read(2)
    source.happen(1)
    source.end()

    assert [1, 2, 3] == reader.join()


def test_several_readers_get_everything_each(source):
    """Whenever they began."""
    source.happen(2)
    readers = [Reader(source), Reader(source)]
    source.has_been_read(2)
    source.happen(2)
    readers.append(Reader(source))
    source.end()

    assert [[1, 2, 3, 4]] * 3 == [reader.join() for reader in readers]


def test_a_reader_that_stops_early_is_told_no_more(source):
    """Nothing of it is left with the run, once it has waited for news."""
    stream = iter(EventStream(source, "run"))
    news = threading.Thread(target=lambda: (source.has_been_read(2), source.happen(3)))
    news.start()
    next(stream)
    news.join(GUARD)
    watched = len(source.watchers)

    stream.close()

    assert (1, 0) == (watched, len(source.watchers))


def test_a_reader_that_need_not_wait_is_not_told_of_anything(source):
    """A reader of past events leaves nothing with the run."""
    source.happen(3)
    stream = iter(EventStream(source, "run"))
    next(stream)

    assert [] == source.watchers


def test_a_reader_must_not_block_the_runs_own_loop(source):
    """It is told so when it would have to wait; what has happened it may read."""

    def refuse(what):
        raise WrongLoop(what)

    source.check_may_block = refuse
    source.happen(2)
    got = []

    with pytest.raises(WrongLoop, match="for"):
        got.extend(event.number for event in EventStream(source, "run"))

    assert [1, 2] == got
    assert [] == source.watchers


def test_no_event_is_missed_between_reading_and_waiting(source):
    """What happens after a page was read, and before the reader waits."""
    read = source.read

    def read_and_happen(run_id, after, limit):
        page = read(run_id, after, limit)
        if len(source.events) < 50:
            source.happen()
        elif source.is_live:
            source.end()
        return page

    source.read = read_and_happen
    reader = Reader(source)

    assert list(range(1, 51)) == reader.join()


def test_no_event_is_missed_when_the_run_ends_meanwhile(source):
    """The last events and the end come between asking and reading."""
    live = source.live

    def live_and_end(run_id):
        answer = live(run_id)
        if answer and len(source.events) == 3:
            source.happen(2)
            source.end()
        return answer

    source.happen(3)
    source.live = live_and_end

    assert [1, 2, 3, 4, 5] == Reader(source).join()


# ── On an event loop ─────────────────────────────────────────────────────────────────────────


async def read_all(source, after_each=lambda _number: None):
    """Read with `async for`."""
    got = []
    async for event in EventStream(source, "run"):
        got.append(event.number)
        after_each(event.number)
    return got


def test_a_finished_run_is_read_on_a_loop(source):
    """As with `for`."""
    source.happen(600)
    source.end()

    assert list(range(1, 601)) == asyncio.run(read_all(source))


@pytest.mark.parametrize("slow", [True, False])
def test_a_source_that_is_slow_to_read_does_not_block_the_loop(source, slow):
    """It is read on another thread, and any other on the loop's own."""
    source.slow_to_read = slow
    source.happen(600)
    source.end()

    assert list(range(1, 601)) == asyncio.run(read_all(source))
    assert slow is (threading.current_thread() not in source.readers)


def test_a_reader_on_a_loop_waits_for_what_happens_on_another_thread(source):
    """Without blocking its own loop."""

    def happen():
        source.has_been_read(1)
        source.happen(2)
        source.has_been_read(2)
        source.happen(1)
        source.end()

    async def main():
        thread = threading.Thread(target=happen)
        thread.start()
        got = await asyncio.wait_for(read_all(source), GUARD)
        thread.join(GUARD)
        return got

    assert [1, 2, 3] == asyncio.run(main())


def test_a_reader_on_a_loop_may_stop_early(source):
    """Nothing of it is left with the run."""
    source.happen(3)

    async def main():
        stream = aiter(EventStream(source, "run"))
        first = await anext(stream)
        await stream.aclose()
        return first.number

    assert 1 == asyncio.run(main())
    assert [] == source.watchers


def test_a_reader_that_is_cancelled_while_it_waits_is_told_no_more(source):
    """Its task goes, and takes its bell along."""

    async def main():
        task = asyncio.ensure_future(read_all(source))
        while not source.watchers:  # noqa: ASYNC110 - the reader does not announce that it waits
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return task.cancelled()

    assert asyncio.run(main())
    assert [] == source.watchers


class Left:
    """A reader who waits for news on a loop that is closed under him."""

    def __init__(self, source, *, rung=False):
        self.loop = asyncio.new_event_loop()
        self._stream = aiter(EventStream(source, "run"))
        self._task = self.loop.create_task(anext(self._stream))
        while not source.watchers:
            self._turn()
        if rung:
            source.ring()
            self._turn()
        self.loop.close()

    def _turn(self):
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    def bury(self):
        """Let go of the task, which will never finish."""
        self._task._log_destroy_pending = False
        self._task.get_coro().close()


@pytest.fixture
def left(source):
    """Makes readers whose loop is closed."""
    readers = []

    def make(**options):
        readers.append(Left(source, **options))
        return readers[-1]

    yield make
    for reader in readers:
        reader.bury()


@pytest.mark.parametrize("rung", [False, True], ids=["asleep", "rung for already"])
def test_a_reader_whose_loop_is_gone_is_forgotten(source, left, rung):
    """When the run has something to tell; who stays hears of it."""
    left(rung=rung)
    heard = []
    source.watch("run", lambda: heard.append(True))

    source.happen()

    assert 1 == len(source.watchers)
    assert [True] == heard


def test_a_loop_that_closes_in_the_very_instant_hurts_nobody(source, left, monkeypatch):
    """It was open when it was asked, and is closed when it is called."""
    monkeypatch.setattr(left().loop, "is_closed", lambda: False)

    source.happen()

    assert [] == source.watchers
