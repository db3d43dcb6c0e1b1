"""The end of a state manager: asked for by several, and done once.

To close a database is to wait for it. So that is done on a thread of its own, while the event loop
turns, and for so long only: what the database has not answered by then it may still, as long as
the process lives.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from actorflow.once import Once, first_of
from actorflow.texts import text_of

if TYPE_CHECKING:
    from actorflow.protocols import StateManager

__all__ = ["Parting"]

_LEFT: Final = "the state manager still waits for its database; its thread stays behind"


class Parting:
    """Closes one state manager.

    Args:
        state: What to close.
        slow: Whether that may take long.
    """

    def __init__(self, state: StateManager, *, slow: bool) -> None:
        self._state = state
        self._slow = slow
        self._begun = False
        self._closed: Once[list[str]] = Once()

    def close(self) -> list[str]:
        """Close it here and now, unless that has begun; return what could not be ended."""
        if self._begin():
            self._close()
            return self._closed.result()
        return []

    async def close_within(self, patience: float) -> list[str]:
        """Do what `close` does, without blocking the event loop, in so many seconds at most."""
        if not (self._slow and self._begin()):
            return self.close()
        work = threading.Thread(target=self._close, name="actorflow parting", daemon=True)
        try:
            work.start()
        except RuntimeError:  # there are too many, or the interpreter ends
            self._close()
        await first_of(self._closed, timeout=patience)
        return self._closed.result() if self._closed.done else [_LEFT]

    def _begin(self) -> bool:
        first, self._begun = not self._begun, True
        return first

    def _close(self) -> None:
        left: list[str] = []
        try:
            self._state.close()
        except BaseException as error:  # noqa: BLE001 - the rest has to be released as well
            left.append(f"the state manager could not be closed: {text_of(error)}")
        finally:
            self._closed.set(left)
