"""A value that comes once, and whoever waits for it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from actorflow.support.oneshot import Once, first_of

GUARD = 60
"""Seconds after which something that should happen at once never will."""


class Waiting:
    """Threads that wait for a value."""

    def __init__(self, once, count=3):
        self.got = []
        before = len(once._waiting)
        self._threads = [threading.Thread(target=self._wait, args=(once,)) for _ in range(count)]
        for thread in self._threads:
            thread.start()
        while len(once._waiting) < before + count:
            threading.Event().wait(0.001)

    def _wait(self, once):
        self.got.append(once.result(GUARD))

    def join(self):
        """Wait until all of them have it."""
        for thread in self._threads:
            thread.join(GUARD)
        return self.got


def test_the_first_value_stays():
    """Whatever is set afterwards."""
    once = Once()
    before = once.done
    once.set(1)
    once.set(2)
    once.fail(ValueError("too late"))

    assert (False, True) == (before, once.done)
    assert (1, None) == (once.result(), once.error)


def test_an_error_comes_in_the_place_of_a_value():
    """It is raised for everybody."""
    once = Once()
    once.fail(ValueError("no"))

    for get in (once.result, lambda: asyncio.run(once.result_async())):
        with pytest.raises(ValueError, match="no"):
            get()
    assert "no" == str(once.error)


def test_all_threads_that_wait_get_it():
    """And nobody is left in line."""
    once = Once()
    waiting = Waiting(once)
    once.set("it")

    assert ["it"] * 3 == waiting.join()
    assert {} == once._waiting


@pytest.mark.parametrize("timeout", [0, 0.001, -1])
def test_whoever_waits_too_short_a_time_leaves_the_line(timeout):
    """He may come back."""
    once = Once()
    with pytest.raises(TimeoutError):
        once.result(timeout)
    came = once.wait(timeout)
    left = dict(once._waiting)
    once.set("it")

    assert (False, {}) == (came, left)
    assert once.wait(timeout)


def test_a_wait_may_be_longer_than_any_lock_can_wait():
    """It is no overflow."""
    once = Once()
    threading.Thread(target=once.set, args=("it",)).start()

    assert "it" == once.result(1e20)


class Line(dict):
    """A line in which the value comes when somebody has got into it."""

    def __init__(self, once):
        super().__init__()
        self._once = once

    def __setitem__(self, waiter, wake):
        self._once._settled["outcome"] = ("it", None)
        super().__setitem__(waiter, wake)


def on_a_loop(once):
    """Await it."""
    return asyncio.run(once.result_async())


@pytest.mark.parametrize("wait", [Once.result, on_a_loop])
def test_a_value_that_comes_while_somebody_gets_in_line_is_not_waited_for(wait):
    """He looked before, and is in line after everybody has been told."""
    once, got = Once(), []
    once._waiting = Line(once)
    waiting = threading.Thread(target=lambda: got.append(wait(once)), daemon=True)
    waiting.start()
    waiting.join(GUARD)

    assert ["it"] == got


def test_whoever_is_told_late_is_told_when_it_is_set_again():
    """An interrupt may come between two who are told."""
    once, told = Once(), []

    def interrupt():
        if not told:
            told.append("interrupted")
            raise KeyboardInterrupt

    once.when_done(interrupt)
    waiting = Waiting(once, 1)
    with pytest.raises(KeyboardInterrupt):
        once.set("it")
    once.set("again")

    assert ["it"] == waiting.join()


def test_a_function_is_called_when_it_has_come():
    """Or at once, if it has."""
    once, called = Once(), []
    once.when_done(lambda: called.append("early"))
    before = list(called)
    once.set("it")
    once.when_done(lambda: called.append("late"))

    assert ([], ["early", "late"]) == (before, called)


# ── On event loops ───────────────────────────────────────────────────────────────────────────


def test_all_tasks_that_wait_get_it_from_any_thread():
    """Without blocking their loop."""

    async def main():
        once = Once()
        tasks = [asyncio.ensure_future(once.result_async()) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.to_thread(once.set, "it")
        return await asyncio.gather(*tasks), once._waiting

    assert (["it"] * 3, {}) == asyncio.run(main())


def test_a_task_that_is_cancelled_leaves_the_line():
    """The others stay."""

    async def main():
        once = Once()
        first, second = (asyncio.ensure_future(once.result_async()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        left = len(once._waiting)
        once.set("it")
        return first.cancelled(), left, await second

    assert (True, 1, "it") == asyncio.run(main())


def test_a_loop_that_is_gone_keeps_nobody_else_waiting():
    """Somebody awaited it there, and his loop was closed."""
    once, loop = Once(), asyncio.new_event_loop()
    left = loop.create_task(once.result_async())
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    waiting = Waiting(once, 2)
    once.set("it")
    left._log_destroy_pending = False
    left.get_coro().close()

    assert ["it"] * 2 == waiting.join()


def test_a_value_that_is_set_on_the_loop_wakes_all_who_wait(monkeypatch):
    """Those on that loop without a system call; those elsewhere as ever."""

    async def main():
        once, loop = Once(), asyncio.get_running_loop()
        tasks = [asyncio.ensure_future(once.result_async()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting = await asyncio.to_thread(Waiting, once, 2)
        once._waiting[main] = called = asyncio.Event().set
        with monkeypatch.context() as patched:
            patched.setattr(loop, "call_soon_threadsafe", None)
            once.set_here("it")
            once.set_here("another")
            got = await asyncio.gather(*tasks)
        return got, await asyncio.to_thread(waiting.join), called.__self__.is_set(), once._waiting

    got, elsewhere, called, left = asyncio.run(main())

    assert (["it"] * 3, ["it"] * 2, True) == (got, elsewhere, called)
    assert 1 == len(left)


@pytest.mark.parametrize("which", [0, 1, None])
def test_the_first_of_several_ends_the_wait(which):
    """Or the time does."""

    async def main():
        several = Once(), Once()
        if which is not None:
            asyncio.get_running_loop().call_soon(several[which].set, "it")
        await first_of(*several, timeout=GUARD if which is not None else 0.001)
        return [one.done for one in several], [one._waiting for one in several]

    done, waiting = asyncio.run(main())

    assert [which == 0, which == 1] == done
    assert [{}, {}] == waiting
