"""An event loop on its own thread."""

from __future__ import annotations

import asyncio
import contextlib
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
    """Runs an event loop until it is told to stop, and then leaves nothing of it behind."""

    def __init__(self) -> None:
        self._loop: Once[asyncio.AbstractEventLoop] = Once()
        # Held while the loop is called, so that it is not closed at the same time: waking it would
        # then write to a closed socket, and the SIGPIPE would end any program that does not ignore
        # it. Reentrant, because a signal handler may call `end` within `end`.
        self._open = threading.RLock()
        self._closing = False
        # A daemon thread, so that a program that forgets the shutdown can still exit.
        self._thread = threading.Thread(target=self._run, name="actorflow", daemon=True)

    def start(self) -> asyncio.AbstractEventLoop:
        """Start the loop and return it."""
        self._thread.start()
        return self._loop.result()

    def call(self, make: Callable[[asyncio.AbstractEventLoop], Coroutine[Any, Any, _T]]) -> _T:
        """Call `make` with the loop, on the loop, and run the coroutine; return its result."""
        loop, outcome = self._loop.result(), Once[_T]()

        async def run() -> None:
            try:
                outcome.set(await make(loop))
            except BaseException as error:  # noqa: BLE001 - for the caller, not for the loop
                outcome.fail(error)

        def begin() -> None:
            self._call = loop.create_task(run(), name="actorflow start")
            # If the task is cancelled before it starts.
            self._call.add_done_callback(
                lambda _call: outcome.fail(OrchestratorClosed("finish its start"))
            )

        loop.call_soon_threadsafe(begin)
        return outcome.result()

    def end(self) -> None:
        """Stop the loop and cancel the tasks left on it; callable from any thread at any time."""
        # A caller that was interrupted during the start cannot know how far it has come.
        self._loop.when_done(self._end)

    def _end(self) -> None:
        if self._loop.error is None:
            self.soon(self._end_requested.set)

    def soon(
        self,
        function: Callable[..., object],
        *arguments: Any,
        context: contextvars.Context | None = None,
    ) -> bool:
        """Schedule a call on the loop; return False if the loop is being closed.

        It may be called from any thread after the loop has been started.
        """
        with self._open:
            if self._closing:
                return False
            self._loop.result().call_soon_threadsafe(function, *arguments, context=context)
            return True

    @property
    def is_current(self) -> bool:
        """Whether the caller runs on this thread."""
        return self._thread is threading.current_thread()

    def stop(self, timeout: float) -> str | None:
        """End the loop and wait for its thread; from any other thread.

        Returns a description of what is left if the thread has not ended within `timeout` seconds.
        """
        self.end()
        return None if self.join(timeout) else self._remaining_tasks()

    def join(self, timeout: float) -> bool:
        """Wait for the thread; return whether it has ended within `timeout` seconds."""
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _remaining_tasks(self) -> str:
        names = sorted(task.get_name() for task in asyncio.all_tasks(self._loop.result()))
        return f"the event loop's thread has not ended; tasks left on it: {', '.join(names) or '-'}"

    def _run(self) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._run_until_end())
        except BaseException as error:
            if self._loop.done:
                raise
            self._loop.fail(error)  # the loop could not be created

    async def _run_until_end(self) -> None:
        self._end_requested = asyncio.Event()
        self._loop.set(asyncio.get_running_loop())
        try:
            while not self._end_requested.is_set():
                # A step may cancel all tasks of its loop; that must not end the loop.
                with contextlib.suppress(asyncio.CancelledError):
                    await self._end_requested.wait()
        finally:
            with self._open:
                self._closing = True
