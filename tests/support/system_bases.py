"""The Thespian system bases behind one interface, in virtual time."""

from __future__ import annotations

import random
from unittest import mock

from thespian.actors import ActorSystem
from thespian.system import simpleSystemBase, timing

from actorflow.systems.simulated.system import SimulatedSystem
from tests.support.stage import Loop, Stage, embedded

MOST = 1_000_000
"""Deliveries after which a system does not come to rest any more."""


class Base:
    """What a test does with a base; its time is the test's."""

    runs_of_a_broken_handler = 1

    def create(self, actor_class, **options):
        """Make an actor of the system's own."""
        return self.actors.createActor(actor_class, **options)

    def tell(self, target, *messages):
        """Send messages, and let everything happen that needs no time."""
        for message in messages:
            self.actors.tell(target, message)
        self.settle()

    def heard(self, address):
        """What a recorder has heard."""
        return self.actor(address).heard

    def close(self):
        """Leave nothing behind."""


class OurBase(Base):
    """What the bases of ours have in common: an address leads to its actor."""

    def actor(self, address):
        """The actor that lives at an address, or None."""
        return address.actor

    def post(self, target, message):
        """Have a message delivered later; what an actor may do."""
        self.system.post(target, message, self.system.system_cell)


class EmbeddedBase(OurBase):
    """The base that production runs on, on a loop that is turned by hand."""

    def __init__(self):
        self.loop = Loop()
        self.system, self.actors = embedded(self.loop)
        self.now, self.settle, self.advance = self.loop.time, self.loop.run, self.loop.advance
        self.close = self.system.close


class SimulatedBase(OurBase):
    """The base on which every schedule is a choice.

    Args:
        choose: Chooses; without one everything happens in the plainest order.
    """

    def __init__(self, choose=lambda _options, _label: 0):
        self.system = SimulatedSystem(choose)
        self.actors = ActorSystem(self.system, transientUnique=True)
        self.now = self.system.now

    def settle(self):
        """Let everything happen that needs no time."""
        self.advance(0.0)

    def advance(self, seconds):
        """Let time pass."""
        until = self.now() + seconds
        assert self.system.run(MOST, until) < MOST
        self.system.time = until


class SimpleBase(Base):
    """Thespian's own base for one thread, which looks at its clock whenever it is used."""

    runs_of_a_broken_handler = 3

    def __init__(self):
        self._now = 0.0
        modules = (timing, simpleSystemBase)
        self._clocks = [mock.patch.object(one, "currentTime", self.now) for one in modules]
        for clock in self._clocks:
            clock.start()
        self.actors = ActorSystem("simpleSystemBase", logDefs=False, transientUnique=True)
        self._system = self.actors._systemBase

    def now(self):
        """The time."""
        return self._now

    def actor(self, address):
        """The actor that lives at an address, or None."""
        reference = self._system.actorRegistry[address.actorAddressString]
        return reference and reference.instance

    def post(self, target, message):
        """Have a message delivered later; what an actor may do."""
        self._system.actor_send(self.actors.systemAddress, target, message)

    def settle(self):
        """Let everything happen that needs no time."""
        self._system._realizeWakeups()
        self._system._runSends()

    def advance(self, seconds):
        """Let time pass, stopping at each wakeup on the way."""
        until = self._now + seconds
        self.settle()
        while self._system._wakeUps and (moment := self._next_wakeup()) <= until:
            self._now = max(self._now, moment)
            self.settle()
        self._now = until

    def _next_wakeup(self):
        return min(timer._time_to_quit for _, timer, _ in self._system._wakeUps)

    def close(self):
        """Give the clocks back."""
        self.actors.shutdown()
        for clock in self._clocks:
            clock.stop()


def shuffled(seed):
    """A simulated base in an order that is drawn."""
    order = random.Random(seed)
    return SimulatedBase(lambda options, _label: order.randrange(options))


BASES = {
    "embedded": EmbeddedBase,
    "simulated": SimulatedBase,
    "simulated, another order": lambda: shuffled(1),
    "simulated, yet another": lambda: shuffled(2),
    "simpleSystemBase": SimpleBase,
}
"""Ways to make a base without actors."""


class PromptExecutor:
    """An executor that runs every body to its end at once, and reports by a message."""

    preemptive = True

    def open(self, report):
        """Take the way to report."""
        self._report = report

    def submit(self, attempt):
        """Run it."""
        try:
            output = attempt.function(**attempt.arguments)
            if hasattr(output, "send"):
                output = finished(output)
        except Exception as error:  # noqa: BLE001 - the attempt's, whatever it is
            self._report(attempt, None, error)
        else:
            self._report(attempt, output, None)

    def stop(self, attempt):
        """It has ended already."""

    def close(self):
        """Nothing is left running."""
        return []


def finished(coroutine):
    """Run a coroutine that does not wait, and return what it returns."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits")


class Theatre(Stage):
    """The production actors on a base, with an executor that does everything at once.

    Args:
        base: The base.
        settings: Of the brain.
    """

    def __init__(self, base, **settings):
        self.base, self.actors = base, base.actors
        self._set(None, PromptExecutor(), settings, base.now)
        self.settle()

    def tell(self, message):
        """Say something to the supervisor, which hears it when everything settles."""
        self.base.post(self.supervisor, message)

    def settle(self):
        """Let everything happen that needs no time."""
        self.base.settle()

    def run(self, workflow, inputs=None):
        """Run a workflow to its end, however much time that takes, and return its result."""
        self.start(workflow, inputs=inputs)
        for _ in range(100):
            if "run" in self.results:
                return self.results["run"]
            self.base.advance(1.0)
        raise AssertionError("the run does not end")
