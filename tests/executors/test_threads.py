"""Plain functions on threads that can be left behind."""

from __future__ import annotations

import functools
import threading
import time

import pytest

from actorflow.errors.running import TooManyAbandoned
from actorflow.executors import ThreadExecutor
from actorflow.executors.threads import _Worker
from tests.support.executor_rigs import GUARD, ThreadRig
from tests.support.thread_races import busy_switching


@pytest.fixture
def rig():
    """A thread executor."""
    rig = ThreadRig()
    yield rig
    rig.close()


def ours():
    """The threads that run steps."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("actorflow-step")]


def test_a_plain_function_runs_on_a_thread_of_its_own(rig):
    """Never on the caller's."""
    thread, _ = rig.run(threading.current_thread)

    assert threading.current_thread() is not thread
    assert thread.daemon


def test_idle_threads_are_used_again(rig):
    """One after the other needs one thread, or two while the first one finishes."""
    threads = {rig.run(threading.get_ident)[0] for _ in range(50)}

    assert len(threads) <= 2


def test_threads_that_have_nothing_to_do_go_away():
    """After a while, of which this test waits for none."""
    rig = ThreadRig(ThreadExecutor(idle=0.001))
    rig.run(lambda: None)
    for thread in ours():
        thread.join(GUARD)

    assert [] == ours()
    assert ("again", None) == rig.run(lambda: "again")
    rig.close()


def test_closing_joins_the_threads(rig):
    """None is left that is not hanging."""
    gates = [rig.gate() for _ in range(5)]
    for gate in gates:
        rig.submit(rig.waiting(gate))
    rig.until(lambda: all(gate.entered for gate in gates))
    for gate in gates:
        gate.open()
    rig.until(lambda: len(rig.reports) == 5)

    rig.executor.close()

    assert [] == ours()


def test_closing_does_not_wait_for_what_hangs(rig):
    """It is a daemon, and goes when it returns."""
    gate = rig.gate()
    attempt = rig.submit(rig.waiting(gate))
    rig.until(lambda: gate.entered)
    rig.executor.abandon(attempt)

    left = list(rig.executor.close())
    (hanging,) = ours()
    gate.open()
    hanging.join(GUARD)

    assert [attempt] == left
    assert [] == ours()


def test_abandoned_threads_are_counted(rig):
    """Until they return."""
    gates = [rig.gate() for _ in range(3)]
    attempts = [rig.submit(rig.waiting(gate)) for gate in gates]
    rig.until(lambda: all(gate.entered for gate in gates))

    counts = []
    for attempt in attempts:
        rig.executor.abandon(attempt)
        counts.append(rig.executor.abandoned)
    for gate in gates:
        gate.open()
    rig.flush_until(lambda: not rig.executor.abandoned)

    assert [1, 2, 3] == counts


def test_too_many_abandoned_threads_start_no_more():
    """New attempts fail with the reason, until one of the threads returns."""
    rig = ThreadRig(ThreadExecutor(max_abandoned=2))
    gates = [rig.gate() for _ in range(2)]
    for gate in gates:
        attempt = rig.submit(rig.waiting(gate))
        rig.until(lambda gate=gate: gate.entered)
        rig.executor.abandon(attempt)

    _, error = rig.run(lambda: "no room")
    gates[0].open()
    rig.flush_until(lambda: rig.executor.abandoned == 1)

    assert isinstance(error, TooManyAbandoned)
    assert (2, 2) == (error.count, error.limit)
    assert ("room", None) == rig.run(lambda: "room")
    gates[1].open()
    rig.close()


def test_a_plain_function_that_returns_a_coroutine_is_told_so(rig):
    """Nobody would await it; the error names the step and the cure."""

    async def forgotten():
        """Never awaited."""

    attempt = rig.submit(functools.partial(forgotten))
    rig.until(lambda: rig.reports)

    ((output, error),) = rig.of(attempt)
    assert output is None
    assert isinstance(error, TypeError)
    assert "'s1'" in str(error)
    assert "async def" in str(error)


def test_an_attempt_for_which_there_is_no_thread_has_failed(rig, monkeypatch):
    """The machine may have no more to give; submitting does not raise."""

    def start(_thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        attempt = rig.submit(lambda: "never")
    rig.flush()

    ((output, error),) = rig.of(attempt)
    assert (None, "can't start new thread") == (output, str(error))
    assert [] == list(rig.executor.close())


def test_an_attempt_is_reported_or_abandoned_and_never_both():
    """However closely the two meet: under threads that switch all the time."""
    with busy_switching(often=0.2):
        rig, attempts = ThreadRig(), []
        for number in range(400):
            attempts.append(rig.submit(lambda n: n, n=number))
            if number % 2:
                rig.executor.abandon(attempts[-1])
        rig.until(lambda: all(rig.of(attempt) for attempt in attempts[::2]))
        rig.flush_until(lambda: not rig.executor.abandoned)

    assert {1} == {len(rig.of(attempt)) for attempt in attempts[::2]}
    assert {len(rig.of(attempt)) for attempt in attempts[1::2]} <= {0, 1}
    rig.close()
    assert [] == ours()


class Meeting(dict):
    """A dictionary whose user is interrupted once, right after an operation."""

    def __init__(self, operation, happens):
        super().__init__()
        self._operation, self._happens = operation, happens

    def get(self, attempt):
        """Look an attempt up."""
        found = super().get(attempt)
        self._interrupt("get", attempt)
        return found

    def pop(self, attempt, default):
        """Take an attempt out."""
        found = super().pop(attempt, default)
        self._interrupt("pop", attempt)
        return found

    def _interrupt(self, operation, attempt):
        happens, self._happens = self._happens, None
        if operation == self._operation and happens is not None:
            happens(attempt)
        else:
            self._happens = happens


def test_an_attempt_that_is_given_up_as_its_thread_takes_it_is_not_reported(rig):
    """From its taking on it runs, and counts as abandoned until it returns."""
    counts, given_up = [], threading.Event()

    def give_up(attempt):
        rig.executor.abandon(attempt)
        counts.append(rig.executor.abandoned)
        given_up.set()

    rig.executor._waiting = Meeting("pop", give_up)
    attempt = rig.submit(lambda: "late")
    assert given_up.wait(GUARD)  # else it might be the next attempt that is interrupted
    rig.flush()
    rig.flush_until(lambda: not rig.executor.abandoned)

    assert [1] == counts
    assert [] == rig.of(attempt)


def test_an_attempt_that_ends_as_it_is_given_up_does_not_count_as_abandoned(rig):
    """Otherwise such attempts would reach the limit, and no step could start."""
    attempt = rig.attempt(lambda: None)
    rig.executor._running = Meeting("get", lambda one: rig.executor._running.pop(one, None))
    rig.executor._running[attempt] = threading.current_thread()

    stack = rig.executor.abandon(attempt)

    assert "" == stack
    assert 0 == rig.executor.abandoned


def test_an_attempt_that_a_thread_takes_while_the_executor_closes_never_begins():
    """It does not count as abandoned, and its thread ends."""
    rig, taken = ThreadRig(), threading.Event()

    class TakenSlowly(dict):
        def __setitem__(self, attempt, thread):
            super().__setitem__(attempt, thread)
            taken.set()
            time.sleep(0.1)  # the executor closes

    rig.executor._running = TakenSlowly()
    attempt = rig.submit(lambda: "never")
    assert taken.wait(GUARD)

    left = list(rig.executor.close())

    assert [] == left
    assert [] == rig.of(attempt)
    assert [] == ours()


def test_a_thread_that_finds_its_attempt_given_up_is_idle_again(rig):
    """Otherwise it would stay for ever, and the next attempt would get another one."""
    thread = _Worker(lambda _thread: None, "a thread")

    goes_on = rig.executor._run(rig.attempt(lambda: None), thread)

    assert goes_on
    assert 1 == len(rig.executor._idle)


def test_a_thread_that_reports_is_free_for_what_the_report_submits(rig):
    """A chain of steps needs one thread."""
    threads = []

    def report(_attempt, thread, _error):
        threads.append(thread)
        if len(threads) < 10:
            rig.submit(threading.get_ident)
        else:
            done.set()

    done = threading.Event()
    rig.executor.open(report)
    rig.submit(threading.get_ident)

    assert done.wait(GUARD)
    assert 1 == rig.executor._started


def test_closing_while_threads_go_away_by_themselves():
    """Idle threads leave at the same moment; again and again."""
    with busy_switching(often=0.2):
        for _ in range(20):
            rig = ThreadRig(ThreadExecutor(idle=0.0001))
            for number in range(10):
                rig.submit(lambda n: n, n=number)
            rig.until(lambda rig=rig: len(rig.reports) == 10)
            rig.close()

    assert [] == ours()
