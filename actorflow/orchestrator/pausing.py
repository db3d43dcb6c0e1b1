"""How the supervisor hears of pauses: of each run, of what was asked for last."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from actorflow.errors.definition import OrchestratorClosed
from actorflow.model.messages import PauseRun

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from actorflow.model.pausing import Pause

__all__ = ["Pauses"]


class Pauses:
    """Tells the supervisor of pauses and their ends; from any thread.

    Threads may ask faster than the loop hears. At most one message of each run is under way, which
    says what was asked for last.

    Args:
        loop: The event loop.
        tell: Tells the supervisor.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, tell: Callable[[object], None]) -> None:
        self._loop = loop
        self._tell = tell
        # Reentrant, because a signal handler may pause a run at this moment.
        self._lock = threading.RLock()
        self._asked: dict[str, Pause | None] = {}
        self.in_order: Final = threading.RLock()
        """Held by this process while a pause is recorded and told, so that the supervisor hears
        last what is recorded last.
        """

    def tell(self, run_id: str, pause: Pause | None) -> None:
        """Tell of a pause, or of its end, unless another one is asked for before that.

        Raises:
            OrchestratorClosed: When the event loop has been closed.
        """
        with self._lock:
            under_way = run_id in self._asked
            self._asked[run_id] = pause
        if under_way:
            return
        try:
            self._loop.call_soon_threadsafe(self._tell_latest, run_id)
        except RuntimeError:
            why = "the event loop that the orchestrator was entered on has been closed"
            raise OrchestratorClosed("pause a run", why) from None

    def _tell_latest(self, run_id: str) -> None:
        with self._lock:
            pause = self._asked.pop(run_id)
        self._tell(PauseRun(run_id, pause))
