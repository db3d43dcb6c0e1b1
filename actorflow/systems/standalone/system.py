"""The embedded base as a standalone system for any Thespian program, on its own thread.

    actors = ActorSystem(StandaloneSystem(), transientUnique=True)

An orchestrator needs little of a base: it creates one actor and tells it things. A program of
actors expects more, and gets it here: `ask` and `listen` from any thread, `private()`, actors by
class name, capabilities and requirements, and a shutdown that ends all actors. Messages are
delivered by `EmbeddedSystem`, unchanged.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import importlib.metadata
import itertools
import sys
import threading
import weakref
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from thespian.actors import (
    Actor,
    ActorAddress,
    ActorExitRequest,
    ActorSystemFailure,
    InvalidActorAddress,
    NoCompatibleSystemForActor,
    ThespianGeneration,
)
from thespian.system.messages.status import Thespian_ActorStatus, Thespian_StatusReq
from thespian.system.timing import ExpirationTimer
from thespian.system.utilis import actualActorClass, withPossibleInitArgs

from actorflow.systems.delivery import Cell, Envelope
from actorflow.systems.embedded import EmbeddedSystem
from actorflow.systems.standalone.outside import OVER, Arrivals, Outside, OutsideAddress
from actorflow.systems.thread import LoopThread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actorflow.definition.durations import Duration

__all__ = ["StandaloneSystem", "StatusReporter", "status_of"]

_GRACE: Final = 5.0
"""Seconds that actors have to exit."""
_MARGIN: Final = 5.0
"""Seconds after that, when a thread that has not ended is left behind."""


class StandaloneSystem(EmbeddedSystem):
    """A self-contained Thespian system base: it brings its own event loop and thread.

    Args:
        capabilities: What actors can require of the system, in addition to the capabilities of
            every Thespian system.
    """

    dead_letters: int

    def __init__(self, capabilities: Mapping[str, Any] | None = None) -> None:
        self._thread = LoopThread()
        super().__init__(self._thread.start(), contextvars.copy_context())
        self.capabilities: dict[str, Any] = _common_capabilities() | dict(capabilities or {})
        self.enqueue: Callable[[Envelope], None] = self._route
        self._reporter = super().create(StatusReporter, self.system_cell)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._outsides: weakref.WeakSet[Arrivals] = weakref.WeakSet()
        self._outside_numbers = itertools.count(1)
        self._leaving = asyncio.Event()
        self._life = asyncio.run_coroutine_threadsafe(self._run_until_shutdown(), self._loop)

    # ── Required by Thespian's ActorSystem ──────────────────────────────────────────────────

    def newPrimaryActor(self, *arguments: Any) -> Cell:  # noqa: N802
        """Create an actor that belongs to the system itself; see `Outside.newPrimaryActor`."""
        return self._here().newPrimaryActor(*arguments)

    def tell(self, target: ActorAddress, message: Any) -> None:
        """Send a message from the calling thread."""
        self._here().tell(target, message)

    def ask(self, target: ActorAddress, message: Any, timeout: Duration | None = None) -> Any:
        """Send a message from the calling thread and return the answer; see `Outside.ask`."""
        return self._here().ask(target, message, timeout)

    def listen(self, timeout: Duration | None = None) -> Any:
        """Return the next message to the calling thread; see `Outside.listen`."""
        return self._here().listen(timeout)

    def external_clone(self) -> Outside:
        """Return an outside place that shares nothing with the calling thread's."""
        return Outside(self)

    def shutdown(self) -> None:
        """Have every actor exit, and end the loop and its thread; may be called repeatedly.

        Raises:
            TimeoutError: When an actor blocks the thread so that it cannot end.
        """
        self._thread.soon(self._leaving.set)
        if self.is_current():
            return  # called by an actor, which has to return first
        if not self._thread.join(_GRACE + _MARGIN):
            raise TimeoutError(
                f"The actor system has not ended within {_GRACE + _MARGIN:g} seconds: an actor "
                "has not returned from receiveMessage. Its thread is left behind."
            )

    def _here(self) -> Outside:
        try:
            outside: Outside = self._local.outside
        except AttributeError:
            outside = self._local.outside = Outside(self)
        return outside

    # ── Called by outside places, from any thread ───────────────────────────────────────────

    def is_current(self) -> bool:
        """Return whether the calling thread is the actors' thread."""
        return self._thread.is_current

    def call(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call a function on the actors' thread.

        Raises:
            ActorSystemFailure: When the system has ended.
        """
        if not self._thread.soon(function, *arguments, context=self._context):
            raise ActorSystemFailure("The actor system has been shut down.")

    def submit(self, target: ActorAddress, message: Any, sender: Cell) -> None:
        """Deliver a message."""
        if not isinstance(target, Cell):
            raise InvalidActorAddress(target, "not an address of this system base")
        if isinstance(message, Thespian_StatusReq):
            self.call(self.post, self._reporter, target, sender)
        else:
            self.call(self.post, target, message, sender)

    def admit(self, arrivals: Arrivals) -> int:
        """Register an outside place; return its number."""
        with self._lock:
            if self._closed:
                arrivals.put(OVER)
            self._outsides.add(arrivals)
        return next(self._outside_numbers)

    # ── Creating actors ─────────────────────────────────────────────────────────────────────

    def create_primary(
        self,
        actor_class: type[Actor] | str,
        requirements: dict[str, Any] | None = None,
        global_name: str | None = None,
        _source_hash: str | None = None,
    ) -> Cell:
        """Create an actor that belongs to the system; only on the actors' thread.

        Raises:
            NoCompatibleSystemForActor: When the system lacks a required capability.
            Exception: When importing the class or calling its constructor raises.
        """
        if global_name is not None and global_name in self._global_names:
            return self._global_names[global_name]
        actor = self._instance(actor_class, requirements)
        return super().create(lambda: actor, self.system_cell, global_name)

    def create(
        self,
        actor_class: Callable[[], Actor] | str,
        parent: Cell,
        global_name: str | None = None,
        requirements: dict[str, Any] | None = None,
    ) -> Cell:
        """Create a child; if capabilities are missing, it has exited at once."""
        make = functools.partial(self._instance, actor_class, requirements)
        return super().create(make, parent, global_name)

    def _instance(self, actor_class: Any, requirements: dict[str, Any] | None) -> Actor:
        wanted = actualActorClass(actor_class)
        check = getattr(wanted, "actorSystemCapabilityCheck", None)
        if check is not None and not check(self.capabilities, requirements or {}):
            problem = "No compatible ActorSystem: this one lacks a required capability"
            raise NoCompatibleSystemForActor(wanted, problem)
        arguments = withPossibleInitArgs(capabilities=self.capabilities, requirements=requirements)
        return cast("Actor", arguments.create(wanted))

    # ── Delivering ──────────────────────────────────────────────────────────────────────────

    def post(self, target: Cell, message: Any, sender: Cell) -> None:
        """Queue a message, in whichever standalone system its receiver lives."""
        if target.system is self:
            super().post(target, message, sender)
        else:
            self._forward(target, message, sender)

    def _route(self, envelope: Envelope) -> None:
        if envelope[0].system is self:
            self._mail.append(envelope)
        else:
            self._forward(*envelope)

    def _forward(self, target: Cell, message: Any, sender: Cell) -> None:
        if not isinstance(target.system, StandaloneSystem):
            raise InvalidActorAddress(target, "in a system that accepts no mail from others")
        try:
            target.system.submit(target, message, sender)
        except ActorSystemFailure:
            self.dead_letters += 1

    def _exit(self, cell: Cell, *, recursive: bool) -> None:
        # Actors may send exit requests anywhere, but a thread outside does not exit.
        if not isinstance(cell, OutsideAddress):
            super()._exit(cell, recursive=recursive)

    # ── Start and shutdown ──────────────────────────────────────────────────────────────────

    async def _run_until_shutdown(self) -> None:
        try:
            await self._leaving.wait()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._exit_all(), _GRACE)
        finally:
            self.close()  # also when the thread is ended by other means
            self._thread.end()

    async def _exit_all(self) -> None:
        """Have every actor exit, and wait until no messages are left."""
        for primary in tuple(self.system_cell.children or ()):
            self.post(primary, ActorExitRequest(), self.system_cell)
        more = True
        while more:
            more = self._context.run(self.deliver_some)
            await asyncio.sleep(0)

    def close(self) -> None:
        """Drop timers and mail, and wake all threads that wait outside."""
        super().close()
        with self._lock:
            for arrivals in self._outsides:
                arrivals.put(OVER)


def _common_capabilities() -> dict[str, Any]:
    """Return the capabilities that every Thespian system has."""
    return {
        "Python Version": tuple(sys.version_info),
        "Thespian Generation": ThespianGeneration,
        "Thespian Version": importlib.metadata.version("thespian"),
        "Thespian ActorSystem Name": "actorflow",
        "Thespian ActorSystem Version": 1,
        "Thespian Watch Supported": False,
    }


class StatusReporter(Actor):
    """Answers an actor's address with that actor's status."""

    def receiveMessage(self, subject: object, sender: Cell) -> None:  # noqa: N802, D102
        if isinstance(subject, Cell) and subject.actor is not None:
            self.send(sender, status_of(subject))


def status_of(cell: Cell) -> Thespian_ActorStatus:
    """Return an actor's class, parent, children and pending wakeups."""
    system = cell.system
    status = Thespian_ActorStatus(
        cell, type(cell.actor).__name__, system.system_cell, parentAddress=cell.parent
    )
    for child in cell.children or ():
        status.addChild(child)
    status.addWakeups(
        [
            (cell, ExpirationTimer(timedelta(seconds=when - system.now())))
            for when in system.wakeups_of(cell)
        ]
    )
    return status
