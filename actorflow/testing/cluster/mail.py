"""The mail of one process: what `actorflow.orchestrator.mail` is to an orchestrator.

The messages of a run are read once the first of its bodies waits for one, and then whenever it is
heard that there are more. A process that cannot reach the store reads them when it can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from actorflow.errors.storage import StoreUnavailable
from actorflow.testing.simulation.mail import SimulatedMail

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["News", "ProcessMail"]

_AGAIN: Final = 0.5
"""Seconds after which messages are read again that could not be read."""


class News(NamedTuple):
    """What the supervisor of a process was told of a run."""

    time: float
    run_id: str
    number: int | None = None
    """The number of the latest message; None for a pause or its end."""
    paused: bool = False
    """Whether a pause began."""


class ProcessMail(SimulatedMail):
    """The mail of one process of a cluster.

    The arguments are those of `SimulatedMail`.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.recorded_by_all: Callable[[], int] = lambda: 0
        """Returns how many events all processes have recorded."""
        self.news: Final[list[News]] = []
        """What the supervisor was told of messages and pauses, in order."""

    @property
    def recorded(self) -> int:
        """The number of events recorded so far, by any process."""
        return self.recorded_by_all()

    def heard(self, run_id: str, number: int) -> None:
        """Read the messages of a run up to this number soon, unless they are known."""
        if number > self._known.get(run_id, number):
            self._system.call_at(self._system.time, self._want, run_id, number)

    def _want(self, run_id: str, number: int) -> None:
        known = self._known.get(run_id)
        if known is not None and number > known:
            self._read(run_id, self._tell)

    def _read(self, run_id: str, tell: Callable[[object], None]) -> None:
        before = self._known[run_id]
        try:
            super()._read(run_id, tell)
            if self._known[run_id] > before:
                self.news.append(News(self._system.time, run_id, self._known[run_id]))
        except StoreUnavailable:
            self._system.call_at(self._system.time + _AGAIN, self._read_again, run_id)

    def _read_again(self, run_id: str) -> None:
        if run_id in self._known:
            self._read(run_id, self._tell)
