"""Calls at virtual moments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CALLS", "TIME", "Timer"]

CALLS: Final = "calls"
"""What may happen although messages wait: calls that were put off are made."""
TIME: Final = "time"
"""The same: the next timer fires."""


class Timer:
    """A call at a virtual moment, which can be cancelled."""

    __slots__ = ("_arguments", "_function")

    def __init__(self, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self._function: Callable[..., object] | None = function
        self._arguments = arguments

    @property
    def cancelled(self) -> bool:
        """Whether nothing will come of it any more."""
        return self._function is None

    def cancel(self) -> None:
        """Forget the call; once it has been made this does nothing."""
        self._function, self._arguments = None, ()

    def ring(self) -> None:
        """Make the call."""
        function, arguments = self._function, self._arguments
        self.cancel()
        if function is not None:
            function(*arguments)
