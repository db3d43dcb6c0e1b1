"""An event loop on a thread of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["LoopThread"]

_T = TypeVar("_T")


class LoopThread:
    """Runs an event loop until it is told to stop, then leaves nothing of it behind."""

    def __init__(self) -> None:
        self._started: concurrent.futures.Future[asyncio.AbstractEventLoop] = (
            concurrent.futures.Future()
        )
        # A daemon, so that a program that forgets to shut down can still exit.
        self._thread = threading.Thread(target=self._run, name="actorflow", daemon=True)

    def start(self) -> asyncio.AbstractEventLoop:
        """Start the loop and return it."""
        self._thread.start()
        self.loop = self._started.result()
        return self.loop

    def call(self, coroutine: Coroutine[Any, Any, _T], timeout: float | None = None) -> _T:
        """Run a coroutine on the loop, and wait for its result.

        Raises:
            TimeoutError: When it has not ended within `timeout` seconds.
        """
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)

    def is_current(self) -> bool:
        """Return whether the calling thread is the loop's own."""
        return self._thread is threading.current_thread()

    def stop(self, timeout: float) -> bool:
        """Stop the loop, cancel what is left on it, and wait for the thread.

        Returns whether the thread has ended within `timeout` seconds.
        """
        with contextlib.suppress(RuntimeError):  # it has stopped already
            self.loop.call_soon_threadsafe(self._over.set)
        return self.join(timeout)

    def join(self, timeout: float) -> bool:
        """Wait for the thread, and return whether it has ended within `timeout` seconds."""
        if not self.is_current():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        asyncio.run(self._stay())

    async def _stay(self) -> None:
        self._over = asyncio.Event()
        self._started.set_result(asyncio.get_running_loop())
        await self._over.wait()
