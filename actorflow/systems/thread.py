"""An event loop on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from actorflow.errors.definition import OrchestratorClosed
from actorflow.support.oneshot import Once

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable, Coroutine

__all__ = ["LoopThread"]

_T = TypeVar("_T")


class LoopThread:
    """Runs an event loop until it is told to stop, then leaves nothing of it behind."""

    def __init__(self) -> None:
        self._loop: Once[asyncio.AbstractEventLoop] = Once()
        # Held while the loop is told something, so that it is not being closed meanwhile: to wake
        # it then would write into a closed socket, which ends a program that has not left
        # SIGPIPE ignored. Reentrant, because a signal handler may call `end` within `end`.
        self._open = threading.RLock()
        self._closing = False
        # A daemon, so that a program that forgets to shut down can still exit.
        self._thread = threading.Thread(target=self._run, name="actorflow", daemon=True)

    def start(self) -> asyncio.AbstractEventLoop:
        """Start the loop and return it."""
        self._thread.start()
        return self._loop.result()

    def call(self, make: Callable[[asyncio.AbstractEventLoop], Coroutine[Any, Any, _T]]) -> _T:
        """Run a coroutine on the loop, made there and given the loop; return its result."""
        loop, outcome = self._loop.result(), Once[_T]()

        async def run() -> None:
            try:
                outcome.set(await make(loop))
            except BaseException as error:  # noqa: BLE001 - for whoever waits, not for the loop
                outcome.fail(error)

        def begin() -> None:
            self._call = loop.create_task(run(), name="actorflow start")
            # For one that is cancelled before it begins.
            self._call.add_done_callback(
                lambda _call: outcome.fail(OrchestratorClosed("finish its start"))
            )

        loop.call_soon_threadsafe(begin)
        return outcome.result()

    def end(self) -> None:
        """Stop the loop, and cancel what is left on it; from any thread, and at any time."""
        # Whoever was interrupted while he started it need not know how far that has come.
        self._loop.when_done(self._end)

    def _end(self) -> None:
        if self._loop.error is None:
            self.soon(self._over.set)

    def soon(
        self,
        function: Callable[..., object],
        *arguments: Any,
        context: contextvars.Context | None = None,
    ) -> bool:
        """Have something done on the loop, unless that is being closed; return whether it will be.

        It may be called from any thread, once the loop has been started.
        """
        with self._open:
            if self._closing:
                return False
            self._loop.result().call_soon_threadsafe(function, *arguments, context=context)
            return True

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
        names = sorted(task.get_name() for task in asyncio.all_tasks(self._loop.result()))
        return f"the event loop's thread has not ended; on it are left: {', '.join(names) or '-'}"

    def _run(self) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._stay())
        except BaseException as error:
            if self._loop.done:
                raise
            self._loop.fail(error)  # not even a loop could be made

    async def _stay(self) -> None:
        self._over = asyncio.Event()
        self._loop.set(asyncio.get_running_loop())
        try:
            await self._over.wait()
        finally:
            with self._open:
                self._closing = True
