"""Test rigs for executors: one interface to drive each kind."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import types

import pytest

from actorflow.definition.step import Step
from actorflow.executors import CoroutineExecutor, FuturesExecutor, ThreadExecutor
from actorflow.systems import SimulatedSystem
from actorflow.systems.simulated.mischief import Countdown
from actorflow.testing import real
from actorflow.testing.contracts.bench import Bench
from actorflow.testing.simulation.account import Account
from actorflow.testing.simulation.executor import SimulatedExecutor

GUARD = 60
"""Seconds after which something that should happen at once never will."""


MOST_FLUSHES = 20_000


class Rig(Bench):
    """A bench of the contract, with what only actorflow's own tests need."""

    def __init__(self, executor):
        super().__init__(executor, GUARD)

    def flush_until(self, condition):
        """Flush until a condition holds that is not reported."""
        for _ in range(MOST_FLUSHES):
            if condition():
                return
            self.flush()
        raise AssertionError("it never came to that")


class CoroutineRig(Rig):
    """Coroutines on a loop that runs only while the test waits for something."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        super().__init__(CoroutineExecutor(self.loop, lambda: False, lambda: None, self.loop.time))

    def body(self, function):
        """A coroutine function is one already; a plain one is wrapped."""
        if asyncio.iscoroutinefunction(function):
            return function

        async def body(**arguments):
            return function(**arguments)

        return body

    def event(self):
        """An event of the loop."""
        return asyncio.Event()

    def waiting(self, gate, output=None):
        """A body that waits at a gate."""

        async def waits_at_the_gate(**_given):
            self.enter(gate)
            await gate.event.wait()
            return output

        return waits_at_the_gate

    def stubborn(self, gate):
        """A body that waits at a gate, and takes no notice of being cancelled."""

        async def waits_at_the_gate(**_given):
            self.enter(gate)
            while True:
                try:
                    await gate.event.wait()
                except asyncio.CancelledError:
                    continue
                return "late"

        return waits_at_the_gate

    def until(self, condition):
        """Let the loop run until a condition holds."""

        async def watch():
            while not condition():  # noqa: ASYNC110 - whatever makes it hold tells nobody
                await asyncio.sleep(0)

        self.loop.run_until_complete(asyncio.wait_for(watch(), GUARD))

    def wait_for(self, event):
        """Let the loop run until something has been done on it."""
        self.until(event.is_set)

    def close(self):
        """Cancel what is left."""
        super().close()
        self.loop.run_until_complete(_cancel_others())
        self.loop.close()


async def _cancel_others():
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class ThreadRig(Rig):
    """Plain functions on threads."""

    def __init__(self, executor=None):
        # Idle threads stay for the whole test: whatever they keep alive, they keep.
        super().__init__(ThreadExecutor(idle=10 * GUARD) if executor is None else executor)


class FuturesRig(ThreadRig):
    """Plain functions on a pool of the program's own."""

    def __init__(self):
        self.pool = concurrent.futures.ThreadPoolExecutor(max_workers=8)
        super().__init__(FuturesExecutor(self.pool))

    def close(self):
        """The pool is ours to shut down."""
        super().close()
        self.pool.shutdown()


class SimulatedRig(CoroutineRig):
    """True coroutines in virtual time."""

    def __init__(self):
        self.system = SimulatedSystem(lambda _options, _label: 0)
        self.account = Account(self.system, lambda _options, _label: 0, NEVER)
        self.account.runs["run"] = types.SimpleNamespace(script=AnyScript)
        Rig.__init__(self, SimulatedExecutor(self.account, None, preemptive=True))

    def attempt(self, function, /, **arguments):
        """Return an attempt of a coroutine step."""
        attempt = super().attempt(function, **arguments)
        attempt.plan = types.SimpleNamespace(step=Step("any", asyncio.sleep), is_coroutine=True)
        return attempt

    def until(self, condition):
        """Let things happen until a condition holds."""
        while not condition():
            # An interrupt in a body is its attempt's failure, and whoever simulates hears of it.
            with contextlib.suppress(KeyboardInterrupt):
                assert self.system.run(1), "it never came to that"

    def wait_for(self, event):
        """Look at what has happened; the account keeps all attempts, and that is its purpose."""
        self.account.bodies.clear()
        assert event.is_set()

    def close(self):
        """Cancel what is left."""
        Rig.close(self)


NEVER = Countdown(lambda _options, _label: 0, "never", 0, lambda: 0)


class AnyScript:
    """A script that has every step run for real."""

    @staticmethod
    def of(_step_id, _attempt):
        """What any attempt does."""
        return real()


class Everything(set):
    """A set that holds whatever it is asked for, and knows no other."""

    def __contains__(self, _item):
        return True

    def __bool__(self):
        return True


@pytest.fixture(params=["a runner", "a task"], autouse=True)
def starts_in(request, monkeypatch):
    """Where a body starts: with a runner, or in a plain task, as one that is known to suspend."""
    if request.param == "a task":
        make = CoroutineExecutor.__init__

        def knows_all(executor, *arguments):
            make(executor, *arguments)
            executor._suspends = Everything()

        monkeypatch.setattr(CoroutineExecutor, "__init__", knows_all)
    return request.param
