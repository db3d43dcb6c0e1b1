"""Talking to actors from outside of their system: `tell`, `ask` and `listen`.

Thespian gives a program one address from which it tells and asks. Threads that ask at the same
time get each other's answers there, and an answer that comes too late for its `ask` is handed
to the next one. Here every thread has an address of its own, and so has every `ask`:

* An `ask` returns what is sent to its own address, or to its thread's: an actor that was told
  something earlier may answer, as Thespian promises. It never returns the answer to another
  `ask`, of whatever thread.
* What comes for an `ask` that has returned already, late or as a second answer, is kept for
  `listen`; of more than a thousand such messages the oldest are dropped.
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
"""What has arrived outside: the number of an ask, and what was sent to its address."""

OVER: Final = (-1, None)
"""The last thing that arrives: the system has ended."""
_NONE: Final = 0
"""The number of no ask: what is sent to a thread's own address."""
_KEPT: Final = 1_000


class _Mailbox(Actor):
    """Stands in for an actor at an address outside."""

    def __init__(self, arrivals: Arrivals, ask: int) -> None:
        super().__init__()
        self._arrivals = arrivals
        self._ask = ask

    def receiveMessage(self, message: Any, _sender: Cell) -> None:  # noqa: N802
        if not isInternalActorSystemMessage(message):
            self._arrivals.put((self._ask, message))


class OutsideAddress(Cell):
    """An address outside of the system; those of one `Outside` are equal."""

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
    """A place outside of a system, for one thread at a time; what `private()` gives.

    Args:
        system: The system whose actors are talked to.
    """

    def __init__(self, system: StandaloneSystem) -> None:
        self._system = system
        self._arrivals: Arrivals = queue.SimpleQueue()
        self._kept: deque[tuple[int, Any]] = deque(maxlen=_KEPT)
        self._asks = itertools.count(_NONE + 1)
        self._number = system.admit(self._arrivals)
        self._address = self._open(_NONE)

    def _open(self, ask: int) -> OutsideAddress:
        return OutsideAddress(self._number, self._system, self._arrivals, ask)

    def newPrimaryActor(self, *arguments: Any) -> Cell:  # noqa: N802
        """Make an actor that belongs to the system itself.

        Raises:
            Exception: What the actor's constructor raises, or why there can be no such actor.
        """
        if self._system.is_current():
            return self._system.create_primary(*arguments)
        ask = next(self._asks)
        self._system.call(self._create, ask, arguments)
        made = self._next({ask}, None)
        if made is None:
            raise ActorSystemFailure("The system ended before it had made the actor.")
        address, error = made
        if error is not None:
            raise error
        return cast("Cell", address)

    def _create(self, ask: int, arguments: tuple[Any, ...]) -> None:
        try:
            self._arrivals.put((ask, (self._system.create_primary(*arguments), None)))
        except Exception as error:  # noqa: BLE001 - it is raised where the actor is wanted
            self._arrivals.put((ask, (None, error)))

    def tell(self, target: ActorAddress, message: Any) -> None:
        """Send a message; an answer is for `listen`, or for the next `ask`."""
        self._system.submit(target, message, self._address)

    def ask(self, target: ActorAddress, message: Any, timeout: Duration | None = None) -> Any:
        """Send a message and return the answer, or None if there is none in time.

        Args:
            target: Whom to ask.
            message: What to ask.
            timeout: Seconds to wait at most; without one it may be for ever.

        Raises:
            ActorSystemFailure: When an actor asks, which would wait for itself, or when the
                system has ended.
        """
        self._check_may_wait()
        ask = next(self._asks)
        self._system.submit(target, message, self._open(ask))
        return self._next({_NONE, ask}, timeout)

    def listen(self, timeout: Duration | None = None) -> Any:
        """Return the next message that no `ask` has returned, or None if none comes in time."""
        self._check_may_wait()
        return self._next(None, timeout)

    def exit_context(self) -> None:
        """Leave: what is sent here from now on is a dead letter."""
        self._address.actor = None

    def _check_may_wait(self) -> None:
        if self._system.is_current():
            raise ActorSystemFailure(
                "An actor asks or listens from outside, and would wait for itself for ever. "
                "Send the message instead, and take the answer in receiveMessage."
            )

    def _next(self, wanted: Container[int] | None, timeout: Duration | None) -> Any:
        """Return what comes next for one of the asks that are wanted, or for any."""
        for position, (ask, message) in enumerate(self._kept):
            if wanted is None or ask in wanted:
                del self._kept[position]
                return message
        deadline = None if timeout is None else self._system.now() + as_seconds(timeout)
        while (arrived := self._arrive(deadline)) is not None:
            ask, message = arrived
            if wanted is None or ask in wanted:
                return message
            self._kept.append(arrived)
        return None

    def _arrive(self, deadline: float | None) -> tuple[int, Any] | None:
        left = None if deadline is None else max(0.0, deadline - self._system.now())
        try:
            arrived = self._arrivals.get(timeout=left)
        except queue.Empty:
            return None
        if arrived is OVER:
            self._arrivals.put(OVER)  # for whoever waits next
            return None
        return arrived
