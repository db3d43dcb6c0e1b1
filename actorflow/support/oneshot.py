"""A value that comes once, for threads and tasks that wait for it, and may stop to at any time.

`concurrent.futures.Future` is the same idea, and unfit for a guest in two ways. Its lock is made
in Python: Ctrl-C in the wrong instant leaves it locked for ever, and whoever then sets the value
(here an event loop that everybody needs) waits for it as long. And its callbacks stay until the
value comes: somebody who awaits it again and again, with a timeout, leaves one each time.

Here nobody holds a lock that another needs. Every waiter brings a gate of his own and takes it
along when he leaves, and each operation on what they share is one that no thread, no signal and
no finalizer comes in between: a step of a dictionary.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["Once", "first_of", "settle"]

_T = TypeVar("_T")
_OUTCOME: Final = "outcome"


class Once(Generic[_T]):
    """A place for one value, or one error: the first to be set."""

    __slots__ = ("_settled", "_waiting")

    def __init__(self) -> None:
        self._settled: dict[str, tuple[Any, BaseException | None]] = {}
        self._waiting: dict[object, Callable[[], object]] = {}

    @property
    def done(self) -> bool:
        """Whether it has come."""
        return bool(self._settled)

    @property
    def error(self) -> BaseException | None:
        """The error that has come, if it was one."""
        return self._settled[_OUTCOME][1] if self._settled else None

    def set(self, value: _T) -> None:
        """Let the value come, unless there is one; from any thread."""
        self._settle((value, None))

    def fail(self, error: BaseException) -> None:
        """Let an error come in its place."""
        self._settle((None, error))

    def _settle(self, outcome: tuple[Any, BaseException | None]) -> None:
        self._settled.setdefault(_OUTCOME, outcome)
        # Nobody is taken out here: whoever is interrupted may do it again, and tells the rest.
        for wake in list(self._waiting.values()):
            wake()

    def when_done(self, call: Callable[[], object]) -> None:
        """Call a function once it has come: at once, or on the thread that sets it.

        Args:
            call: Takes no harm from being called twice.
        """
        self._waiting[call] = call
        if self._settled:
            call()

    # ── Waiting ──────────────────────────────────────────────────────────────────────────────

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it has come, for so many seconds at most; return whether it has."""
        if not self._settled:
            seconds = -1 if timeout is None else max(0.0, min(timeout, threading.TIMEOUT_MAX))
            gate = threading.Lock()
            gate.acquire()
            self._waiting[gate] = _Opening(gate)
            try:
                if not self._settled:  # looked at again, now that it would be told
                    gate.acquire(timeout=seconds)
            finally:
                del self._waiting[gate]
        return self.done

    def result(self, timeout: float | None = None) -> _T:
        """Block until it has come, and return it, or raise it.

        Raises:
            TimeoutError: When it has not come within `timeout` seconds.
        """
        if not self.wait(timeout):
            raise TimeoutError
        outcome: tuple[_T, BaseException | None] = self._settled[_OUTCOME]
        value, error = outcome
        if error is not None:
            raise error
        return value

    async def result_async(self) -> _T:
        """Return it, or raise it, once it has come, without blocking the event loop."""
        await first_of(self)
        return self.result()

    def _join(self, waiter: asyncio.Future[None]) -> None:
        self._waiting[waiter] = lambda: _wake(waiter)

    def _leave(self, waiter: asyncio.Future[None]) -> None:
        del self._waiting[waiter]


def settle(once: Once[None], error: BaseException | None, /) -> None:
    """Say that what was waited for is done, or what has kept it from that."""
    if error is None:
        once.set(None)
    else:
        once.fail(error)


async def first_of(*several: Once[Any], timeout: float | None = None) -> None:
    """Wait on the running event loop until one of them has come, or the time is over."""
    import asyncio  # noqa: PLC0415 - whoever awaits has it loaded

    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    for one in several:
        one._join(waiter)  # noqa: SLF001 - they are of one kind
    try:
        if any(one.done for one in several):
            return
        await (waiter if timeout is None else asyncio.wait({waiter}, timeout=timeout))
    finally:
        for one in several:
            one._leave(waiter)  # noqa: SLF001


class _Opening:
    """Opens a gate, for a thread that waits behind it; twice is once."""

    __slots__ = ("_gate",)

    def __init__(self, gate: threading.Lock) -> None:
        self._gate = gate

    def __call__(self) -> None:
        with contextlib.suppress(RuntimeError):  # it stands open
            self._gate.release()


def _wake(waiter: asyncio.Future[None]) -> None:
    with contextlib.suppress(RuntimeError):  # its loop has been closed
        waiter.get_loop().call_soon_threadsafe(_go_on, waiter)


def _go_on(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
