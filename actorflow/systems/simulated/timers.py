"""Timers of virtual time, and how rare a jump to a far one is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NEAR", "Timer", "rarity"]

NEAR: Final = 5.0
"""Seconds. Jumps up to this length are as likely as any other option."""
_RARER: Final = 20
"""By how many blanks a jump of twice that length is diluted."""
_RAREST: Final = 2_000
"""The largest dilution, so that every deadline stays within reach."""


def rarity(seconds: float) -> int:
    """Return the number of blank options that dilute a jump of time while messages wait.

    A jump is one option among the others and the blanks, and a blank that is drawn counts as one of
    the others. The number of blanks is proportional to the length of the jump.
    """
    return int(min(_RAREST, (seconds / NEAR - 1.0) * _RARER)) if seconds > NEAR else 0


class Timer:
    """A call scheduled for a virtual time, which can be cancelled."""

    __slots__ = ("_arguments", "_function")

    def __init__(self, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self._function: Callable[..., object] | None = function
        self._arguments = arguments

    def __str__(self) -> str:
        name = getattr(self._function, "__qualname__", None)
        return f"{name} {', '.join(map(str, self._arguments[:1]))}"

    @property
    def cancelled(self) -> bool:
        """Whether the call was cancelled or made."""
        return self._function is None

    def cancel(self) -> None:
        """Drop the call; does nothing after it was made."""
        self._function, self._arguments = None, ()

    def ring(self) -> None:
        """Make the call."""
        function, arguments = self._function, self._arguments
        self.cancel()
        if function is not None:
            function(*arguments)
