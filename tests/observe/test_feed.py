"""An observer may raise, block or fall behind, and nothing else notices."""

from __future__ import annotations

import logging
import queue
import threading

import pytest
import structlog

from actorflow.model.events import Event
from actorflow.model.lifecycle import EventKind
from actorflow.observe import Feed
from tests.support.brain import EPOCH

GUARD = 60
"""Seconds after which something that should happen at once never will."""


def event(number):
    """Some event."""
    return Event(number, EventKind.STEP_READY, "run", "a", None, EPOCH)


class Fed:
    """A feed, and the observer at its end."""

    def __init__(self, observer=None, **options):
        self.seen = queue.Queue()
        self.feed = Feed(observer or self.seen.put, **options)
        self.feed.start()

    def put(self, *numbers):
        """Bring a batch."""
        self.feed.put([event(number) for number in numbers])

    def end(self):
        """Close the feed, and return the numbers of what was seen."""
        self.feed.close()
        self.feed.ended.result(GUARD)
        self.feed.join()
        numbers = []
        while not self.seen.empty():
            numbers.append(self.seen.get().number)
        return numbers


def test_an_observer_gets_every_event_in_order():
    """All that was put before the end, and nothing afterwards."""
    fed = Fed()
    for number in range(0, 100, 2):
        fed.put(number, number + 1)

    numbers = fed.end()
    fed.put(1000)

    assert list(range(100)) == numbers
    assert fed.seen.empty()
    assert (0, 0) == (fed.feed.dropped, fed.feed.failures)


def test_an_observer_has_a_thread_of_its_own():
    """Never that of the caller that brings the events."""
    threads = queue.Queue()
    fed = Fed(lambda _event: threads.put(threading.current_thread()))

    fed.put(1)
    fed.end()

    assert threading.current_thread() is not threads.get()


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_an_observer_that_raises_goes_on_getting_events(error, caplog):
    """It is told of once in the log, until it works again."""
    seen = []

    def observer(event):
        seen.append(event.number)
        if event.number in {1, 2, 5}:
            raise error

    fed = Fed(observer)
    fed.put(1, 2, 3, 4, 5, 6)
    fed.end()

    told = [record for record in caplog.records if "observer.failed" in record.getMessage()]
    assert [1, 2, 3, 4, 5, 6] == seen
    assert 3 == fed.feed.failures
    assert 2 == len(told)
    assert "event_number=1" in told[0].getMessage()


def test_an_observer_that_blocks_delays_nobody():
    """The caller that brings the events is never held up."""
    entered, gate = threading.Event(), threading.Event()
    seen = []

    def observer(event):
        entered.set()
        gate.wait(GUARD)
        seen.append(event.number)

    fed = Fed(observer)
    fed.put(1)
    assert entered.wait(GUARD)
    for number in range(2, 50):
        fed.put(number)
    before = list(seen)
    gate.set()
    fed.end()

    assert [] == before
    assert list(range(1, 50)) == seen


def test_what_an_observer_cannot_keep_up_with_is_dropped_and_counted(caplog):
    """In whole batches, and told of once."""
    entered, gate = threading.Event(), threading.Event()
    seen = []

    def observer(event):
        entered.set()
        gate.wait(GUARD)
        seen.append(event.number)

    fed = Fed(observer, most=2)
    fed.put(1)
    assert entered.wait(GUARD)
    for number in (2, 3, 4, 5):
        fed.put(number, number)
    gate.set()
    fed.end()

    assert [1, 2, 2, 3, 3] == seen
    assert 4 == fed.feed.dropped
    assert 1 == sum("observer.behind" in record.getMessage() for record in caplog.records)


def test_whoever_brings_events_never_waits_for_the_log():
    """Not even to say that the log itself has fallen behind."""
    told = queue.Queue()

    def processor(_logger, _level, line):
        told.put((line["event"], threading.current_thread()))
        raise structlog.DropEvent

    structlog.configure(processors=[processor])
    entered, gate = threading.Event(), threading.Event()
    fed = Fed(lambda _event: (entered.set(), gate.wait(GUARD)), most=1)
    fed.put(1)
    assert entered.wait(GUARD)
    for number in (2, 3):
        fed.put(number)
    before = told.qsize()
    gate.set()
    fed.end()
    what, where = told.get()

    assert (0, "observer.behind") == (before, what)
    assert threading.current_thread() is not where


def test_a_feed_that_could_not_be_started_ends_when_it_is_closed():
    """Without free threads: the shutdown does not wait for it."""
    feed = Feed(print)
    feed.close()
    feed.join()

    assert feed.ended.done()


class Unspeakable:
    """An observer that raises, and cannot even be named."""

    def __init__(self, error):
        self.calls = 0
        self._error = error

    def __call__(self, event):
        """Raise."""
        self.calls += 1
        raise self._error

    def __repr__(self):
        raise self._error


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_an_observer_that_cannot_be_named_goes_on_getting_events(error):
    """Telling of a failure may fail as well."""
    observer = Unspeakable(error)
    fed = Fed(observer)

    fed.put(1, 2, 3)
    fed.end()

    assert 3 == observer.calls


@pytest.mark.parametrize("error", [OSError("no space left on device"), SystemExit(3)])
def test_a_log_that_raises_breaks_neither_the_observer_nor_the_run(error):
    """A program's own logging may be broken: bringing events goes on."""

    def broken(*_arguments):
        raise error

    structlog.configure(processors=[broken])
    entered, gate = threading.Event(), threading.Event()
    seen = []

    def observer(event):
        entered.set()
        gate.wait(GUARD)
        seen.append(event.number)
        raise ValueError("no")

    fed = Fed(observer, most=1)
    fed.put(1)
    assert entered.wait(GUARD)
    for number in (2, 3, 4):
        fed.put(number)
    gate.set()
    fed.end()

    assert [1, 2] == seen
    assert 2 == fed.feed.dropped


def test_without_any_logging_a_failure_is_silent(capfd):
    """Python's handler of last resort would print it."""
    logger = logging.getLogger("actorflow")
    fed = Fed(Unspeakable(ValueError()))

    fed.put(1)
    fed.end()

    assert [logging.NullHandler] == [type(handler) for handler in logger.handlers]
    assert ("", "") == capfd.readouterr()
