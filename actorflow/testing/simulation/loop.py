"""An asyncio event loop in virtual time, for coroutine steps that are run for real.

`asyncio.sleep`, `timeout`, `Event`, `Queue`, `gather` and tasks work as they do elsewhere, and
a sleep takes no time. Callbacks keep the order that asyncio promises; sleeps that end at the
same moment end in the order that the schedule chooses. There are no threads, and there is no
I/O: whoever asks for them is told what to do instead.
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

    from actorflow.systems.simulated.system import SimulatedSystem, Timer

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
    """An event loop whose time is a simulated system's.

    Args:
        system: The system; its timers turn the loop.
    """

    def __init__(self, system: SimulatedSystem) -> None:
        self._system = system
        self._ready: deque[asyncio.Handle] = deque()
        self._ahead: Timer | None = None
        self._turning = False
        self._closed = False
        self._task_numbers = itertools.count(1)
        self._thread = threading.get_ident()

    # ── Callbacks ────────────────────────────────────────────────────────────────────────────

    def time(self) -> float:
        """Return the virtual moment."""
        return self._system.time

    def call_soon(
        self,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """Call in the loop's next turn."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        self._turn_soon()
        return handle

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """Call in the loop's next turn, if it is asked for on the simulation's own thread.

        Another thread would come at a moment that nobody has chosen, and into the midst of things.
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
        """Call after virtual seconds."""
        return self.call_at(self._system.time + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call at a virtual moment."""
        handle = _TimerHandle(when, callback, args, self, context)
        handle.timer = self._system.call_at(when, self._due, handle)
        return handle

    def _timer_handle_cancelled(self, handle: _TimerHandle) -> None:
        handle.timer.cancel()

    def _due(self, handle: asyncio.Handle) -> None:
        self._ready.append(handle)
        self.turn()

    def _turn_soon(self) -> None:
        if self._ahead is None and not self._turning and not self._closed:
            self._ahead = self._system.call_at(self._system.time, self.turn)

    def turn(self) -> None:
        """Go round once: call what is ready now, and not what becomes ready meanwhile."""
        if self._ahead is not None:
            self._ahead.cancel()
            self._ahead = None
        # Somebody may simulate from within a running loop of their own.
        around = asyncio._get_running_loop()  # noqa: SLF001 - published for loops
        asyncio._set_running_loop(self)  # noqa: SLF001 - published for loops
        self._turning = True
        try:
            for _ in range(len(self._ready)):
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()  # noqa: SLF001 - what loops do with handles
        finally:
            self._turning = False
            asyncio._set_running_loop(around)  # noqa: SLF001 - published for loops
            if self._ready:
                self._turn_soon()

    # ── Tasks ────────────────────────────────────────────────────────────────────────────────

    def create_future(self) -> asyncio.Future[Any]:
        """Make a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Any,
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
        **options: Any,
    ) -> asyncio.Task[Any]:
        """Make a task of this loop; a task without a name gets one that is this loop's own."""
        # asyncio counts the tasks of a whole process, which would tell one schedule of another.
        name = name or f"Task-{next(self._task_numbers)}"
        return asyncio.Task(coro, loop=self, name=name, context=context, **options)

    @property
    def tasks(self) -> int:
        """How many tasks have not ended."""
        return len(asyncio.all_tasks(self))

    # ── What else asyncio asks of a loop ─────────────────────────────────────────────────────

    def is_running(self) -> bool:
        """Return whether it is turning."""
        return self._turning

    def is_closed(self) -> bool:
        """Return whether it will not turn any more."""
        return self._closed

    def get_debug(self) -> bool:
        """Return that nothing is written down for debugging."""
        return False

    def set_debug(self, enabled: bool) -> None:  # noqa: FBT001 - asyncio's signature
        """Leave things as they are."""

    def get_task_factory(self) -> None:
        """Return that tasks are asyncio's own."""

    def get_exception_handler(self) -> None:
        """Return that errors go to asyncio's log."""

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Log an error that nobody will see otherwise."""
        logging.getLogger("asyncio").error(context["message"], exc_info=context.get("exception"))

    call_exception_handler = default_exception_handler

    async def shutdown_asyncgens(self) -> None:
        """Leave asynchronous generators to the garbage collector."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """There is none."""

    def close(self) -> None:
        """Cancel the tasks that have not ended, and let them clean up, as far as they do."""
        tasks = asyncio.all_tasks(self)
        for task in tasks:
            task.cancel()
        for _ in range(_MOST_TURNS_AT_THE_END):
            if not self._ready:
                break
            self.turn()
        self._closed = True
        for task in tasks:
            if not task.done():
                _give_up(task)


def _give_up(task: asyncio.Task[Any]) -> None:
    """Close the coroutine of a task that has refused to end."""
    task._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001 - known
    coroutine = task.get_coro()
    if coroutine is not None:
        # It may refuse that too, or raise what it likes on its way out.
        with contextlib.suppress(Exception):
            coroutine.close()


def _refusal(what: str) -> Callable[..., Coroutine[Any, Any, None]]:
    def refuse(*_args: Any, **_options: Any) -> Coroutine[Any, Any, None]:
        raise NotSimulated(what)

    refuse.__doc__ = "Refuse to touch the real world."
    return refuse


for _name in _OF_THE_REAL_WORLD:
    setattr(VirtualLoop, _name, _refusal(_name))
