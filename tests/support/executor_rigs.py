"""Test rigs for executors: one interface to drive each kind."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import itertools
import threading
import types

from actorflow.definition.step import Step
from actorflow.executors import CoroutineExecutor, FuturesExecutor, ThreadExecutor
from actorflow.model.context import Attempt
from actorflow.systems import SimulatedSystem
from actorflow.systems.simulated.mischief import Countdown
from actorflow.testing import real
from actorflow.testing.simulation.account import Account
from actorflow.testing.simulation.executor import SimulatedExecutor
from tests.support.brain import scope

GUARD = 60
"""Seconds after which something that should happen at once never will."""


MOST_FLUSHES = 20_000


class Rig:
    """An executor, and what it has reported."""

    def __init__(self, executor):
        self.executor = executor
        self.reports = []
        self._numbers = itertools.count(1)
        executor.open(self._report)

    def attempt(self, function, /, **arguments):
        """An attempt that has not been submitted yet."""
        number = next(self._numbers)
        attempt = Attempt(scope("run"), f"s{number}", 1, None, self.executor)
        attempt.function = function
        attempt.arguments = arguments
        attempt.variables = contextvars.copy_context()
        return attempt

    def submit(self, function, /, **arguments):
        """Have a function called by name, as the executor's kind of body."""
        attempt = self.attempt(self.body(function), **arguments)
        self.executor.submit(attempt)
        return attempt

    def run(self, function, /, **arguments):
        """Have a function called, and return how it was reported."""
        attempt = self.submit(function, **arguments)
        self.until(lambda: self.of(attempt))
        (report,) = self.of(attempt)
        return report

    def of(self, attempt):
        """What was reported of an attempt."""
        return [(output, error) for one, output, error in self.reports if one is attempt]

    def stop(self, attempt):
        """Ask an attempt to end, as the supervisor does."""
        attempt.cancelled = True
        self.executor.stop(attempt)

    def flush(self):
        """Let whatever is under way arrive."""
        for _ in range(3):
            self.run(lambda: None)

    def flush_until(self, condition):
        """The same, until a condition holds whose change is not announced."""
        for _ in range(MOST_FLUSHES):
            if condition():
                return
            self.flush()
        raise AssertionError("it never came to that")

    def _report(self, attempt, output, error):
        self.reports.append((attempt, output, error))

    def close(self):
        """Let go of everything."""
        self.executor.close()


class Gate:
    """A place where a body waits until the test lets it go on."""

    def __init__(self, event):
        self.event = event
        self.entered = 0

    def open(self):
        """Let everybody pass."""
        self.event.set()


class CoroutineRig(Rig):
    """Coroutines on a loop that runs only while the test waits for something."""

    waits_in = "asyncio"

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

    def gate(self):
        """A gate."""
        return Gate(asyncio.Event())

    def waiting(self, gate, output=None):
        """A body that waits at a gate."""

        async def waits_at_the_gate():
            gate.entered += 1
            await gate.event.wait()
            return output

        return waits_at_the_gate

    def until(self, condition):
        """Let the loop run until a condition holds."""

        async def watch():
            while not condition():  # noqa: ASYNC110 - nothing announces the change
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

    waits_in = "threading"

    def __init__(self, executor=None):
        self._arrived = threading.Condition()
        # Idle threads stay for the whole test: whatever they keep alive, they keep.
        super().__init__(ThreadExecutor(idle=10 * GUARD) if executor is None else executor)

    def body(self, function):
        """A plain function, as it is."""
        return function

    def gate(self):
        """A gate."""
        return Gate(threading.Event())

    def waiting(self, gate, output=None):
        """A body that waits at a gate."""

        def waits_at_the_gate():
            with self._arrived:
                gate.entered += 1
                self._arrived.notify_all()
            if not gate.event.wait(GUARD):
                raise TimeoutError("the gate was not opened")
            return output

        return waits_at_the_gate

    def wait_for(self, event):
        """Wait for what a thread does."""
        assert event.wait(GUARD)

    def until(self, condition):
        """Wait until a condition holds; it is looked at when something has happened."""
        with self._arrived:
            assert self._arrived.wait_for(condition, GUARD)

    def _report(self, attempt, output, error):
        with self._arrived:
            super()._report(attempt, output, error)
            self._arrived.notify_all()


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
        self.account = Account(self.system, self.system, NEVER)
        self.account.runs["run"] = types.SimpleNamespace(plan=AnyPlan, script=AnyScript)
        Rig.__init__(self, SimulatedExecutor(self.account, preemptive=True))

    def until(self, condition):
        """Let things happen until a condition holds."""
        while not condition():
            # An interrupt in a body is its attempt's failure; the simulation's caller hears of it.
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


class AnyPlan:
    """A plan that has every step."""

    @staticmethod
    def of(_attempt):
        """A coroutine step."""
        return types.SimpleNamespace(step=Step("any", asyncio.sleep), is_coroutine=True)


class AnyScript:
    """A script that has every step run for real."""

    @staticmethod
    def of(_step_id, _attempt):
        """What any attempt does."""
        return real()


RIGS = {
    "coroutines": CoroutineRig,
    "threads": ThreadRig,
    "futures": FuturesRig,
    "simulated": SimulatedRig,
}
