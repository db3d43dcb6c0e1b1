"""A bell that interrupts a thread which waits for a socket."""

from __future__ import annotations

import contextlib
import selectors
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Bell"]

_MANY: Final = 4096


class Bell:
    """Rung from any thread, it ends the wait of the one thread that uses the other methods."""

    def __init__(self) -> None:
        """Open two sockets.

        Raises:
            OSError: When the process has too many files open.
        """
        self._selector = selectors.DefaultSelector()
        try:
            self._inside, self._outside = socket.socketpair()
        except OSError:
            self._selector.close()
            raise
        for end in (self._inside, self._outside):
            end.settimeout(0)
        self._selector.register(self._inside, selectors.EVENT_READ)

    def ring(self) -> None:
        """End the present wait or the next one."""
        with contextlib.suppress(OSError):  # it has been rung often already, or is closed
            self._outside.send(b".")

    @contextlib.contextmanager
    def beside(self, descriptor: int, events: int = selectors.EVENT_READ) -> Iterator[None]:
        """Let `wait` wait for a descriptor as well within the block."""
        self._selector.register(descriptor, events)
        try:
            yield
        finally:
            self._selector.unregister(descriptor)

    def wait(self, seconds: float | None) -> bool:
        """Wait until the bell or the descriptor is ready; return whether the descriptor is."""
        ready = [key.fileobj for key, _ in self._selector.select(seconds)]
        if self._inside in ready:
            with contextlib.suppress(OSError):
                self._inside.recv(_MANY)
        return any(it is not self._inside for it in ready)

    def close(self) -> None:
        """Release the sockets."""
        self._selector.close()
        self._inside.close()
        self._outside.close()
