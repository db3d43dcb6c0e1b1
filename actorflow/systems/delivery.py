"""The semantics of delivering a message, shared by all system bases.

Every system base of actorflow is a `Delivery` plus an order. This module says what happens when an
actor receives a message; the base says which message is next and what the time is. For this reason
the simulated base explores exactly the semantics that the embedded base has in production.

Semantics, where Thespian leaves room or its own bases differ:

* A message is handled once. If a handler raises, it is not retried: the message goes back to its
  sender as a `PoisonMessage`, and the actor lives on.
* When an actor exits, its children exit too, and its parent receives `ChildActorExited`.
  A child whose class sets `leaves_quietly = True` has no children and nothing to do when it ends:
  it exits with its parent, without any messages.
* A message to a dead actor is a dead letter: it is counted, and goes to the actor that handles
  dead letters, if there is one. A message to a child that has left quietly is dropped: data that
  was on its way to a step when the run ended is not lost, but no longer needed.
* An address is the actor's cell itself. It remains a valid address after the actor is gone.

Thespian is untyped; casts and its naming conventions are confined to this package.
"""

from __future__ import annotations

import heapq
import itertools
import traceback
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final

from thespian.actors import (
    Actor,
    ActorExitRequest,
    ChildActorExited,
    DeadEnvelope,
    PoisonMessage,
    WakeupMessage,
)

from actorflow.support.interrupts import is_for_the_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    class ActorAddress:
        """Thespian publishes no types, and those of a class with an unknown base are unknown."""
else:
    from thespian.actors import ActorAddress

__all__ = ["Cell", "Delivery", "Envelope", "kill", "population"]

Envelope = tuple["Cell", Any, "Cell"]
"""The receiver, the message and the sender."""


class Cell(ActorAddress):
    """One actor's place in a system: its address, and what Thespian calls its `_myRef`.

    Thespian's own addresses are not hashable and are looked up at every send; a cell leads to the
    actor directly. Two cells are equal only if they are identical.
    """

    __slots__ = ("_number", "actor", "children", "enqueue", "globalName", "parent", "system")

    def __init__(self, number: int, system: Delivery, parent: Cell | None) -> None:
        self._number = number
        self.system: Delivery = system
        self.enqueue: Callable[[Envelope], None] = system.enqueue
        self.parent: Cell | None = parent
        self.actor: Actor | None = None
        self.children: dict[Cell, None] | None = None
        self.globalName: str | None = None

    __hash__: ClassVar[Callable[[object], int]] = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other

    @property
    def _aaddr(self) -> str:
        """The address as Thespian prints it: the path from the system's own cell."""
        parent = "" if self.parent is None else self.parent._aaddr  # noqa: SLF001 - own class
        return f"{parent}/{self._number}"

    @property
    def number(self) -> int:
        """The sequence number of this cell in its system."""
        return self._number

    @property
    def address(self) -> Cell:
        """The address of this cell's actor."""
        return self

    def actor_send(self, target: Cell, message: Any) -> None:
        """Send a message from this actor."""
        self.enqueue((target, message, self))

    def createActor(  # noqa: N802
        self,
        actor_class: type[Actor],
        requirements: dict[str, Any] | None = None,
        global_name: str | None = None,
        _source_hash: str | None = None,
    ) -> Cell:
        """Create a child of this actor."""
        return self.system.create(actor_class, self, global_name, requirements)

    def wakeupAfter(self, delay: float | timedelta, payload: Any) -> None:  # noqa: N802
        """Have a `WakeupMessage` delivered to this actor after `delay` seconds."""
        self.system.wake_after(self, delay, payload)

    @property
    def put_off(self) -> Callable[[Callable[[], None]], bool]:
        """A function that defers a call until the queued messages have been delivered.

        At most one turn's worth of messages counts. If none are queued, it returns False and does
        not make the call.
        """
        return self.system.put_off

    def handleDeadLetters(self, _address: Cell, enable: bool) -> None:  # noqa: FBT001, N802
        """Make this actor the handler of dead letters, or stop that."""
        self.system.handle_dead_letters(self, enable=enable)

    def updateCapability(self, name: str, value: Any = None) -> None:  # noqa: N802
        """Change a capability of the system."""
        self.system.updateCapability(name, value)

    def notifyOnSystemRegistrationChanges(self, _address: Cell, _enable: bool) -> None:  # noqa: FBT001, N802
        """Do nothing: no other systems will ever register."""

    def actorSystemShutdown(self) -> None:  # noqa: N802
        """End the whole system."""
        self.system.shutdown()


_EXIT: Final = ActorExitRequest()
_LEFT_QUIETLY: Final[dict[Cell, None]] = {}
"""The children of a cell whose actor has left quietly; compared by identity."""


class Delivery:
    """The part of a system base that all of actorflow's bases share.

    A base decides which message is next by how it keeps enqueued messages, and what the time is
    by `now` and `timer_changed`.

    Args:
        enqueue: Keeps a message for later. It is called within a delivery, so it need not wake
            the loop.
    """

    def __init__(self, enqueue: Callable[[Envelope], None]) -> None:
        self.enqueue = enqueue
        self.dead_letters: int = 0
        self.capabilities: dict[str, Any] = {}
        self.system_cell: Final = Cell(0, self, None)
        self._numbers = itertools.count(1)
        self._global_names: dict[str, Cell] = {}
        self._dead_letter_handler: Cell | None = None
        self._timers: list[tuple[float, int, Any, Any]] = []
        """Time, count, cell and wakeup; a base may add timers of its own kind."""
        self._timer_count = 0

    # ── Provided by a base ───────────────────────────────────────────────────────────────────

    def post(self, target: Cell, message: Any, sender: Cell) -> None:
        """Queue a message and have it delivered; only on the system's own thread."""
        raise NotImplementedError

    def now(self) -> float:
        """Return monotonic seconds."""
        raise NotImplementedError

    def timer_changed(self) -> None:
        """Note that the earliest timer may have changed."""
        raise NotImplementedError

    def put_off(self, call: Callable[[], None]) -> bool:
        """Defer a call until the queued messages are delivered; return False if none are queued."""
        raise NotImplementedError

    def shutdown(self) -> None:
        """End the system, if its owner allows that."""
        raise NotImplementedError

    # ── Required by Thespian's ActorSystem ───────────────────────────────────────────────────

    def newPrimaryActor(  # noqa: N802
        self,
        actor_class: type[Actor],
        requirements: dict[str, Any] | None,
        global_name: str | None,
        _source_hash: str | None,
    ) -> Cell:
        """Create an actor that belongs to the system itself."""
        return self.create(actor_class, self.system_cell, global_name, requirements)

    def tell(self, target: Cell, message: Any) -> None:
        """Send a message from outside the system."""
        self.post(target, message, self.system_cell)

    def updateCapability(self, name: str, value: Any = None) -> None:  # noqa: N802
        """Set a capability; None removes it."""
        if value is None:
            self.capabilities.pop(name, None)
        else:
            self.capabilities[name] = value

    # ── Creating actors ──────────────────────────────────────────────────────────────────────

    def create(
        self,
        actor_class: Callable[[], Actor],
        parent: Cell,
        global_name: str | None = None,
        requirements: dict[str, Any] | None = None,
    ) -> Cell:
        """Create an actor; if its constructor raises, its parent is told that it exited.

        Args:
            actor_class: The class, or another factory of actors.
            parent: The cell that is told when the actor has exited.
            global_name: If an actor with this name exists, it is returned instead.
            requirements: Ignored, except by bases that have capabilities.
        """
        if global_name is not None and global_name in self._global_names:
            return self._global_names[global_name]
        cell = Cell(next(self._numbers), self, parent)
        try:
            cell.actor = actor = actor_class()
        except BaseException:  # noqa: BLE001 - the parent is told, as Thespian does
            self.post(parent, ChildActorExited(cell), self.system_cell)
            return cell
        actor._myRef = cell  # noqa: SLF001 - how Thespian ties an actor to its system
        children = parent.children
        if children is None:
            parent.children = {cell: None}
        else:
            children[cell] = None
        if global_name is not None:
            cell.globalName = global_name
            self._global_names[global_name] = cell
        return cell

    # ── Delivering ───────────────────────────────────────────────────────────────────────────

    def deliver(self, batch: Iterable[Envelope]) -> None:
        """Deliver messages to their actors, in order."""
        interrupt: BaseException | None = None
        for target, message, sender in batch:
            actor = target.actor
            if actor is None:
                self._dead_letter(target, message)
                continue
            try:
                actor.receiveMessage(message, sender)
            except BaseException as error:  # noqa: BLE001 - no actor may stop the system
                self._poison(target, message, sender, error)
                if is_for_the_program(error):
                    interrupt = error
            if type(message) is ActorExitRequest:
                self._exit(target, recursive=message.isRecursive)
        if interrupt is not None:
            raise interrupt

    def _poison(self, target: Cell, message: Any, sender: Cell, error: BaseException) -> None:
        # A poison message is never answered with another one: two broken actors would do so for
        # ever.
        if not isinstance(message, PoisonMessage) and sender is not self.system_cell:
            details = "".join(traceback.format_exception(error))
            self.post(sender, PoisonMessage(message, details), target)

    def _dead_letter(self, target: Cell, message: Any) -> None:
        if isinstance(message, (WakeupMessage, ChildActorExited, ActorExitRequest)):
            return
        if target.children is _LEFT_QUIETLY:
            return
        self.dead_letters += 1
        handler = self._dead_letter_handler
        if handler is not None and not isinstance(message, DeadEnvelope):
            self.post(handler, DeadEnvelope(target, message), self.system_cell)

    def handle_dead_letters(self, cell: Cell, *, enable: bool) -> None:
        """Make an actor the handler of dead letters, or stop that."""
        if enable:
            self._dead_letter_handler = cell
        elif self._dead_letter_handler is cell:
            self._dead_letter_handler = None

    def _exit(self, cell: Cell, *, recursive: bool) -> None:
        cell.actor = None
        if cell.children and recursive:
            for child in cell.children:
                if getattr(child.actor, "leaves_quietly", False):
                    child.actor, child.children = None, _LEFT_QUIETLY
                else:
                    self.enqueue((child, _EXIT, cell))
        cell.children = None
        if cell.globalName is not None:
            del self._global_names[cell.globalName]
        if self._dead_letter_handler is cell:
            self._dead_letter_handler = None
        parent = cell.parent
        if parent is not None and parent.children is not None:
            parent.children.pop(cell, None)
            if parent.actor is not None:
                self.enqueue((parent, ChildActorExited(cell), self.system_cell))

    # ── Timers ───────────────────────────────────────────────────────────────────────────────

    def wake_after(self, cell: Cell, delay: float | timedelta, payload: Any) -> None:
        """Have a `WakeupMessage` delivered after `delay` seconds."""
        seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
        self._timer_count += 1
        entry = (self.now() + seconds, self._timer_count, cell, WakeupMessage(delay, payload))
        heapq.heappush(self._timers, entry)
        if self._timers[0] is entry:
            self.timer_changed()

    def next_timer(self) -> float | None:
        """Return the time of the earliest timer, or None."""
        return self._timers[0][0] if self._timers else None

    def wakeups_of(self, cell: Cell) -> list[float]:
        """Return the times at which an actor will be woken."""
        return [when for when, _, target, _ in self._timers if target is cell]

    def fire_timers(self) -> None:
        """Queue the wakeups that are due."""
        now = self.now()
        while self._timers and self._timers[0][0] <= now:
            _, _, cell, message = heapq.heappop(self._timers)
            self.post(cell, message, cell)


def kill(cell: Cell) -> None:
    """Remove an actor and its descendants without notifying any other actor."""
    for child in cell.children or ():
        kill(child)
    cell.actor = cell.children = None


def population(cell: Cell) -> int:
    """Return the number of living actors in a cell and below it."""
    below = sum(map(population, cell.children or ()))
    return below + (cell.actor is not None)
