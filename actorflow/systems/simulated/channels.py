"""The channels of a simulated system: where messages wait, and where faults strike them.

There is one channel for each sender and receiver, and each keeps its order. The system decides
which channel delivers next.
"""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING, Any, Final

from actorflow.systems.delivery import Cell, Delivery, Envelope
from actorflow.systems.simulated.mischief import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorflow.systems.simulated.mischief import Mischief

    _Channel = tuple[Cell, Cell]
    _Entry = tuple[int, Envelope, _Channel]
    """The count of messages when it was sent; the message; and its channel."""

__all__ = ["Channels"]

_LONGEST_DELAY: Final = 8


class Channels(Delivery):
    """The part of a simulated system that keeps messages.

    Args:
        choose: Takes the number of options and the name of the choice; returns an index.
    """

    def __init__(self, choose: Callable[[int, str], int]) -> None:
        super().__init__(self._enqueue)
        self.time: float = 0.0
        """The virtual time, in seconds."""
        self.deliveries: list[tuple[float, Envelope]] = []
        """The messages delivered so far, and when."""
        self.faults: list[tuple[int, float, Fault, Envelope]] = []
        """The faults so far: after how many deliveries, when, which, and on which message."""
        self._choose = choose
        self._sent = 0
        self._heads: list[_Entry] = []
        """The first message of every channel that has any, oldest first."""
        self._behind: dict[_Channel, list[_Entry]] = {}
        """The messages behind those, by channel."""
        self._withheld: list[tuple[int, _Entry]] = []
        """Delayed messages, with the number of deliveries at which they are released."""
        self._unannounced: list[Envelope] = []
        """Messages for which nothing has scheduled a delivery."""

    # ── Sending ──────────────────────────────────────────────────────────────────────────────

    def post(self, target: Cell, message: Any, sender: Cell) -> None:
        """Queue a message, to be chosen later."""
        if self._unannounced:
            self.announce()
        self._enqueue((target, message, sender))

    def _enqueue(self, envelope: Envelope) -> None:
        channel = (envelope[0], envelope[2])
        self._sent = sent = self._sent + 1
        queues = self._behind
        if channel in queues:
            queues[channel].append((sent, envelope, channel))
        else:
            queues[channel] = []
            self._heads.append((sent, envelope, channel))

    def leave(self, target: Cell, message: Any, sender: Cell) -> None:
        """Queue a message without scheduling a delivery, as a callback may that delivers next.

        It is delivered with the other messages that wait, or once `announce` is called. If neither
        happens, it never arrives: in production the loop would not be woken.
        """
        if self._heads:
            self._enqueue((target, message, sender))
        else:
            self._unannounced.append((target, message, sender))

    def announce(self) -> None:
        """Schedule a delivery of the messages that were left."""
        for envelope in self._unannounced:
            self._enqueue(envelope)
        self._unannounced.clear()

    # ── What waits ───────────────────────────────────────────────────────────────────────────

    @property
    def offered(self) -> list[Envelope]:
        """The messages that can be delivered next, oldest first, as offered to a choice."""
        return [envelope for _, envelope, _ in self._heads]

    @property
    def channels(self) -> list[_Channel]:
        """The channel of each offered message: its receiver and sender, in the same order."""
        return [channel for _, _, channel in self._heads]

    @property
    def queue(self) -> list[Envelope]:
        """The messages that wait in channels, oldest first."""
        entries = [*self._heads, *(one for behind in self._behind.values() for one in behind)]
        return [envelope for _, envelope, _ in sorted(entries)]

    @property
    def waiting(self) -> int:
        """The number of messages that have not been delivered."""
        behind = sum(len(entries) for entries in self._behind.values())
        return len(self._heads) + len(self._withheld) + len(self._unannounced) + behind

    @property
    def unannounced(self) -> int:
        """The number of messages whose delivery nothing has scheduled."""
        return len(self._unannounced)

    # ── Faults ───────────────────────────────────────────────────────────────────────────────

    def _struck(self, mischief: Mischief, index: int) -> bool:
        """Have a fault strike a message; return whether the message must not be delivered now."""
        entry = self._heads[index]
        envelope = entry[1]
        fault = mischief.strike(envelope)
        if fault is None:
            return False
        self.faults.append((len(self.deliveries), self.time, fault, envelope))
        if fault is Fault.DUPLICATE:
            self._enqueue(envelope)
            return False
        del self._heads[index]
        if fault is Fault.DELAY:
            self._withhold(entry)
        elif fault is Fault.REORDER:
            self._swap_with_next(entry)
        else:
            self._offer_next(entry[2])
            self._apply_fault(fault, envelope)
        return True

    def _offer_next(self, channel: _Channel) -> None:
        """Offer the next message of a channel whose first message was removed."""
        behind = self._behind[channel]
        if behind:
            insort(self._heads, behind.pop(0))
        else:
            del self._behind[channel]

    def _apply_fault(self, fault: Fault, envelope: Envelope) -> None:
        target, message, sender = envelope
        if fault is Fault.CRASH:
            self._exit(target, recursive=True)
        else:
            error = RuntimeError("the schedule has this handler raise")
            self._poison(target, message, sender, error)

    def _withhold(self, entry: _Entry) -> None:
        """Withhold a message for some deliveries; its channel stands still until then."""
        deliveries = 1 + self._choose(_LONGEST_DELAY, "withhold")
        insort(self._withheld, (len(self.deliveries) + deliveries, entry))

    def _release(self, deliveries: int) -> None:
        """Offer the messages that were withheld for long enough."""
        withheld = self._withheld
        while withheld and withheld[0][0] <= deliveries:
            insort(self._heads, withheld.pop(0)[1])

    def _swap_with_next(self, entry: _Entry) -> None:
        """Swap a message with the next one in its channel, if there is one."""
        behind = self._behind[entry[2]]
        if behind:
            following = behind[0]
            behind[0] = entry
            entry = following
        insort(self._heads, entry)
