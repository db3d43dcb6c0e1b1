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
        return self._started.result()

    def call(self, coroutine: Coroutine[Any, Any, _T], timeout: float | None = None) -> _T:
        """Run a coroutine on the loop, and wait for its result.

        Raises:
            TimeoutError: When it has not ended within `timeout` seconds.
        """
        return asyncio.run_coroutine_threadsafe(coroutine, self._started.result()).result(timeout)

    def end(self) -> None:
        """Stop the loop, and cancel what is left on it; from any thread, and at any time."""
        # Whoever was interrupted while he started it need not know how far that has come.
        self._started.add_done_callback(self._end)

    def _end(self, started: concurrent.futures.Future[asyncio.AbstractEventLoop]) -> None:
        if started.exception() is None:
            with contextlib.suppress(RuntimeError):  # it has stopped already
                started.result().call_soon_threadsafe(self._over.set)

    @property
    def is_current(self) -> bool:
        """Whether the caller is on this thread."""
        return self._thread is threading.current_thread()

    def stop(self, timeout: float) -> str | None:
        """End the loop and wait for its thread; from any other thread.

        Returns what is left when the thread has not ended within `timeout` seconds.
        """
        self.end()
        return None if self.join(timeout) else self._left()

    def join(self, timeout: float) -> bool:
        """Wait for the thread, and return whether it has ended within `timeout` seconds."""
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _left(self) -> str:
        names = sorted(task.get_name() for task in asyncio.all_tasks(self._started.result()))
        return f"the event loop's thread has not ended; on it are left: {', '.join(names) or '-'}"

    def _run(self) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._stay())
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)  # not even a loop could be made

    async def _stay(self) -> None:
        self._over = asyncio.Event()
        self._started.set_result(asyncio.get_running_loop())
        await self._over.wait()
