"""What goes wrong between sending and delivering, so often, at chosen instants.

A fault is chosen by one number: how many messages that it could strike go by before it does.
A choice at every message would cost a hundred times as many choices, would burn the whole
budget on a run's first messages, and would shrink worse: one number per fault is as plain as
it can be, and nought means that the fault does not happen.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actorflow.systems.delivery import Envelope

__all__ = ["Countdown", "Fault", "Mischief"]

_NOT_DRAWN: Final = -1
_NEVER: Final = 0


class Fault(enum.StrEnum):
    """What may become of a message instead of its being delivered."""

    CRASH = "crash"
    """The receiver dies, with its children, and the message with it; its parent is told."""
    POISON = "poison"
    """The receiver's handler raises: the message goes back to its sender, the receiver lives."""
    DUPLICATE = "duplicate"
    """It is delivered, and once more after what its sender has sent meanwhile."""
    DELAY = "delay"
    """It is withheld for some deliveries, and what its sender sends after it waits as well."""
    REORDER = "reorder"
    """What its sender sent next comes first; no actor system that is worth its name does so."""


class Countdown:
    """Decides when a fault happens that may happen so many times.

    Args:
        choose: Chooses.
        label: What the choice is called.
        budget: How many times it may happen.
        span: Says how many occasions go by at most, from the start or from the time before;
            asked when the first of them is there.
    """

    __slots__ = ("_budget", "_choose", "_label", "_left", "_span")

    def __init__(
        self,
        choose: Callable[[int, str], int],
        label: str,
        budget: int,
        span: Callable[[], int],
    ) -> None:
        self._choose = choose
        self._label = label
        self._budget = budget
        self._span = span
        self._left = _NOT_DRAWN if budget else _NEVER

    @property
    def over(self) -> bool:
        """Whether the fault will not happen any more."""
        return self._left == _NEVER

    def due(self) -> bool:
        """Take note of an occasion, and return whether this is the one."""
        if self._left == _NEVER:
            return False
        if self._left == _NOT_DRAWN:
            # Counted from 1, after the choice that it never happens.
            self._left = self._choose(1 + max(1, self._span()), self._label)
            if self._left == _NEVER:
                return False
        self._left -= 1
        if self._left:
            return False
        self._budget -= 1
        self._left = _NOT_DRAWN if self._budget else _NEVER
        return True


class Mischief:
    """Decides which messages are struck by which fault.

    Args:
        countdowns: Decide when; a fault that is not named never strikes.
        may_strike: Says whether a fault can strike a message at all.
    """

    def __init__(
        self,
        countdowns: Mapping[Fault, Countdown],
        may_strike: Callable[[Fault, Envelope], bool],
    ) -> None:
        self._may_strike = may_strike
        self._countdowns = [(fault, one) for fault, one in countdowns.items() if not one.over]

    def strike(self, envelope: Envelope) -> Fault | None:
        """Return what becomes of a message that is about to be delivered."""
        for fault, countdown in self._countdowns:
            if not countdown.over and self._may_strike(fault, envelope) and countdown.due():
                return fault
        return None
