"""Talking to actors from outside their system: `tell`, `ask` and `listen`.

Thespian gives a program a single address to tell and ask from. Threads that ask at the same time
receive each other's answers there, and an answer that is too late for its `ask` is returned by the
next one. Here, every thread has its own address, and so has every `ask`:

* An `ask` returns a message sent to its own address or to its thread's: an actor that was told
  something earlier may answer, as Thespian promises. It never returns the answer to another `ask`,
  of any thread.
* A message for an `ask` that has already returned, because it is late or a second answer, is kept
  for `listen`; of more than a thousand such messages the oldest are dropped.
* To actors, all addresses of one thread are equal, so that they recognise who talks to them.
"""

from __future__ import annotations

import itertools
import queue
from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast

from thespian.actors import Actor, ActorSystemFailure
from thespian.system import isInternalActorSystemMessage

from actorflow.definition.durations import as_seconds
from actorflow.systems.delivery import Cell

if TYPE_CHECKING:
    from collections.abc import Container

    from thespian.actors import ActorAddress

    from actorflow.definition.durations import Duration
    from actorflow.systems.standalone.system import StandaloneSystem

__all__ = ["OVER", "Arrivals", "Outside", "OutsideAddress"]

Arrivals = queue.SimpleQueue[tuple[int, Any]]
"""What has arrived outside: the number of an ask, and the message sent to its address."""

OVER: Final = (-1, None)
"""The last arrival: the system has ended."""
_NO_ASK: Final = 0
"""The number of a thread's own address, which belongs to no ask."""
_MAX_KEPT: Final = 1_000


class _Mailbox(Actor):
    """The stand-in for an actor at an outside address."""

    def __init__(self, arrivals: Arrivals, ask: int) -> None:
        super().__init__()
        self._arrivals = arrivals
        self._ask = ask

    def receiveMessage(self, message: Any, _sender: Cell) -> None:  # noqa: N802
        if not isInternalActorSystemMessage(message):
            self._arrivals.put((self._ask, message))


class OutsideAddress(Cell):
    """An address outside the system; the addresses of one `Outside` are equal."""

    __slots__ = ("_arrivals",)

    def __init__(self, number: int, system: StandaloneSystem, arrivals: Arrivals, ask: int) -> None:
        super().__init__(number, system, None)
        self._arrivals = arrivals
        self.actor: Any = _Mailbox(arrivals, ask)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OutsideAddress) and other._arrivals is self._arrivals

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._arrivals)

    @property
    def _aaddr(self) -> str:
        return f"/outside/{self._number}"


class Outside:
    """A place outside a system, for one thread at a time; `private()` returns one.

    Args:
        system: The system whose actors it talks to.
    """

    def __init__(self, system: StandaloneSystem) -> None:
        self._system = system
        self._arrivals: Arrivals = queue.SimpleQueue()
        self._kept: deque[tuple[int, Any]] = deque(maxlen=_MAX_KEPT)
        self._asks = itertools.count(_NO_ASK + 1)
        self._number = system.admit(self._arrivals)
        self._address = self._open(_NO_ASK)

    def _open(self, ask: int) -> OutsideAddress:
        return OutsideAddress(self._number, self._system, self._arrivals, ask)

    def newPrimaryActor(self, *arguments: Any) -> Cell:  # noqa: N802
        """Create an actor that belongs to the system itself.

        Raises:
            Exception: When the actor's constructor raises, or there can be no such actor.
        """
        if self._system.is_current():
            return self._system.create_primary(*arguments)
        ask = next(self._asks)
        self._system.call(self._create, ask, arguments)
        made = self._next({ask}, None)
        if made is None:
            raise ActorSystemFailure("The system ended before it had created the actor.")
        address, error = made
        if error is not None:
            raise error
        return cast("Cell", address)

    def _create(self, ask: int, arguments: tuple[Any, ...]) -> None:
        try:
            self._arrivals.put((ask, (self._system.create_primary(*arguments), None)))
        except Exception as error:  # noqa: BLE001 - raised again by the caller
            self._arrivals.put((ask, (None, error)))

    def tell(self, target: ActorAddress, message: Any) -> None:
        """Send a message; an answer goes to `listen` or to the next `ask`."""
        self._system.submit(target, message, self._address)

    def ask(self, target: ActorAddress, message: Any, timeout: Duration | None = None) -> Any:
        """Send a message and return the answer, or None if none arrives in time.

        Args:
            target: The actor.
            message: The message.
            timeout: The maximum number of seconds to wait; by default there is no limit.

        Raises:
            ActorSystemFailure: When called by an actor, which would wait for itself, or after the
                system has ended.
        """
        self._check_may_wait()
        ask = next(self._asks)
        self._system.submit(target, message, self._open(ask))
        return self._next({_NO_ASK, ask}, timeout)

    def listen(self, timeout: Duration | None = None) -> Any:
        """Return the next message that no `ask` has returned, or None if none arrives in time."""
        self._check_may_wait()
        return self._next(None, timeout)

    def exit_context(self) -> None:
        """Leave: messages sent to this place are dead letters from now on."""
        self._address.actor = None

    def _check_may_wait(self) -> None:
        if self._system.is_current():
            raise ActorSystemFailure(
                "An actor that asks or listens from outside would wait for itself for ever. "
                "Send the message instead, and handle the answer in receiveMessage."
            )

    def _next(self, wanted: Container[int] | None, timeout: Duration | None) -> Any:
        """Return the next message for one of the wanted asks, or for any if `wanted` is None."""
        for position, (ask, message) in enumerate(self._kept):
            if wanted is None or ask in wanted:
                del self._kept[position]
                return message
        deadline = None if timeout is None else self._system.now() + as_seconds(timeout)
        while (arrived := self._next_arrival(deadline)) is not None:
            ask, message = arrived
            if wanted is None or ask in wanted:
                return message
            self._kept.append(arrived)
        return None

    def _next_arrival(self, deadline: float | None) -> tuple[int, Any] | None:
        left = None if deadline is None else max(0.0, deadline - self._system.now())
        try:
            arrived = self._arrivals.get(timeout=left)
        except queue.Empty:
            return None
        if arrived is OVER:
            self._arrivals.put(OVER)  # for the next caller
            return None
        return arrived
