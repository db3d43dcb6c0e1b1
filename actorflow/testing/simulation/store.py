"""A state manager whose writes can fail, stall and be cut off, in virtual time."""

from __future__ import annotations

import itertools
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

import attrs

from actorflow.errors.running import IllegalMove
from actorflow.errors.storage import NotRecorded
from actorflow.orchestrator.powers import is_recorded, powers_of
from actorflow.testing.errors import StoreFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from actorflow.model.events import Event
    from actorflow.model.mail import Mail
    from actorflow.model.protocols import Commit, StateManager
    from actorflow.model.records import RunPage, RunRecord, RunSnapshot
    from actorflow.orchestrator.powers import Powers
    from actorflow.systems.simulated.mischief import Countdown
    from actorflow.systems.simulated.system import SimulatedSystem

__all__ = ["PendingWrite", "SimulatedStateManager"]

_STALLS: Final = (1.0, 0.0, 5.0)


class SimulatedStateManager:
    """A wrapper around a state manager whose writes may fail or stall by choice.

    A record has no holes: once a write of a run has failed, later writes of that run are refused
    too, until the run is claimed again and continues from its record.

    Args:
        behind: Opens the wrapped state manager, at the start and after each crash.
        system: The system whose virtual time is used.
        choose: Chooses how long a write stalls, and how many writes get through in a crash.
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
        """All events of all runs, in the order of recording."""
        self.marks: list[int] = []
        """For each event, the number of messages delivered when it was recorded."""
        self.late: list[tuple[int, int]] = []
        """For each event recorded later than requested: its index in the log, and the number of
        messages delivered when it was requested."""
        self.torn: set[str] = set()
        """The ids of the runs whose record ended early."""
        self.tears: list[tuple[int, str]] = []
        """For each record that ended early: the number of messages delivered by then, and the run
        id."""
        self.writes: int = 0
        """Number of writes requested."""
        self.takeovers: dict[str, int] = {}
        """How many crashes each run has had in progress, by run id. As in a database, those count
        in which something of the run was recorded since it was claimed."""
        self._claimed: dict[str, int] = {}
        """How many events of each run were recorded when it was claimed."""
        self.cut: bool = False
        """Whether writes are no longer made or acknowledged, because the process is about to
        crash."""
        self._cut_at: tuple[int, bool] | None = None
        self._open = behind
        self._system = system
        self._choose = choose
        self._fails = fails
        self._stalls = stalls
        self._waiting: deque[PendingWrite] = deque()
        """Writes not yet made, in order: those that stall, and those behind them."""
        self._connect()

    def _connect(self) -> None:
        self.powers: Powers = powers_of(self._open())
        self._behind = behind = self.powers.state
        self.snapshot: Callable[[str], RunSnapshot] = behind.snapshot
        self.events: Callable[..., Sequence[Event]] = behind.events
        self.list: Callable[..., RunPage] = behind.list
        self.close: Callable[[], None] = behind.close
        if self.powers.messages is not None:
            mail = self.powers.messages
            self.send_message: Callable[..., None] = mail.send_message
            self.read_messages: Callable[[str, int], Sequence[Mail]] = mail.read_messages
            self.hear_messages: Callable[..., Callable[[], None]] = mail.hear_messages

    def create(self, record: RunRecord, _done: Commit) -> bool:
        """Record an accepted run, at once."""
        answers: SimpleQueue[BaseException | None] = SimpleQueue()
        recorded = is_recorded("create", self._behind.create(record, answers.put))
        refused = None if recorded else answers.get()
        if refused is not None:
            raise refused
        return True

    def claim(self, run_id: str) -> RunSnapshot:
        """Claim a run, and continue its record from where it stands."""
        self.torn.discard(run_id)
        recorded = self._behind.claim(run_id)
        self._claimed[run_id] = len(self.events(run_id))
        return attrs.evolve(recorded, takeovers=self.takeovers.get(run_id, 0))

    # ── Writing ──────────────────────────────────────────────────────────────────────────────

    def record(self, events: Sequence[Event], done: Commit) -> bool:
        """Record events, at once unless the schedule makes the write fail or stall."""
        self.writes += 1
        if self._cut_at is not None and self._is_cut(events):
            return False
        fails, stalls = self._fails.due(), self._stalls.due()
        if stalls or self._waiting:
            asked = len(self._system.deliveries)
            self._put_off(PendingWrite(events, done, asked, fails=fails, ready=not stalls))
            return False
        refused = self._fail(events) if fails else self._write(events)
        if refused is not None:
            raise refused
        return True

    def _put_off(self, write: PendingWrite) -> None:
        self._waiting.append(write)
        if not write.ready:
            moment = self._system.time + _STALLS[self._choose(len(_STALLS), "stall for")]
            self._system.call_at(moment, self._resume_write, write)

    def _resume_write(self, write: PendingWrite) -> None:
        """Make a write that has stalled long enough, and those that wait behind it."""
        write.ready = True
        self._make_ready_writes()

    def _make_ready_writes(self) -> None:
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

    def _make(self, write: PendingWrite) -> BaseException | None:
        place = len(self.log)
        refused = self._write(write.events)
        self.late += [(one, write.asked) for one in range(place, len(self.log))]
        return refused

    def _write(self, events: Sequence[Event]) -> BaseException | None:
        """Record the events of runs with intact records; return why the others are refused."""
        if self.torn:
            # In the order of the events: the order of a set differs between processes.
            torn = {event.run_id: StoreFault() for event in events if event.run_id in self.torn}
            if torn:
                refused = self._write([event for event in events if event.run_id not in torn])
                return refused or NotRecorded(torn)
        refused = self._record(events) if events else None
        if refused is not None:
            lost = _lost(events, refused)
            self._tear(lost)
            events = [event for event in events if event.run_id not in lost]
        self.log += events
        self.marks += [len(self._system.deliveries)] * len(events)
        return refused

    def _record(self, events: Sequence[Event]) -> BaseException | None:
        """Record events, waiting for the state manager if needed, in no virtual time."""
        answers: SimpleQueue[BaseException | None] = SimpleQueue()
        try:
            recorded = is_recorded("record", self._behind.record(events, answers.put))
        except IllegalMove as error:  # of a planted defect
            return error.with_traceback(None)
        return None if recorded else answers.get()

    @property
    def under_way(self) -> int:
        """Number of writes not yet made."""
        return len(self._waiting)

    # ── Crashes ──────────────────────────────────────────────────────────────────────────────

    def cut_at(self, number: int, *, recorded: bool) -> None:
        """Acknowledge nothing from the write of this number on.

        Args:
            number: Counted from 1, over all writes; 0 means never.
            recorded: Whether that write is still made.
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
        """Make some of the waiting writes, without acknowledging them."""
        for write in itertools.islice(self._waiting, count):
            if write.fails:
                return
            self._make(write)

    def crash(self, lost: Iterable[str]) -> None:
        """Drop the pending writes, except those chosen to get through.

        Args:
            lost: The ids of the runs in progress.
        """
        if self._waiting and not self.cut:
            self._get_through(self._choose(len(self._waiting) + 1, "reach"))
        self._waiting.clear()
        self.cut, self._cut_at = False, None
        self.close()
        self._connect()
        for run_id in lost:
            if len(self.events(run_id)) > self._claimed.get(run_id, 0):
                self.takeovers[run_id] = self.takeovers.get(run_id, 0) + 1


class PendingWrite:
    """A write that is not made at once."""

    __slots__ = ("asked", "done", "events", "fails", "ready")

    def __init__(
        self, events: Sequence[Event], done: Commit, asked: int, *, fails: bool, ready: bool
    ) -> None:
        self.events: Sequence[Event] = events
        self.done: Commit = done
        self.asked: int = asked
        """Number of messages delivered when it was requested."""
        self.fails: bool = fails
        self.ready: bool = ready


def _lost(events: Sequence[Event], refused: BaseException) -> Iterable[str]:
    """Return the ids of the runs whose events were not recorded."""
    if isinstance(refused, NotRecorded):
        return refused.errors
    return {event.run_id for event in events}
