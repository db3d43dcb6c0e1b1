"""Plain functions on a pool that belongs to the program."""

from __future__ import annotations

import concurrent.futures
import functools
import operator

import pytest

from actorflow.executors import FuturesExecutor
from tests.support.executor_rigs import FuturesRig, ThreadRig


@pytest.fixture
def rig():
    """A pool, and the executor that uses it."""
    rig = FuturesRig()
    yield rig
    rig.close()


def test_closing_leaves_the_pool_to_its_owner(rig):
    """It was not ours to open."""
    rig.executor.close()

    assert 7 == rig.pool.submit(lambda: 7).result()


def test_an_attempt_that_no_worker_has_begun_is_taken_back():
    """Its place in the pool's queue is given up."""
    rig = FuturesRig()
    rig.pool.shutdown()
    rig.pool = concurrent.futures.ThreadPoolExecutor(max_workers=1)
    rig.executor._pool = rig.pool
    gate, called = rig.gate(), []
    busy = rig.submit(rig.waiting(gate, "done"))
    waiting = rig.submit(lambda: called.append("called"))
    rig.until(lambda: gate.entered)

    rig.stop(waiting)
    rig.until(lambda: rig.of(waiting))
    gate.open()
    rig.until(lambda: rig.of(busy))

    assert isinstance(rig.of(waiting)[0][1], concurrent.futures.CancelledError)
    assert [] == called
    rig.close()


def test_an_abandoned_attempt_is_forgotten_when_its_body_has_returned(rig):
    """It no longer runs, and what it refers to may be large."""
    gate = rig.gate()
    attempt = rig.submit(rig.waiting(gate))
    rig.until(lambda: gate.entered)
    rig.executor.abandon(attempt)
    gate.open()
    rig.pool.shutdown()

    assert [] == list(rig.executor.close())


def test_a_pool_that_is_shut_down_fails_the_attempt(rig):
    """Submitting does not raise."""
    rig.pool.shutdown()

    _, error = rig.run(lambda: "never")

    assert isinstance(error, RuntimeError)


def test_a_plain_function_that_returns_a_coroutine_is_told_so(rig):
    """Nobody would await it; the error names the step and the cure."""

    async def forgotten():
        """Never awaited."""

    attempt = rig.submit(functools.partial(forgotten))
    rig.until(lambda: rig.reports)

    ((output, error),) = rig.of(attempt)
    assert output is None
    assert isinstance(error, TypeError)
    assert "async def" in str(error)


class Inline(concurrent.futures.Executor):
    """A pool of no threads at all: it calls what it is given."""

    def submit(self, function, /, *args, **kwargs):
        """Call it."""
        future = concurrent.futures.Future()
        try:
            future.set_result(function(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - a future carries any
            future.set_exception(error)
        return future


def test_any_pool_will_do():
    """Also one that is no thread pool; what it calls must then be picklable, or not."""
    rig = ThreadRig(FuturesExecutor(Inline()))

    assert (5, None) == rig.run(lambda a, b: a + b, a=2, b=3)


def test_a_pool_of_processes_runs_a_function_by_name():
    """It gets the bare function and its arguments, which can be pickled."""
    with concurrent.futures.ProcessPoolExecutor(max_workers=1) as pool:
        rig = ThreadRig(FuturesExecutor(pool))
        attempt = rig.attempt(dict, a=1, b=2)
        rig.executor.submit(attempt)
        rig.until(lambda: rig.reports)
        failing = rig.attempt(operator.itemgetter, a=1)
        rig.executor.submit(failing)
        rig.until(lambda: rig.of(failing))

    assert [({"a": 1, "b": 2}, None)] == rig.of(attempt)
    assert isinstance(rig.of(failing)[0][1], TypeError)
