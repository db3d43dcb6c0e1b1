"""Faults between sending and delivering, at chosen moments and a limited number of times.

A fault is chosen by one number: how many messages that it could strike pass before it does. A
choice at every message would need a hundred times as many choices, would use up the whole budget on
a run's first messages, and would shrink worse. One number per fault is as simple as possible, and 0
means that the fault does not happen.
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
    """What may happen to a message instead of its delivery."""

    CRASH = "crash"
    """The receiver dies with its children, and the message is lost; its parent is told."""
    POISON = "poison"
    """The receiver's handler raises: the message goes back to its sender, the receiver lives."""
    DUPLICATE = "duplicate"
    """It is delivered, and again after the messages that its sender has sent since."""
    DELAY = "delay"
    """It is withheld for some deliveries, and later messages of its sender wait as well."""
    REORDER = "reorder"
    """The sender's next message comes first, which a sound actor system never allows."""


class Countdown:
    """Decides when a fault happens that may happen a limited number of times.

    Args:
        choose: Makes the choice.
        label: The name of the choice.
        budget: How many times the fault may happen.
        span: Returns how many occasions may pass at most since the start or the previous fault;
            called at the first of these occasions.
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
        """Whether the fault will not happen again."""
        return self._left == _NEVER

    def due(self) -> bool:
        """Count an occasion, and return whether the fault happens now."""
        if self._left == _NEVER:
            return False
        if self._left == _NOT_DRAWN:
            # Counted from 1, because 0 means that the fault never happens.
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
    """Decides which fault, if any, strikes a message.

    Args:
        countdowns: Decide when; a fault that is not listed never happens.
        may_strike: Returns whether a fault can strike a message at all.
    """

    def __init__(
        self,
        countdowns: Mapping[Fault, Countdown],
        may_strike: Callable[[Fault, Envelope], bool],
    ) -> None:
        self._may_strike = may_strike
        self._countdowns = [(fault, one) for fault, one in countdowns.items() if not one.over]

    def strike(self, envelope: Envelope) -> Fault | None:
        """Return the fault that strikes a message about to be delivered, if any."""
        for fault, countdown in self._countdowns:
            if not countdown.over and self._may_strike(fault, envelope) and countdown.due():
                return fault
        return None
