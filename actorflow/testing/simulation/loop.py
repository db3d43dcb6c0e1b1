"""An asyncio event loop in virtual time, for real coroutine steps.

`asyncio.sleep`, `timeout`, `Event`, `Queue`, `gather` and tasks work as usual, and a sleep takes no
real time. Callbacks keep the order that asyncio promises, and each may come before or after any
message to an actor; sleeps that end at the same moment end in the order that the schedule chooses.
There are no threads and there is no I/O: a call that needs
them raises `NotSimulated`, which says what to do instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeVarTuple, Unpack

from actorflow.testing.errors import NotSimulated

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable, Coroutine

    from actorflow.systems.simulated.system import SimulatedSystem
    from actorflow.systems.simulated.timers import Timer

__all__ = ["VirtualLoop"]

_Ts = TypeVarTuple("_Ts")
_MOST_TURNS_AT_THE_END: Final = 100
_OF_THE_REAL_WORLD: Final = (
    "add_reader",
    "add_signal_handler",
    "add_writer",
    "connect_accepted_socket",
    "connect_read_pipe",
    "connect_write_pipe",
    "create_connection",
    "create_datagram_endpoint",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "getaddrinfo",
    "getnameinfo",
    "remove_reader",
    "remove_signal_handler",
    "remove_writer",
    "run_forever",
    "run_in_executor",
    "run_until_complete",
    "sendfile",
    "set_default_executor",
    "sock_accept",
    "sock_connect",
    "sock_recv",
    "sock_recv_into",
    "sock_recvfrom",
    "sock_recvfrom_into",
    "sock_sendall",
    "sock_sendfile",
    "sock_sendto",
    "start_tls",
    "stop",
    "subprocess_exec",
    "subprocess_shell",
)


class _TimerHandle(asyncio.TimerHandle):
    """A callback at a virtual moment."""

    __slots__ = ("timer",)

    timer: Timer


class VirtualLoop(asyncio.AbstractEventLoop):
    """An event loop that runs on the time of a simulated system.

    Args:
        system: The system; it decides when the next callback is made.
    """

    def __init__(self, system: SimulatedSystem) -> None:
        self._system = system
        self._ready: deque[asyncio.Handle] = deque()
        self._running = False
        self._closed = False
        self._task_numbers = itertools.count(1)
        self._thread = threading.get_ident()

    # ── Callbacks ────────────────────────────────────────────────────────────────────────────

    def time(self) -> float:
        """Return the current virtual time."""
        return self._system.time

    def call_soon(
        self,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """Schedule a callback, behind those that are ready."""
        handle = asyncio.Handle(callback, args, self, context)
        self._make_ready(handle)
        return handle

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """Schedule a callback, from the simulation's own thread only.

        A call from another thread would arrive at a moment that the schedule has not chosen.
        """
        if threading.get_ident() != self._thread:
            raise NotSimulated("call_soon_threadsafe")
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Schedule a callback after some virtual seconds."""
        return self.call_at(self._system.time + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Schedule a callback at a virtual moment."""
        handle = _TimerHandle(when, callback, args, self, context)
        handle.timer = self._system.call_at(when, self._make_ready, handle)
        return handle

    def _timer_handle_cancelled(self, handle: _TimerHandle) -> None:
        handle.timer.cancel()

    def _make_ready(self, handle: asyncio.Handle) -> None:
        self._ready.append(handle)
        self._system.call_soon(self._run_next)

    def _run_next(self) -> None:
        """Make the next callback, unless it has been cancelled."""
        if not self._ready:
            return  # the loop has been closed
        handle = self._ready.popleft()
        if handle.cancelled():
            return
        # The caller may simulate from within a running loop.
        around = asyncio._get_running_loop()  # noqa: SLF001 - published for loops
        asyncio._set_running_loop(self)  # noqa: SLF001 - published for loops
        self._running = True
        try:
            handle._run()  # noqa: SLF001 - what loops do with handles
        finally:
            self._running = False
            asyncio._set_running_loop(around)  # noqa: SLF001 - published for loops

    # ── Tasks ────────────────────────────────────────────────────────────────────────────────

    def create_future(self) -> asyncio.Future[Any]:
        """Create a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Any,
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
        **options: Any,
    ) -> asyncio.Task[Any]:
        """Create a task of this loop; an unnamed task gets a name counted by this loop."""
        # asyncio counts the tasks of the whole process, so its names would differ between
        # schedules.
        name = name or f"Task-{next(self._task_numbers)}"
        return asyncio.Task(coro, loop=self, name=name, context=context, **options)

    @property
    def tasks(self) -> int:
        """Number of tasks that have not ended."""
        return len(asyncio.all_tasks(self))

    # ── The rest of asyncio's interface ──────────────────────────────────────────────────────

    def is_running(self) -> bool:
        """Return whether a callback is in progress."""
        return self._running

    def is_closed(self) -> bool:
        """Return whether the loop is closed."""
        return self._closed

    def get_debug(self) -> bool:
        """Return False: there is no debug mode."""
        return False

    def set_debug(self, enabled: bool) -> None:  # noqa: FBT001 - asyncio's signature
        """Do nothing."""

    def get_task_factory(self) -> None:
        """Return None: tasks are `asyncio.Task`."""

    def get_exception_handler(self) -> None:
        """Return None: errors go to asyncio's log."""

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Log an error that would otherwise be lost."""
        logging.getLogger("asyncio").error(context["message"], exc_info=context.get("exception"))

    call_exception_handler = default_exception_handler

    async def shutdown_asyncgens(self) -> None:
        """Do nothing: asynchronous generators are left to the garbage collector."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Do nothing: there is no default executor."""

    def close(self) -> None:
        """Cancel the unfinished tasks and let them clean up, for a limited number of turns."""
        tasks = asyncio.all_tasks(self)
        for task in tasks:
            task.cancel()
        for _ in range(_MOST_TURNS_AT_THE_END):
            for _ in range(len(self._ready)):
                self._run_next()
        self._closed = True
        for task in tasks:
            if not task.done():
                _give_up(task)


def _give_up(task: asyncio.Task[Any]) -> None:
    """Close the coroutine of a task that did not end when cancelled."""
    task._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001 - known
    coroutine = task.get_coro()
    if coroutine is not None:
        # It may refuse to close, or raise any error as it does.
        with contextlib.suppress(Exception):
            coroutine.close()


def _refusing(what: str) -> Callable[..., Coroutine[Any, Any, None]]:
    def refuse(*_args: Any, **_options: Any) -> Coroutine[Any, Any, None]:
        raise NotSimulated(what)

    refuse.__doc__ = "Refuse to touch the real world."
    return refuse


for _name in _OF_THE_REAL_WORLD:
    setattr(VirtualLoop, _name, _refusing(_name))
