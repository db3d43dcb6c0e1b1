"""A state manager that can fail, and take its time, in virtual seconds."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from actorflow.testing.errors import StoreFault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorflow.events import Event
    from actorflow.protocols import Commit, StateManager
    from actorflow.results import RunSnapshot
    from actorflow.systems.mischief import Countdown
    from actorflow.systems.simulated import SimulatedSystem

__all__ = ["SimulatedStateManager"]

_STALLS: Final = (1.0, 0.0, 5.0)


class SimulatedStateManager:
    """A state manager, behind writes that may fail or stall by choice.

    A record has no holes: once a write of a run has failed, what else happens to that run is
    not recorded either, until somebody claims the run and goes on from what there is.

    Args:
        behind: The one that does remember; it records at once.
        system: Whose virtual time it is.
        choose: Chooses how long a write stalls.
        fails: Decides which writes fail.
        stalls: Decides which writes stall.
    """

    def __init__(
        self,
        behind: StateManager,
        system: SimulatedSystem,
        choose: Callable[[int, str], int],
        *,
        fails: Countdown,
        stalls: Countdown,
    ) -> None:
        self.log: list[Event] = []
        """All events of all runs, in the order in which they were recorded."""
        self.marks: list[int] = []
        """For each of them, how many messages had been delivered when it was recorded."""
        self.torn: set[str] = set()
        """The ids of the runs whose record has ended early."""
        self.tears: list[tuple[int, str]] = []
        """Whenever one has: how many messages had been delivered, and the run's id."""
        self._behind = behind
        self._system = system
        self._choose = choose
        self._fails = fails
        self._stalls = stalls
        self._late: deque[_Write] = deque()
        """Writes that have not been made, in order: those that stall, and those behind them."""
        self.create = behind.create
        self.snapshot = behind.snapshot
        self.events = behind.events
        self.list = behind.list
        self.close = behind.close

    def claim(self, run_id: str) -> RunSnapshot:
        """Take up a run, and go on with its record from where it is."""
        self.torn.discard(run_id)
        return self._behind.claim(run_id)

    def record(self, events: Sequence[Event], done: Commit) -> bool:
        """Record events, at once unless the schedule has other plans."""
        fails, stalls = self._fails.due(), self._stalls.due()
        if stalls or self._late:
            self._put_off(_Write(events, done, fails=fails, ready=not stalls))
            return False
        if fails:
            raise self._failed(events)
        self._write(events)
        return True

    def _put_off(self, write: _Write) -> None:
        self._late.append(write)
        if not write.ready:
            moment = self._system.time + _STALLS[self._choose(len(_STALLS), "stall for")]
            self._system.call_at(moment, self._go_on, write)

    def _go_on(self, write: _Write) -> None:
        """Make a write that has stalled for long enough, and what waits behind it."""
        write.ready = True
        late = self._late
        while late and late[0].ready:
            first = late.popleft()
            if first.fails:
                first.done(self._failed(first.events))
            else:
                self._write(first.events)
                first.done(None)

    def _failed(self, events: Sequence[Event]) -> StoreFault:
        torn = dict.fromkeys(event.run_id for event in events)
        self.torn |= torn.keys()
        self.tears += [(len(self._system.deliveries), run_id) for run_id in torn]
        return StoreFault()

    def _write(self, events: Sequence[Event]) -> None:
        if self.torn:
            events = [event for event in events if event.run_id not in self.torn]
        if not self._behind.record(events, _nobody):
            raise AssertionError(f"{self._behind!r} has to record at once in a simulation")
        self.log += events
        self.marks += [len(self._system.deliveries)] * len(events)

    @property
    def under_way(self) -> int:
        """How many writes have not been made."""
        return len(self._late)

    def crash(self) -> None:
        """Forget the writes that have not been made."""
        self._late.clear()


class _Write:
    """A write that is not made at once."""

    __slots__ = ("done", "events", "fails", "ready")

    def __init__(self, events: Sequence[Event], done: Commit, *, fails: bool, ready: bool) -> None:
        self.events = events
        self.done = done
        self.fails = fails
        self.ready = ready


def _nobody(_error: BaseException | None, /) -> None:
    """Hear of a write that was made at once."""
