"""The writes of one process to a shared store: they may fail, stall, be cut off, or come too late.

Events that cannot be recorded now wait, and what is handed back waits behind them, as in the queue
of a database's writer. Whatever else a process asks of the store raises `StoreUnavailable` until
they are recorded.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from actorflow.errors.storage import StoreUnavailable
from actorflow.orchestrator.powers import Powers
from actorflow.testing.simulation.store import PendingWrite, SimulatedStateManager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from actorflow.model.events import Event
    from actorflow.model.mail import Eviction
    from actorflow.model.powers import Taken
    from actorflow.model.protocols import Commit
    from actorflow.model.records import RunSnapshot
    from actorflow.testing.cluster.manager import SharedStateManager

__all__ = ["Recorder"]

_DELEGATED: Final = (
    "snapshot",
    "events",
    "list",
    "close",
    "enqueue",
    "due",
    "reschedule",
    "occupy",
    "listen",
    "ask_to_cancel",
    "put_schedule",
    "get_schedule",
    "list_schedules",
    "advance_schedule",
    "delete_schedule",
    "send_message",
    "read_messages",
    "hear_messages",
    "pause_run",
    "unpause_run",
    "listen_for_pauses",
)


class Recorder(SimulatedStateManager):
    """A state manager for one process, which writes to a `SharedStateManager`.

    The arguments are those of `SimulatedStateManager`.
    """

    owner: SharedStateManager
    writes: int

    def _connect(self) -> None:
        self._cut_off = self._at_once = False
        behind: Any = self._open()
        self.owner = self._behind = behind
        for name in _DELEGATED:
            setattr(self, name, getattr(behind, name))
        this: Any = self
        # What `powers_of` finds, which takes longer than a short schedule.
        self.powers: Powers = Powers(
            state=this,
            slow_to_read=False,
            outputs=None,
            leases=this,
            queue=this,
            requests=this,
            follows=None,
            deferral=this,
            measures=None,
            records=None,
            attributes=None,
            counts=None,
            schedules=this,
            pauses=this,
            messages=this,
            evicts=this,
        )

    @property
    def cut_off(self) -> bool:
        """Whether the process cannot reach the store."""
        return self._cut_off

    @property
    def is_reachable(self) -> bool:
        """Whether a transaction would succeed now: nothing stalls."""
        return not (self._cut_off or self._waiting)

    @property
    def within_a_turn(self) -> bool:
        """Whether this is within a block that has no write stall; see `at_once`."""
        return self._at_once

    def check_not_stalled(self) -> None:
        """Refuse a transaction while it would have to wait.

        Raises:
            StoreUnavailable: When it would.
        """
        if not self.is_reachable:
            raise _not_now()

    def check_reachable(self) -> None:
        """Refuse a transaction while the process is cut off.

        Raises:
            StoreUnavailable: When it is.
        """
        if self._cut_off:
            raise _not_now()

    # ── Writing ──────────────────────────────────────────────────────────────────────────────

    def record(self, events: Sequence[Event], done: Commit) -> bool:
        """Record events, at once unless the process is cut off or the schedule says otherwise."""
        if self._at_once:
            self.check_not_stalled()
            return self.owner.record(events, done)
        if not self._cut_off:
            return super().record(events, done)
        self.writes += 1
        asked = len(self._system.deliveries)
        self._waiting.append(PendingWrite(events, done, asked, fails=False, ready=False))
        return False

    def hand_back(self, run_id: str, parked: str | None = None) -> None:
        """Give up a run, once all events that were passed to `record` before are recorded."""
        if not self._waiting:
            self.owner.hand_back(run_id, parked)
            return
        self._give_up(lambda: self.owner.hand_back(run_id, parked))

    def evict(self, run_id: str, eviction: Eviction) -> None:
        """Give up a run until there is news for it, after what was passed to `record` before."""
        self._give_up(lambda: self.owner.evict(run_id, eviction))

    def _give_up(self, hand_back: Callable[[], None]) -> None:
        """Give up a run, once all events that were passed to `record` before are recorded."""

        def give_up(_error: BaseException | None) -> None:
            with contextlib.suppress(StoreUnavailable):  # it stays with this owner
                hand_back()

        if not self._waiting:
            give_up(None)
            return
        asked = len(self._system.deliveries)
        self._waiting.append(PendingWrite((), give_up, asked, fails=False, ready=True))

    def claim(self, run_id: str) -> RunSnapshot:
        """Claim a run, and continue its record from where it stands."""
        recorded = self.owner.claim(run_id)
        self.torn.discard(run_id)
        return recorded

    def take(self, *asked: Any) -> Taken:
        """Claim unowned runs, and continue their records."""
        taken = self.owner.take(*asked)
        self.torn.difference_update(taken.taken)
        return taken

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Have no write stall within the block, whose caller waits for it in no virtual time.

        Such writes do not come from the supervisor, and are not in the log of the process.
        """
        before, self._at_once = self._at_once, True
        try:
            yield
        finally:
            self._at_once = before

    # ── Being cut off, and the end ───────────────────────────────────────────────────────────

    def be_cut_off(self) -> None:
        """Reach the store no longer; writes wait."""
        self._cut_off = True

    def reconnect(self) -> None:
        """Reach the store again, and make the writes that wait, in order."""
        self._cut_off = False
        for write in self._waiting:
            write.ready = True
        self._make_ready_writes()

    def give_up_writes(self) -> None:
        """Fail the writes that wait, because the store could not be reached for too long."""
        waiting = list(self._waiting)
        self._waiting.clear()
        for write in waiting:
            self._tear(dict.fromkeys(event.run_id for event in write.events))
            write.done(_not_now())

    def die(self, get_through: Callable[[int], int]) -> None:
        """Drop the writes that wait, except those chosen to get through, and acknowledge none.

        Args:
            get_through: Chooses how many, given how many there are.
        """
        if self._waiting and not self.cut and not self._cut_off:
            some = get_through(len(self._waiting))
            self._get_through(some)
        self._waiting.clear()
        self._cut_off = True


def _not_now() -> StoreUnavailable:
    return StoreUnavailable("answer", "the schedule has it wait")
