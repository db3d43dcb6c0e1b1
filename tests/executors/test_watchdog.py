"""A coroutine step that blocks the loop is noticed, while it does."""

from __future__ import annotations

import asyncio
import threading

import pytest
import structlog

from actorflow.executors.watchdog import Watchdog
from actorflow.support.clock import SystemClock
from tests.support.executor_rigs import GUARD, CoroutineRig, Everything


class Clock:
    """Time that a test moves."""

    def __init__(self):
        self.seconds = 100.0

    def now(self):
        """The time."""
        return self.seconds


class Looking:
    """A watchdog whose looks are the test's, from within the bodies that it watches."""

    def __init__(self):
        self.rig = CoroutineRig()
        self.clock = Clock()
        self.reports = []
        self.dog = Watchdog(self.rig.executor, self.clock, self._report, threshold=0.5)
        self.dog._loop_thread = threading.get_ident()

    def _report(self, attempt, seconds, stack):
        self.reports.append((attempt, seconds, stack))

    def look_after(self, *moments):
        """Look after each of these seconds."""
        for seconds in moments:
            self.clock.seconds += seconds
            self.dog.look()


@pytest.fixture
def looking():
    """A watchdog and what it watches; what it logs is kept away from the screen."""
    looking = Looking()
    with structlog.testing.capture_logs() as looking.logged:
        structlog.configure()
        yield looking
    structlog.reset_defaults()
    looking.rig.close()


def blocks_here(looking, *moments):
    """Block the loop, while the watchdog looks."""
    looking.look_after(*moments)


def blocking(looking, *moments):
    """A body that blocks."""

    async def body():
        blocks_here(looking, *moments)

    return body


def test_a_body_that_blocks_is_reported(looking):
    """With how long it has been seen to, and where."""
    attempt = looking.rig.submit(blocking(looking, 0.0, 0.3, 0.3))
    looking.rig.flush()

    ((reported, seconds, stack),) = looking.reports
    assert attempt is reported
    assert pytest.approx(0.6) == seconds
    assert "blocks_here" in stack


def test_the_log_hears_of_it_at_once(looking):
    """While the loop cannot turn; with the cure."""
    looking.rig.submit(blocking(looking, 0.0, 0.6))
    looking.rig.flush()

    (line,) = looking.logged
    assert ("step.blocking", "warning", "s1", 1) == (
        line["event"],
        line["log_level"],
        line["step_id"],
        line["attempt"],
    )
    assert "plain function" in line["cure"]


def test_a_body_that_blocks_is_reported_once_for_each_time(looking):
    """Not at every look."""

    async def body():
        looking.look_after(0.0, 1.0, 1.0, 1.0)
        await asyncio.sleep(0)
        looking.look_after(0.0, 1.0, 1.0)

    looking.rig.submit(body)
    looking.rig.flush()

    assert 2 == len(looking.reports)


def test_a_short_body_is_not_reported(looking):
    """It is seen twice, and had not blocked for long."""
    looking.rig.submit(blocking(looking, 0.0, 0.2, 0.2))
    looking.rig.flush()

    assert [] == looking.reports


def test_many_short_bodies_are_not_one_long_one(looking):
    """Each look finds another body."""
    for _ in range(10):
        looking.rig.submit(blocking(looking, 0.4))
    looking.rig.flush()

    assert [] == looking.reports


def test_a_body_that_waits_does_not_block(looking):
    """However long it takes."""
    gate = looking.rig.gate()
    looking.rig.submit(looking.rig.waiting(gate))
    looking.rig.flush()

    looking.look_after(0.0, 10.0, 10.0)
    gate.open()
    looking.rig.flush()

    assert [] == looking.reports


def test_a_body_that_goes_on_in_its_task_does_not_block(looking):
    """The loop turns between two looks, though the executor does not see the body resumed."""
    looking.rig.executor._suspends = Everything()

    async def body():
        for _ in range(5):
            await asyncio.sleep(0)
            looking.look_after(1.0)

    looking.rig.submit(body)
    looking.rig.flush()

    assert [] == looking.reports


def test_a_body_is_not_blamed_for_its_predecessor(looking):
    """The first one ends, and the next begins, between the two halves of a look."""
    executor, held = looking.rig.executor, {}

    class Shifting:
        """The executor, as a look sees it whose halves lie apart."""

        def running(self):
            self.shift()
            return executor.current

        @property
        def legs(self):
            self.shift()
            return executor.legs

        def probe(self):
            pass

        def shift(self):
            halves = held.setdefault("halves", 0) + 1
            held["halves"] = halves
            if halves == 4:
                executor.legs += 1
                executor.current = second

    first, second = (looking.rig.attempt(lambda: None) for _ in range(2))
    executor.current = first
    looking.dog._executor = Shifting()
    looking.look_after(0.0)
    looking.look_after(10.0)
    executor.current = None

    assert second not in [attempt for attempt, *_ in looking.reports]


def test_it_looks_from_a_thread_of_its_own():
    """A body that blocks until it has been seen: no time is measured here."""
    rig = CoroutineRig()
    seen = threading.Event()
    dog = Watchdog(rig.executor, SystemClock(), lambda *_report: seen.set(), threshold=0.003)
    dog.start(threading.get_ident())

    async def body():
        return seen.wait(GUARD)

    output, _ = rig.run(body)
    dog.close()
    rig.close()

    assert output
    assert not dog._thread.is_alive()


def test_closing_twice_is_closing_once():
    """And closing what never started does nothing."""
    rig = CoroutineRig()
    dog = Watchdog(rig.executor, Clock(), lambda *_report: None, threshold=0.5)

    dog.close()
    dog.close()
    rig.close()

    assert not dog._thread.is_alive()
