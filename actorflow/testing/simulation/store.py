"""A state manager that can fail, take its time, and be cut off, in virtual seconds."""

from __future__ import annotations

import itertools
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

from actorflow.errors.storage import NotRecorded
from actorflow.orchestrator.powers import powers_of
from actorflow.testing.errors import StoreFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from actorflow.model.events import Event
    from actorflow.model.protocols import Commit, StateManager
    from actorflow.model.results import RunRecord, RunSnapshot
    from actorflow.systems.simulated.mischief import Countdown
    from actorflow.systems.simulated.system import SimulatedSystem

__all__ = ["SimulatedStateManager"]

_STALLS: Final = (1.0, 0.0, 5.0)


class SimulatedStateManager:
    """A state manager, behind writes that may fail or stall by choice.

    A record has no holes: once a write of a run has failed, what else happens to that run is
    refused too, until somebody claims the run and goes on from what there is.

    Args:
        behind: Opens the one that does remember, now and after each crash.
        system: Whose virtual time it is.
        choose: Chooses how long a write stalls, and how many get through when all is cut off.
        fails: Decides which writes fail.
        stalls: Decides which writes stall.
    """

    def __init__(
        self,
        behind: Callable[[], StateManager],
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
        self.late: list[tuple[int, int]] = []
        """For each of them that was recorded later than it was asked for: its place in the log,
        and how many messages had been delivered when it was asked for."""
        self.torn: set[str] = set()
        """The ids of the runs whose record has ended early."""
        self.tears: list[tuple[int, str]] = []
        """Whenever one has: how many messages had been delivered, and the run's id."""
        self.writes: int = 0
        """How many writes were asked for."""
        self.cut: bool = False
        """Whether nothing is written or acknowledged any more: its process is about to crash."""
        self._cut_at: tuple[int, bool] | None = None
        self._open = behind
        self._system = system
        self._choose = choose
        self._fails = fails
        self._stalls = stalls
        self._waiting: deque[_Write] = deque()
        """Writes that have not been made, in order: those that stall, and those behind them."""
        self._connect()

    def _connect(self) -> None:
        self.powers = powers_of(self._open())
        self._behind = behind = self.powers.state
        self.snapshot = behind.snapshot
        self.events = behind.events
        self.list = behind.list
        self.close: Callable[[], None] = behind.close

    def create(self, record: RunRecord, _done: Commit) -> bool:
        """Remember an accepted run, at once."""
        answers: SimpleQueue[BaseException | None] = SimpleQueue()
        refused = None if self._behind.create(record, answers.put) else answers.get()
        if refused is not None:
            raise refused
        return True

    def claim(self, run_id: str) -> RunSnapshot:
        """Take up a run, and go on with its record from where it is."""
        self.torn.discard(run_id)
        return self._behind.claim(run_id)

    # ── Writing ──────────────────────────────────────────────────────────────────────────────

    def record(self, events: Sequence[Event], done: Commit) -> bool:
        """Record events, at once unless the schedule has other plans."""
        self.writes += 1
        if self._cut_at is not None and self._is_cut(events):
            return False
        fails, stalls = self._fails.due(), self._stalls.due()
        if stalls or self._waiting:
            asked = len(self._system.deliveries)
            self._put_off(_Write(events, done, asked, fails=fails, ready=not stalls))
            return False
        refused = self._fail(events) if fails else self._write(events)
        if refused is not None:
            raise refused
        return True

    def _put_off(self, write: _Write) -> None:
        self._waiting.append(write)
        if not write.ready:
            moment = self._system.time + _STALLS[self._choose(len(_STALLS), "stall for")]
            self._system.call_at(moment, self._go_on, write)

    def _go_on(self, write: _Write) -> None:
        """Make a write that has stalled for long enough, and what waits behind it."""
        write.ready = True
        waiting = self._waiting
        while waiting and waiting[0].ready:
            first = waiting.popleft()
            first.done(self._fail(first.events) if first.fails else self._make(first))

    def _fail(self, events: Sequence[Event]) -> StoreFault:
        self._tear(event.run_id for event in events)
        return StoreFault()

    def _tear(self, run_ids: Iterable[str]) -> None:
        torn = dict.fromkeys(run_ids)
        self.torn |= torn.keys()
        self.tears += [(len(self._system.deliveries), run_id) for run_id in torn]

    def _make(self, write: _Write) -> BaseException | None:
        place = len(self.log)
        refused = self._write(write.events)
        self.late += [(one, write.asked) for one in range(place, len(self.log))]
        return refused

    def _write(self, events: Sequence[Event]) -> BaseException | None:
        """Record the events of those runs whose records go on; return why the others are not."""
        if self.torn:
            torn = {event.run_id for event in events} & self.torn
            if torn:
                refused = self._write([event for event in events if event.run_id not in torn])
                return refused or NotRecorded({run_id: StoreFault() for run_id in torn})
        refused = self._remember(events) if events else None
        if refused is not None:
            lost = _lost(events, refused)
            self._tear(lost)
            events = [event for event in events if event.run_id not in lost]
        self.log += events
        self.marks += [len(self._system.deliveries)] * len(events)
        return refused

    def _remember(self, events: Sequence[Event]) -> BaseException | None:
        """Wait for whoever records, if need be; virtual time stands still meanwhile."""
        answers: SimpleQueue[BaseException | None] = SimpleQueue()
        return None if self._behind.record(events, answers.put) else answers.get()

    @property
    def under_way(self) -> int:
        """How many writes have not been made."""
        return len(self._waiting)

    # ── Crashes ──────────────────────────────────────────────────────────────────────────────

    def cut_at(self, number: int, *, recorded: bool) -> None:
        """Acknowledge nothing any more from the write of this number on.

        Args:
            number: Counted from 1, over all writes; 0 is never.
            recorded: Whether that write is made all the same.
        """
        self._cut_at = number, recorded

    def _is_cut(self, events: Sequence[Event]) -> bool:
        number, recorded = self._cut_at or (0, False)
        if self.writes == number:
            self.cut = True
            if recorded:
                self._get_through(len(self._waiting))
                self._write(events)
        return self.cut

    def _get_through(self, count: int) -> None:
        """Make some of the writes that wait, and acknowledge none of them."""
        for write in itertools.islice(self._waiting, count):
            if write.fails:
                return
            self._make(write)

    def crash(self) -> None:
        """Forget the writes that have not been made, but for those that were on their way."""
        if self._waiting and not self.cut:
            self._get_through(self._choose(len(self._waiting) + 1, "reach"))
        self._waiting.clear()
        self.cut, self._cut_at = False, None
        self.close()
        self._connect()


class _Write:
    """A write that is not made at once."""

    __slots__ = ("asked", "done", "events", "fails", "ready")

    def __init__(
        self, events: Sequence[Event], done: Commit, asked: int, *, fails: bool, ready: bool
    ) -> None:
        self.events = events
        self.done = done
        self.asked = asked
        """How many messages had been delivered when it was asked for."""
        self.fails = fails
        self.ready = ready


def _lost(events: Sequence[Event], refused: BaseException) -> Iterable[str]:
    """Return whose events are not recorded."""
    if isinstance(refused, NotRecorded):
        return refused.errors
    return {event.run_id for event in events}
