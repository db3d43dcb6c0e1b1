"""A value that is set once, for threads and tasks that may stop waiting for it at any time.

`concurrent.futures.Future` is the same idea, but does not fit a library inside a host program. Its
lock is made in Python: Ctrl-C at the wrong instant leaves it locked for ever, and the event loop
that sets the value then blocks on it. Its callbacks also stay until the value is set, so a caller
that awaits it repeatedly with a timeout leaves one behind each time.

Here no waiter holds a lock that another one needs. Each waiter brings its own gate and removes it
when it leaves. Every operation on shared state is a single dictionary operation, which no thread,
signal or finalizer can interrupt.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["Alarm", "Once", "first_of", "settle", "wait_for_first"]

_T = TypeVar("_T")
_OUTCOME: Final = "outcome"


class Once(Generic[_T]):
    """A slot for one value or one error; the first to be set wins."""

    __slots__ = ("_settled", "_waiting")

    def __init__(self) -> None:
        self._settled: dict[str, tuple[Any, BaseException | None]] = {}
        self._waiting: dict[object, Callable[[], object]] = {}

    @property
    def done(self) -> bool:
        """Whether it is set."""
        return bool(self._settled)

    @property
    def error(self) -> BaseException | None:
        """The error, if it was set to one."""
        return self._settled[_OUTCOME][1] if self._settled else None

    def set(self, value: _T) -> None:
        """Set the value, unless it is set already; from any thread."""
        self._settled.setdefault(_OUTCOME, (value, None))
        if self._waiting:
            self._wake_all()

    def set_here(self, value: _T) -> None:
        """Set the value in a callback of the running event loop; never in a signal handler.

        Waiters on that loop continue in its next turn. The loop turns anyway, and is not woken by
        the system call that a signal handler or another thread needs.
        """
        self._settled.setdefault(_OUTCOME, (value, None))
        if self._waiting:
            import asyncio  # noqa: PLC0415 - its loop is running

            here = asyncio._get_running_loop()  # noqa: SLF001 - documented; none in a simulation
            for waiter in list(self._waiting):
                if isinstance(waiter, asyncio.Future) and waiter.get_loop() is here:
                    _go_on(waiter)
                elif (wake := self._waiting.get(waiter)) is not None:
                    wake()

    def fail(self, error: BaseException) -> None:
        """Set an error in place of a value."""
        self._settled.setdefault(_OUTCOME, (None, error))
        self._wake_all()

    def _wake_all(self) -> None:
        # No waiter is removed here: an interrupted caller may repeat the call and wake the others.
        for wake in list(self._waiting.values()):
            wake()

    def when_done(self, call: Callable[[], object]) -> None:
        """Call a function once it is set: now, or on the thread that sets it.

        Args:
            call: It must tolerate being called twice.
        """
        self._waiting[call] = call
        if self._settled:
            call()

    def forget(self, call: Callable[[], object]) -> None:
        """Do not call a function that was passed to `when_done`."""
        self._waiting.pop(call, None)

    # ── Waiting ──────────────────────────────────────────────────────────────────────────────

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it is set, for at most that many seconds; return whether it is."""
        if not self._settled:
            seconds = -1 if timeout is None else max(0.0, min(timeout, threading.TIMEOUT_MAX))
            gate = threading.Lock()
            gate.acquire()
            self._waiting[gate] = _Opening(gate)
            try:
                if not self._settled:  # checked again, now that a set would wake this waiter
                    gate.acquire(timeout=seconds)
            finally:
                del self._waiting[gate]
        return self.done

    def result(self, timeout: float | None = None) -> _T:
        """Block until it is set; return the value or raise the error.

        Raises:
            TimeoutError: When it is not set within `timeout` seconds.
        """
        if not self._settled and not self.wait(timeout):
            raise TimeoutError
        outcome: tuple[_T, BaseException | None] = self._settled[_OUTCOME]
        value, error = outcome
        if error is not None:
            raise error
        return value

    async def result_async(self) -> _T:
        """Await the value or raise the error, without blocking the event loop."""
        if not self._settled:
            waiter = _waiter()
            self._waiting[waiter] = functools.partial(_wake, waiter)
            try:
                if not self._settled:  # checked again, now that a set would wake this waiter
                    await waiter
            finally:
                del self._waiting[waiter]
        return self.result()


class Alarm:
    """An alarm that rings again and again, for a thread that waits for it.

    `threading.Event` does the same, but is made in Python: see above.
    """

    __slots__ = ("_rung",)

    def __init__(self) -> None:
        self._rung: Once[None] = Once()

    @property
    def rung(self) -> bool:
        """Whether it has rung since it was last silenced."""
        return self._rung.done

    def ring(self) -> None:
        """Wake the thread that waits; from any thread."""
        self._rung.set(None)

    def silence(self) -> None:
        """Wait for the next ring from now on; the caller must then look once before it waits."""
        self._rung = Once()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it rings, for at most that many seconds; return whether it has."""
        return self._rung.wait(timeout)


def settle(once: Once[None], error: BaseException | None, /) -> None:
    """Set None, or the error if there is one."""
    if error is None:
        once.set(None)
    else:
        once.fail(error)


async def first_of(*several: Once[Any], timeout: float | None = None) -> None:
    """Wait on the running event loop until one of them is set, or the timeout passes."""
    import asyncio  # noqa: PLC0415 - a caller that awaits has it loaded

    waiter = _waiter()
    wake = functools.partial(_wake, waiter)
    for one in several:
        one._waiting[waiter] = wake  # noqa: SLF001 - they are of one kind
    try:
        for one in several:
            if one._settled:  # noqa: SLF001
                return
        await (waiter if timeout is None else asyncio.wait({waiter}, timeout=timeout))
    finally:
        for one in several:
            del one._waiting[waiter]  # noqa: SLF001


def wait_for_first(*several: Once[Any]) -> None:
    """Block until one of them is set."""
    gate = threading.Lock()
    gate.acquire()
    wake = _Opening(gate)
    for one in several:
        one._waiting[gate] = wake  # noqa: SLF001 - they are of one kind
    try:
        if not any(one.done for one in several):
            gate.acquire()
    finally:
        for one in several:
            del one._waiting[gate]  # noqa: SLF001


def _waiter() -> asyncio.Future[None]:
    import asyncio  # noqa: PLC0415 - a caller that awaits has it loaded

    return asyncio.get_running_loop().create_future()


class _Opening:
    """Opens a gate for the thread that waits behind it; a second call does nothing."""

    __slots__ = ("_gate",)

    def __init__(self, gate: threading.Lock) -> None:
        self._gate = gate

    def __call__(self) -> None:
        with contextlib.suppress(RuntimeError):  # it is open already
            self._gate.release()


def _wake(waiter: asyncio.Future[None]) -> None:
    with contextlib.suppress(RuntimeError):  # its loop has been closed
        waiter.get_loop().call_soon_threadsafe(_go_on, waiter)


def _go_on(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
